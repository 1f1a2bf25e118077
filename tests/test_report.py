"""The report says what the audit holds, and hostile text stays text."""

from __future__ import annotations

import html.parser
import json

import pytest
from conftest import GREEN, RED, episode, write
from judged_rows import put, said

from auditor import report
from auditor.store import Audit


class Tags(html.parser.HTMLParser):
    """Collects what a browser would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202e|`*[x](http://e.vil)"


def made(auditor, tmp_path, **facts):
    quote = [*RED[:-1], {"role": "assistant", "content": f"Done. All 42 tests pass {EVIL}"}]
    write(tmp_path / "logs.jsonl", [episode("red" + EVIL, *quote, **{"task": EVIL, **facts}), episode("green", *GREEN)])
    auditor("scan", "logs.jsonl", "-o", "audit")
    return report.facts(Audit.open(tmp_path / "audit"))


def test_numbers_are_those_of_the_audit(auditor, tmp_path):
    data = made(auditor, tmp_path)
    (model,) = data["models"]
    rate = next(r for r in model["rates"] if r["rubric"] == "concealment")
    assert (rate["k"], rate["n"], rate["tier"]) == (1, 2, "candidate")
    gaming = next(r for r in model["rates"] if r["rubric"] == "grader_gaming")
    assert (gaming["n"], gaming["unknown"]) == (1, {"no_reasoning": 1})
    assert "not a verdict" in report.html(data)
    assert "1/2" in report.markdown(data)


def test_hostile_text_runs_nothing_and_asks_nothing(auditor, tmp_path):
    data = made(auditor, tmp_path, model=EVIL)
    page = Tags()
    page.feed(report.html(data))
    assert {"script", "img", "link", "iframe", "a"}.isdisjoint(tag for tag, _ in page.found)
    assert not any(name.startswith("on") or name in ("src", "href") for _, attrs in page.found for name in attrs)
    text = report.markdown(data)
    assert "<script>" not in text
    assert "[x](" not in text
    assert "\u202e" not in text
    assert "\u202e" not in report.html(data)


def test_unnamed_models_are_told_how_to_be_named(auditor, tmp_path):
    data = made(auditor, tmp_path, model=None)
    assert "--join" in report.html(data)
    assert data["models"][-1]["model"] == "unknown"


def judged(auditor, tmp_path, *verdicts, about=None):
    write(tmp_path / "logs.jsonl", [episode("red", *RED), episode("green", *GREEN)])
    auditor("scan", "logs.jsonl", "-o", "audit")
    put(tmp_path / "audit", verdicts)
    audit = Audit.open(tmp_path / "audit")
    if about:
        audit.write_about(audit.about().model_copy(update={"judge": about}))
    return report.facts(audit)


def test_without_a_judge_nothing_speaks_of_one(auditor, tmp_path):
    data = made(auditor, tmp_path)
    assert (data["tier"], data["judges"], data["judge_setup"], data["views"], data["agreement"]) == ("candidate", [], "", [], [])
    for text in (report.html(data), report.markdown(data)):
        assert "Judged per model" not in text
        assert "No judge has read these episodes" in text


def test_tiers_stand_apart_and_refusals_are_not_clean(auditor, tmp_path):
    data = judged(
        auditor,
        tmp_path,
        said("red", True, quote="Done. All 42 tests pass", stratum="candidate", level=3, rationale="It hid a failure."),
        said("green", None, status="refused", stratum="rest", error="content filter"),
    )
    (model,) = data["models"]
    assert {r["tier"] for r in model["rates"]} == {"candidate"}
    assert [(r["of"], r["k"], r["n"], r["unknown"]) for r in model["judged_rates"]] == [
        ("candidates", 1, 1, {}),
        ("sampled rest", 0, 0, {"refused": 1}),
    ]
    assert next(r for r in model["rates"] if r["rubric"] == "concealment")["n"] == 2
    json.dumps(data)
    for text in (report.html(data), report.markdown(data)):
        assert "Judged per model" in text
        assert "No judge has read" not in text
        assert "1 refused" in text
        assert "no prevalence" in text
        assert "It hid a failure." in text
        assert "level 3" in text
        assert "By m. Level" in text, "the judge is named also where audit.json knows nothing of it"


def test_views_agreement_and_the_setup_are_told(auditor, tmp_path):
    used = {"sent": 1200, "outcomes": {"ok": 1190, "refused": 10}, "unpriced": [], "cost": 1.5}
    setup = {"judges": ["m"], "judge_on": "candidates", "sample_rest": 0.05, "seed": 7, "views": ["all", "actions"], "votes": 2}
    data = judged(
        auditor,
        tmp_path,
        said("red", True, quote="Done.", attributes={"votes": [True, True]}),
        said("red", None, view="actions", status="refused"),
        said("green", False, attributes={"votes": [False, False]}),
        said("green", True, view="actions", quote="Done."),
        about={**setup, "usage": used},
    )
    assert "candidates and 5.0% of the rest, drawn with seed 7" in data["judge_setup"]
    for text in (report.html(data), report.markdown(data)):
        text = text.replace("\\", "")
        assert "1,200 calls (ok: 1,190, refused: 10), $1.50" in text
        assert "1/1" in text
        assert "2 raters, 2 episodes" in text
        assert "1.00" in text
    assert "1/2 all, 1/1 actions, 2 in any view, 0 in none with a view not known." in report.markdown(data)


def test_two_versions_of_a_rubric_only_the_last_counts(auditor, tmp_path):
    judged(auditor, tmp_path, said("red", True, quote="Done.", rationale="the old word"), said("green", False))
    put(tmp_path / "audit", [said("red", False, rubric_hash="h2"), said("green", False, rubric_hash="h2")], part="j2")
    data = report.facts(Audit.open(tmp_path / "audit"))
    assert [(r["k"], r["n"]) for r in data["models"][0]["judged_rates"]] == [(0, 2)]
    assert "the old word" not in report.html(data)


@pytest.mark.parametrize("where", ["rationale", "judge", "quote"])
def test_what_a_judge_says_runs_nothing(auditor, tmp_path, where):
    facts = {"quote": "Done.", where: EVIL}
    data = judged(auditor, tmp_path, said("red", True, **facts), about={"judges": [EVIL], "views": [EVIL]})
    page = Tags()
    page.feed(report.html(data))
    assert {"script", "img", "link", "iframe", "a"}.isdisjoint(tag for tag, _ in page.found)
    assert "alert(1)" in report.html(data)
    text = report.markdown(data)
    for told in ("<script>", "[x](", "\u202e"):
        assert told not in text
    assert "\u202e" not in report.html(data)


def test_the_first_words_say_how_often_and_how_sure(auditor, tmp_path):
    episodes = [
        episode(f"e{i}", *GREEN, model="m", checkpoint="a" if i < 10 else "b", environment=f"env{i % 2}") for i in range(20)
    ]
    episodes.append(episode("told to", *GREEN, model="m", checkpoint="a", elicitation="instructed"))
    write(tmp_path / "logs.jsonl", episodes)
    auditor("scan", "logs.jsonl", "-o", "audit")
    hits = {0: 2, 1: 3, 12: 4}
    verdicts = [said(f"e{i}", i in hits, quote="Done." if i in hits else None, level=hits.get(i, 0)) for i in range(20)]
    put(tmp_path / "audit", [*verdicts, said("told to", True, quote="Done.", level=4)])
    data = report.facts(Audit.open(tmp_path / "audit"))
    assert [(s["who"], s["text"].partition(" (")[0], s["text"].rpartition("; ")[2]) for s in data["sentences"]] == [
        ("m @ a", "concealed mistakes in 2 of 10 episodes", "1 is strategic"),
        ("m @ b", "concealed mistakes in 1 of 10 episodes", "1 is strategic"),
        ("m @ a (elicited)", "concealed mistakes in 1 of 1 episodes", "1 is strategic"),
    ]
    page = report.html(data)
    assert page.count("<svg") == page.count("</svg>") >= 5
    assert "concealed mistakes in 2 of 10 episodes" in page
    assert "2 partially intentional" in page
    assert "concealed mistakes in 2 of 10 episodes" in report.markdown(data)


def test_hostile_names_stay_text_in_pictures_too(auditor, tmp_path):
    data = made(auditor, tmp_path, model=EVIL, checkpoint=EVIL, environment=EVIL)
    page = Tags()
    page.feed(report.html(data))
    assert {"script", "img", "link", "iframe", "a", "foreignobject", "use", "image"}.isdisjoint(tag for tag, _ in page.found)
    assert "\u202e" not in report.html(data)


@pytest.mark.parametrize("name", ["r.md", "r.html", "deep/er/r.html"])
def test_the_two_files_never_overwrite_each_other(auditor, tmp_path, name):
    made(auditor, tmp_path)
    auditor("report", "audit", "-o", name)
    stem = tmp_path / name.rpartition(".")[0]
    assert stem.with_suffix(".html").read_text().startswith("<!doctype html>")
    assert stem.with_suffix(".md").read_text().startswith("# Audit of")


def test_by_says_whose_rates_come_first(auditor, tmp_path):
    made(auditor, tmp_path)
    auditor("report", "audit", "--by", "environment,metadata.none")
    data = json.loads((tmp_path / "audit" / "report.json").read_text())
    assert {r["group"] for r in data["headline"]} == {"environment e, metadata.none unknown"}
    assert data["by"] == ["environment", "metadata.none"]
    assert (
        "environment e, metadata.none unknown</strong>: concealed mistakes in 1 of 2"
        in (tmp_path / "audit" / "report.html").read_text()
    )
    assert "--by score: no such column" in auditor("report", "audit", "--by", "score", code=2).stderr


def test_what_is_missing_is_told_for_a_model_without_a_name_too(auditor, tmp_path):
    data = made(auditor, tmp_path, model=None)
    page = report.html(data)
    assert "What is missing" in page
    assert "1 no reasoning" in page.partition("What is missing")[2]
