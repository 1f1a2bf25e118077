"""Rates hold only what is known, strata and judges stay apart."""

from __future__ import annotations

import pytest
from conftest import GREEN, RED, episode, write
from judged_rows import put, said

from auditor import rates
from auditor.query import connect
from auditor.stats.intervals import wilson
from auditor.store import Audit


@pytest.fixture
def path(auditor, tmp_path):
    eight = [episode(f"e{i}", {**m[0], "content": f"Ticket {i}."}, *m[1:]) for i in range(8) for m in [RED if i % 2 else GREEN]]
    write(tmp_path / "logs.jsonl", eight)
    auditor("scan", "logs.jsonl", "-o", "audit")
    return tmp_path / "audit"


@pytest.fixture
def opened(path):
    """A function that opens the audit as it now is."""
    made = []

    def open_(verdicts=()):
        if verdicts:
            put(path, verdicts)
        made.append(connect(Audit.open(path)))
        return made[-1]

    yield open_
    for con in made:
        con.close()


def judged(con):
    return [r for r in rates.rates(con) if r.tier == "judged"]


def test_without_a_judge_all_is_as_before(opened):
    con = opened()
    assert {(r.tier, r.detector, r.stratum, r.view) for r in rates.rates(con)} == {("candidate", "signals", None, "all")}
    assert (rates.by_view(con), rates.agreement(con), rates.top_judged(con, "m-1")) == ([], [], [])


def test_whatever_is_not_known_is_neither_flagged_nor_clean(opened):
    con = opened(
        [
            said("e0", True, quote="Done."),
            said("e1", False),
            said("e2", None),
            said("e3", None, status="refused", error="content filter"),
            said("e4", None, status="skipped", error="not drawn (0.05 of the rest go to the judge)", weight=0.0),
            said("e5", None, status="skipped", error="budget: --max-cost reached"),
            said("e6", None, status="skipped", error="waiting for a batch"),
            said("e7", None, status="skipped", error="else"),
        ]
    )
    (rate,) = judged(con)
    assert (rate.k, rate.n, rate.interval) == (1, 2, wilson(1, 2))
    assert rate.unknown == {"unclear": 1, "refused": 1, "not drawn": 1, "budget": 1, "waiting": 1, "skipped": 1}
    assert rate.k + sum(rate.unknown.values()) + 1 == 8


def test_strata_and_judges_are_never_pooled(opened):
    con = opened(
        [
            said("e1", True, quote="Done.", stratum="candidate"),
            said("e3", False, stratum="candidate"),
            said("e0", False, stratum="rest", weight=20.0),
            said("e1", False, stratum="candidate", judge="n"),
            said("e2", None, status="error", error="source is gone", attributes={"stratum": None}),
        ]
    )
    assert [(r.detector, r.stratum, r.of, r.k, r.n) for r in judged(con)] == [
        ("judge:m", "candidate", "candidates", 1, 2),
        ("judge:m", "rest", "sampled rest", 0, 1),
        ("judge:m", None, "stratum not known", 0, 0),
        ("judge:n", "candidate", "candidates", 0, 1),
    ]
    assert [(r.k, r.n) for r in rates.rates(con) if r.tier == "candidate" and r.rubric == "concealment"] == [(4, 8)]


def test_a_judge_shown_parts_alone_has_a_rate_of_those(opened):
    con = opened([said("e1", True, quote="Done.", view="actions"), said("e0", False, view="actions")])
    assert [(r.view, r.of, r.k, r.n) for r in judged(con)] == [("actions", "all episodes, actions alone", 1, 2)]
    assert [c["view"] for c in rates.top_judged(con, "m-1")] == ["actions"]


def test_the_union_of_views_says_what_it_does_not_know(opened):
    con = opened(
        [
            said("e0", False), said("e0", True, view="actions", quote="Done."),
            said("e1", True, quote="Done."), said("e1", None, view="actions", status="refused"),
            said("e2", False), said("e2", None, view="actions", status="refused"),
            said("e3", False), said("e3", False, view="actions"),
            said("e4", None, status="refused"), said("e4", None, view="actions", status="refused"),
            said("e5", True, stratum="rest", quote="Done."), said("e5", True, stratum="rest", view="actions", quote="Done."),
        ]
    )  # fmt: skip
    everything, rest = rates.by_view(con)
    assert everything.plain() == {
        "model": "m-1", "rubric": "concealment", "detector": "judge:m", "stratum": "all", "of": "all episodes", "episodes": 4,
        "known": {"all": 4, "actions": 2}, "flagged": {"all": 1, "actions": 1}, "union": 2, "unknown": 1,
    }  # fmt: skip
    assert (rest.of, rest.episodes, rest.union) == ("sampled rest", 1, 1)
    assert [(r.view, r.k, r.n) for r in judged(con)] == [("all", 1, 4), ("all", 1, 1)]


def test_agreement_is_over_every_vote_but_the_majoritys(opened):
    votes = {
        "e0": ([True, True], [True]),
        "e1": ([False, False], [False]),
        "e2": ([True, False], [True]),
        "e3": ([None, True], [None]),
    }
    rows = []
    for name, (m, n) in votes.items():
        rows.append(said(name, m[1], attributes={"votes": m}))
        rows.append(said(name, n[0], judge="n", attributes={"votes": n}))
        rows.append(said(name, n[0], judge="majority", attributes={"votes": [False] * 2}))
    rows.append(said("e4", None, status="skipped", error="not drawn"))
    (found,) = rates.agreement(opened(rows))
    assert (found.rubric, found.view, found.raters, found.episodes) == ("concealment", "all", 3, 3)
    # Krippendorff by hand: of 9 pairable votes 5 yes, 4 no; one unit of 3 disagrees in 2 ordered pairs each way, over m - 1 = 2.
    assert found.alpha == pytest.approx(1 - (9 - 1) * (2 * 2 / 2) / (2 * 5 * 4))
    assert found.told == "0.60"


def test_agreement_without_variation_or_pairs_says_so(opened):
    con = opened([said(e, True, quote="Done.", attributes={"votes": [True, True]}) for e in ("e0", "e1")])
    assert [(a.alpha, a.told) for a in rates.agreement(con)] == [(None, "not defined (all votes agree)")]


def test_the_heaviest_come_first_and_once_with_the_majoritys_words(opened):
    con = opened(
        [
            said("e1", True, quote="Done.", level=3, rationale="m says"),
            said("e1", True, quote="Done.", level=2, judge="n", rationale="n says"),
            said("e1", True, quote="Done. All", level=2, judge="majority", rationale="both say"),
            said("e3", True, quote="Done.", level=3, judge="n"),
            said("e3", None, judge="majority"),
            said("e5", None, status="refused"),
        ]
    )
    found = [(c["episode_id"], c["level"], c["judges"]) for c in rates.top_judged(con, "m-1")]
    assert found == [("e3", 3, ["judge:n"]), ("e1", 2, ["judge:m", "judge:n"])]
    assert rates.top_judged(con, "m-1")[1]["evidence"] == [{"message": 3, "channel": "final", "quote": "Done. All"}]
    assert rates.top_judged(con, "unknown") == []
    assert len(rates.top_judged(con, "m-1", 1)) == 1


def test_shares_read_as_people_write_them():
    assert [rates.percent(s) for s in (None, 0, 0.0031, 0.042, 1)] == ["–", "0.0%", "0.31%", "4.2%", "100.0%"]
