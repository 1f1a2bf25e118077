"""The terminal: judged beside candidates, and hostile words of a judge are only words."""

from __future__ import annotations

import json

import pytest
from conftest import GREEN, RED, episode, write
from judged_rows import put, said
from rich.console import Console

from auditor import show
from auditor.query import connect
from auditor.store import Audit

FINDING = {"what": "Said 42 pass; 41 did.", "codes": ["false_report"], "level": 2, "benign": "It misread.", "criteria": {}}


@pytest.fixture
def path(auditor, tmp_path):
    write(tmp_path / "logs.jsonl", [episode("red", *RED), episode("green", *GREEN)])
    auditor("scan", "logs.jsonl", "-o", "audit")
    return tmp_path / "audit"


def printed(*tables):
    console = Console(width=220, color_system=None, force_terminal=False)
    with console.capture() as captured:
        for table in tables:
            console.print(table)
    return captured.get()


def summary(path):
    con = connect(Audit.open(path))
    try:
        return printed(*show.summary_tables(con)), show.summary_facts(con)
    finally:
        con.close()


def test_without_a_judge_there_is_no_word_of_one(path):
    text, facts = summary(path)
    assert "Judged" not in text
    assert (facts["views"], facts["agreement"]) == ([], [])


def test_candidates_and_judged_are_two_tables(path):
    put(
        path,
        [
            said("red", True, quote="Done.", stratum="candidate"),
            said("green", None, status="refused", stratum="rest", error="content filter"),
        ],
    )
    text, facts = summary(path)
    assert text.index("Candidates, by signals (not verdicts)") < text.index("Judged, by judge m")
    assert "candidates and the sampled rest are no prevalence" in text
    assert "1 refused" in text
    assert "Flagged of known" not in text
    assert "alpha" not in text
    assert [(r["of"], r["k"], r["n"]) for r in facts["rates"] if r["tier"] == "judged"] == [
        ("candidates", 1, 1),
        ("sampled rest", 0, 0),
    ]
    json.dumps(facts)


def test_all_episodes_need_no_warning_several_judges_a_column(path):
    put(path, [said(e, e == "red", judge=j, quote="Done.") for e in ("red", "green") for j in ("m", "n", "majority")])
    text, _ = summary(path)
    assert "Judged, by several judges" in [line.rstrip() for line in text.splitlines()]
    assert "majority" in text
    assert "prevalence" not in text


def test_views_and_agreement_have_tables_where_there_are_several(path):
    put(
        path,
        [
            said("red", True, quote="Done.", attributes={"votes": [True, True]}),
            said("green", False, attributes={"votes": [False, False]}),
            said("red", None, view="actions", status="refused"),
            said("green", True, view="actions", quote="Done."),
        ],
    )
    text, facts = summary(path)
    assert "Flagged of known, by what the judge was shown" in text
    assert facts["views"][0]["known"] == {"all": 2, "actions": 1}
    assert [(a["raters"], a["episodes"], a["alpha"]) for a in facts["agreement"]] == [(2, 2, 1.0)]
    assert "Krippendorff's alpha" in text


def test_an_episode_with_what_judges_said(auditor, path):
    put(
        path,
        [
            said("red", True, quote="Done.", attributes={"findings": [FINDING]}),
            said("red", None, judge="n", status="refused", error="content filter"),
            said("red", None, judge="o", rationale="Cannot tell."),
        ],
    )
    told = json.loads(auditor("show", path, "red", "--format", "json").stdout)
    by = {v["detector"]: v for v in told["verdicts"] if v["rubric"] == "concealment"}
    assert by["judge:n"]["status"] == "refused"
    assert by["judge:m"]["attributes"]["findings"] == [FINDING]
    con = connect(Audit.open(path))
    text = printed(show.judged_table(show.verdicts_of(con, "red")))
    for word in ("Said 42 pass", "false_report", "It misread.", "refused", "content filter", "not known", "Cannot tell."):
        assert word in text
    console = Console(width=220, color_system=None, record=True)
    with console.capture() as captured:
        from auditor.query import find_transcript

        _, transcript = find_transcript(Audit.open(path), con, "red")
        show.transcript(console, transcript, None, show.evidence_of(con, "red"), whole=False)
    con.close()
    assert "Done. ◀ failure-unmentioned, concealment judge:m All 42 tests pass ◀ pass-claimed" in captured.get()
    rows = [line for line in captured.get().splitlines() if line.startswith("concealment")]
    assert any("candidate" in r and "pass-claimed-after-failure" in r for r in rows)
    assert any("judged" in r and "m, view all" in r for r in rows)


def test_no_judge_no_table(path):
    con = connect(Audit.open(path))
    assert show.judged_table(show.verdicts_of(con, "red")) is None
    con.close()


def test_a_judges_words_cannot_move_the_cursor(auditor, path):
    evil = "\x1b[2J\u202e[bold]x[/bold]"
    put(path, [said("red", True, quote="Done.", rationale=evil, attributes={"findings": [{**FINDING, "what": evil}]}),
               said("red", None, judge="n", status="error", error=evil)])  # fmt: skip
    for args in (("show", path, "red"), ("query", path), ("query", path, "--where", "status = 'error'")):
        out = auditor(*args).stdout
        assert "\x1b[2J" not in out
        assert "\u202e" not in out
    assert "[bold]x[/bold]" in auditor("show", path, "red").stdout.replace("\n", "")


def test_an_episode_is_read_again_as_it_was_scanned(auditor, tmp_path):
    """With the join file that named its model; what was flagged needs neither that file nor the log."""
    write(tmp_path / "logs.jsonl", [episode("green", *GREEN, model=None), episode("red", *RED, model=None)])
    (tmp_path / "join.csv").write_text("id,model\ngreen,m-joined\nred,m-joined\n")
    auditor("scan", "logs.jsonl", "-o", "audit", "--join", "join.csv")
    assert "m-joined" in auditor("show", "audit", "green").stdout
    for name in ("join.csv", "logs.jsonl"):
        (tmp_path / name).unlink()
    assert "m-joined" in auditor("show", "audit", "red").stdout
    assert "is gone or has changed" in auditor("show", "audit", "green", code=2).stderr
