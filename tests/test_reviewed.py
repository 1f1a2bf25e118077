"""The reviewed tier: a row a label, a row an episode, strata with their weights; below enough the judge speaks."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest
from conftest import GREEN, RED, episode
from judged_rows import put, said
from labelled_rows import label, scanned

from auditor import labels, rates, reviewed
from auditor.asking import choose
from auditor.contrast import contrasts
from auditor.prevalence import ENOUGH, prevalences
from auditor.query import connect, run
from auditor.report import facts
from auditor.rubric import load_all
from auditor.stats.prevalence import Stratum, two_phase
from auditor.store import Audit

N = 120


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """120 episodes, every tenth a candidate. A judge read all: it flags the first six of those, and two others."""
    made = [episode(f"e{i:03}", *(RED if i % 10 == 0 else GREEN), task=f"t{i}", model=f"m{i % 2}") for i in range(N)]
    path = scanned(tmp_path_factory.mktemp("reviewed"), made)
    put(path, [said(f"e{i:03}", (i % 10 == 0 and i < 60) or i in (61, 62), quote="Done.") for i in range(N)])
    return path


@pytest.fixture
def path(judged, tmp_path):
    return shutil.copytree(judged, tmp_path / "audit")


DISAGREE = [60, 61, 62, 70, 80, 90, 100, 110]
FLAGGED = [0, 10, 20, 30, 40, 50]
REST = [i for i in range(N) if i not in DISAGREE and i not in FLAGGED]


def ask(path, sql):
    con = connect(Audit.open(path))
    try:
        return run(con, sql)[1]
    finally:
        con.close()


def headline(path, **more):
    con = connect(Audit.open(path))
    (rate,) = prevalences(con, [], rubric="concealment", **more)
    return rate


def test_without_labels_nothing_changes(path):
    assert {r[0] for r in ask(path, "SELECT DISTINCT tier FROM verdicts")} == {"candidate", "judged"}
    assert headline(path).tier == "judged"


def test_a_label_is_a_verdict_and_its_marks_are_evidence(path):
    mark = labels.Mark(message=3, channel="final", start=0, end=5, quote="Done.")
    label(path, "e010", True, level=3, note="says green", evidence=(mark,))
    label(path, "e001", None)
    rows = ask(
        path,
        "SELECT episode_id, model, detector, view, status, flagged, level, rationale FROM verdicts WHERE detector = 'reviewer:ann' ORDER BY 1",
    )
    assert rows == [
        ("e001", "m1", "reviewer:ann", "all", "ok", None, None, ""),
        ("e010", "m0", "reviewer:ann", "all", "ok", True, 3, "says green"),
    ]  # fmt: skip
    sql = "SELECT episode_id, signal, message, channel, start, \"end\", quote FROM evidence WHERE detector = 'reviewer:ann'"
    assert ask(path, sql) == [("e010", None, 3, "final", 0, 5, "Done.")]


def test_reviewers_must_agree_and_the_lowest_level_stands(path):
    label(path, "e010", True, level=3)
    label(path, "e010", True, level=2, reviewer="bob")
    label(path, "e020", True, level=3)
    label(path, "e020", False, level=0, reviewer="bob")
    label(path, "e030", True, level=3)
    label(path, "e030", None, reviewer="bob")
    label(path, "e040", False, level=0)
    label(path, "e040", True, level=2)
    sql = (
        "SELECT episode_id, flagged, level, weight FROM verdicts WHERE detector = 'reviewer:agreed' AND status = 'ok' ORDER BY 1"
    )
    assert ask(path, sql) == [
        ("e010", True, 2, 1.5),
        ("e020", None, None, 1.5),
        ("e030", None, None, 1.5),
        ("e040", True, 2, 1.5),
    ]


def test_whom_nobody_labelled_is_not_drawn_and_weighs_nothing(path):
    for i in (60, 61, 1, 2):
        label(path, f"e{i:03}", False, level=0)
    label(path, "e003", True, queued=False)
    rows = ask(
        path,
        "SELECT json_extract_string(attributes, '$.stratum'), status, error, weight, count(*) FROM verdicts"
        " WHERE detector = 'reviewer:agreed' AND rubric = 'concealment' GROUP BY ALL ORDER BY ALL",
    )
    assert rows == [
        ("by hand", "ok", None, 1.0, 1),
        ("disagreement", "ok", None, 4.0, 2),
        ("disagreement", "skipped", "not drawn (2 of 8 disagreement were reviewed)", 0.0, 6),
        ("flagged", "skipped", "not drawn (0 of 6 flagged were reviewed)", 0.0, 6),
        ("rest", "ok", None, 105 / 2, 2),
        ("rest", "skipped", "not drawn (2 of 105 rest were reviewed)", 0.0, 103),
    ]
    assert ask(path, "SELECT count(*) FROM verdicts WHERE tier = 'reviewed' AND rubric <> 'concealment'") == [(0,)]


def test_a_drawn_episode_that_is_opened_again_by_hand_stays_drawn(path):
    label(path, "e001", False)
    label(path, "e001", True, queued=False)
    sql = "SELECT flagged, json_extract_string(attributes, '$.stratum') FROM verdicts WHERE detector = 'reviewer:agreed' AND status = 'ok'"
    assert ask(path, sql) == [(True, "rest")]


def test_what_the_audit_does_not_hold_is_counted_and_ignored(path):
    for more in ({"name": "gone"}, {"name": "e001", "rubric": "no_such"}, {"name": "e002"}):
        label(path, more.pop("name"), False, **more)
    con = connect(Audit.open(path))
    assert reviewed.ignored(con) == 2
    assert run(con, "SELECT count(*) FROM verdicts WHERE tier = 'reviewed' AND status = 'ok'")[1] == [(2,)], "ann's and agreed"


def test_a_judge_that_changes_its_mind_moves_labels_between_strata(path):
    label(path, "e001", False, stratum="rest")
    label(path, "e000", True, stratum="flagged")
    con = connect(Audit.open(path))
    assert reviewed.moved(con) == 0
    con.close()
    put(path, [said("e001", True, quote="Done."), said("e000", True, quote="Done.", level=3)], part="j3")
    con = connect(Audit.open(path))
    assert reviewed.moved(con) == 2, "one is a disagreement now, the other high"


def test_below_enough_the_judge_speaks_and_says_so(path):
    for i in [*DISAGREE, *FLAGGED, *REST[: ENOUGH - 15]]:
        label(path, f"e{i:03}", i in FLAGGED)
    rate = headline(path)
    assert (rate.tier, rate.k, rate.n) == ("judged", 8, N)
    assert rate.why == f"judged; {ENOUGH - 1} reviewed episodes are too few (from {ENOUGH})"
    assert headline(path, at_least=2).tier == "judged"


def test_reviews_are_weighted_by_stratum(path):
    # All 8 disagreements (2 hits), 3 of 6 flagged (2 hits), 40 of the 105 others (1 hit), one by hand.
    hits = {60, 61, 0, 10, REST[5], REST[50]}
    read = [*DISAGREE, *FLAGGED[:3], *REST[:40]]
    for i in read:
        label(path, f"e{i:03}", i in hits, level=2 * (i in hits))
    label(path, f"e{REST[50]:03}", True, level=2, queued=False)
    rate = headline(path)
    assert (rate.tier, rate.detector, rate.k, rate.n, rate.episodes) == ("reviewed", "reviewer:agreed", 6, 52, N)
    share = (8 * 2 / 8 + 6 * 2 / 3 + 105 * 1 / 40 + 1) / N
    assert rate.share == pytest.approx(share)
    # Each task is one episode, so the design effect is m / (m - 1) where a stratum has both answers.
    strata = [Stratum(1, 1, 1), Stratum(8, 2, 8, 7), Stratum(6, 2, 3, 2), Stratum(105, 1, 40, 39)]
    assert rate.interval[:2] == pytest.approx(two_phase(strata).interval[:2])
    assert rate.why == "reviewed by a person: 1 of 1 by hand, 8 of 8 disagreement, 3 of 6 flagged, 40 of 105 rest, weighted"
    assert rate.unknown == {"not drawn": 68}


def test_a_stratum_that_nobody_read_leaves_the_word_to_the_judge(path):
    for i in [*DISAGREE, *REST[:45]]:
        label(path, f"e{i:03}", False)
    rate = headline(path)
    assert rate.tier == "judged"
    assert rate.why == "judged; 53 reviewed episodes leave a stratum unread (flagged)"


def test_the_report_the_rates_and_the_comparison_go_on(path):
    for i in [*DISAGREE, *FLAGGED, *REST]:
        label(path, f"e{i:03}", i in FLAGGED, level=2 * (i in FLAGGED))
    label(path, "e000", False, level=0, reviewer="bob")
    con = connect(Audit.open(path))
    found = {(r.model, r.tier, r.detector, r.stratum): (r.k, r.n) for r in rates.rates(con) if r.rubric == "concealment"}
    assert found["m0", "judged", "judge:m", "all"] == (7, 60)
    assert found["m0", "reviewed", "reviewer:agreed", "flagged"] == (5, 5)
    (c,) = contrasts(con, "m0", "m1", rubric="concealment")
    assert (c.tier, c.detector, c.k, c.n) == ("reviewed", "reviewer:agreed", (5, 0), (59, 60))
    data = facts(Audit.open(path))
    mine = [r for r in data["headline"] if r["rubric"] == "concealment"]
    assert [(r["by"]["model"], r["tier"], r["k"], r["n"]) for r in mine] == [("m0", "reviewed", 5, 59), ("m1", "reviewed", 0, 60)]
    assert Counter(r["level"] for r in data["levels"]) == {0: 2, 2: 2}, "levels are the judge's"


def test_whom_people_flag_is_asked_about_what_the_judge_found(judged, tmp_path):
    path = shutil.copytree(judged, tmp_path / "audit")
    finding = {
        "what": "says green",
        "codes": ["K2"],
        "level": 2,
        "levels": [2],
        "messages": [3],
        "criteria": {"settled": "false"},
        "attributes": {},
    }
    put(path, [said(f"e{i:03}", i == 1, quote="Done.", attributes={"findings": [finding]}) for i in (1, 2, 61)], part="j2")
    label(path, "e001", False)
    label(path, "e002", True)
    label(path, "e002", True, reviewer="aaron")
    label(path, "e003", True)
    label(path, "e003", False, reviewer="bob")
    con = connect(Audit.open(path))
    rubrics = load_all()
    pools = choose.pools(con, rubrics, "judged")
    assert {(entry.episode_id, tier) for entry, tier in pools.flawed} == {("e002", "reviewed")}
    clean = {entry.episode_id for entry in pools.clean}
    assert "e004" in clean
    assert not {"e001", "e002", "e003"} & clean, "a judge's yes, a person's yes, and two who differ are no clean control"
    found = choose.findings(con, rubrics, ["e002"])["e002"]
    assert [(f.what, f.source) for f in found] == [("says green", "judged")]
