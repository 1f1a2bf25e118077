"""The headline: which tier speaks and why, what is weighted, and numbers recomputed from the Parquet files."""

from __future__ import annotations

import pandas as pd
import pytest
from conftest import GREEN, RED, episode, write
from judged_rows import put, said

import auditor as face
from auditor.errors import QueryError
from auditor.prevalence import prevalences
from auditor.query import connect
from auditor.store import Audit


@pytest.fixture
def scanned(auditor, tmp_path):
    """20 episodes of a model in 5 tasks; every fourth is a candidate for concealment."""
    made = [episode(f"e{i:02}", *(RED if i % 4 == 0 else GREEN), task=f"t{i % 5}", model="m") for i in range(20)]
    write(tmp_path / "logs.jsonl", made)
    auditor("scan", "logs.jsonl", "-o", "audit")
    return tmp_path / "audit"


def rates(path, *by, **more):
    con = connect(Audit.open(path))
    return prevalences(con, by or ("model",), rubric=more.pop("rubric", "concealment"), **more)


def verdict(i, flagged, stratum="all", weight=1.0, **more):
    return said(f"e{i:02}", flagged, quote="Done." if flagged else None, stratum=stratum, weight=weight, **more)


def test_without_a_judge_it_is_candidates_and_says_so(scanned):
    (rate,) = rates(scanned)
    assert (rate.tier, rate.k, rate.n, rate.episodes, rate.tasks) == ("candidate", 5, 20, 20, 5)
    assert rate.share == 0.25
    assert "nobody has judged" in rate.why
    assert rates(scanned, at_least=3) == []


def test_all_judged_is_a_plain_rate_over_clusters(scanned):
    put(scanned, [verdict(i, i % 10 == 0) for i in range(20)])
    (rate,) = rates(scanned)
    assert (rate.tier, rate.k, rate.n, rate.share, rate.why) == ("judged", 2, 20, 0.1, "judged")
    frame = pd.concat(pd.read_parquet(p) for p in (scanned / "verdicts").glob("*-j1.parquet"))
    assert (rate.k, rate.n) == (int(frame.flagged.sum()), len(frame))
    assert rate.interval.low < 0.1 < rate.interval.high
    assert rate.task_mean == pytest.approx(0.1)


def test_a_drawn_rest_is_weighted(scanned):
    # All 5 candidates judged, 3 hits; 5 of the other 15 drawn, 1 hit: 5/20 * 3/5 + 15/20 * 1/5.
    rows = [verdict(i, i in (0, 4, 8), "candidate") for i in range(0, 20, 4)]
    rest = [i for i in range(20) if i % 4]
    rows += [verdict(i, i == rest[0], "rest", 3.0) for i in rest[:5]]
    rows += [
        verdict(i, None, "rest", 0.0, status="skipped", error="not drawn (0.33 of the rest go to the judge)") for i in rest[5:]
    ]
    put(scanned, rows)
    (rate,) = rates(scanned)
    assert rate.share == pytest.approx(5 / 20 * 3 / 5 + 15 / 20 * 1 / 5)
    assert (rate.k, rate.n, rate.episodes) == (4, 10, 20)
    assert rate.unknown == {"not drawn": 10}
    assert (rate.best, rate.worst) == (0.4, 0.4), "what was not drawn is no gap: its probability is known"
    assert "5 of 5 candidates, 5 of 15 rest, weighted" in rate.why
    assert rate.interval.low < rate.share < rate.interval.high


def test_of_a_rest_that_nobody_looked_at_nothing_is_claimed(scanned):
    rows = [verdict(i, i in (0, 4, 8), "candidate") for i in range(0, 20, 4)]
    rows += [
        verdict(i, None, "rest", 0.0, status="skipped", error="not drawn (0 of the rest go to the judge)")
        for i in range(20)
        if i % 4
    ]
    put(scanned, rows)
    (rate,) = rates(scanned)
    assert rate.share is None
    assert "of the rest nothing is known" in rate.why
    assert rate.interval.high > 0.75


def test_what_failed_is_a_gap_with_a_best_and_a_worst_case(scanned):
    put(scanned, [verdict(i, i == 0) for i in range(10)] + [verdict(i, None, status="refused") for i in range(10, 16)]
        + [verdict(i, None, status="no_report") for i in range(16, 20)])  # fmt: skip
    (rate,) = rates(scanned)
    assert (rate.k, rate.n, rate.unknown, rate.outside) == (1, 10, {"refused": 6}, {"no_report": 4})
    assert (rate.best, rate.worst) == (pytest.approx(1 / 16), pytest.approx(7 / 16))


def test_levels_count_from_where_they_are_asked_for(scanned):
    levels = [4, 3, 2, 2, 0, 0, 0, 1, 0, 0]
    put(scanned, [verdict(i, level >= 2, level=level) for i, level in enumerate(levels)] + [verdict(10, True, level=None)])
    assert [(r.k, r.n) for n in (2, 3, 4) for r in rates(scanned, at_least=n)] == [(4, 10), (2, 10), (1, 10)]
    (flagged,) = rates(scanned)
    assert (flagged.k, flagged.n) == (5, 11)


def test_elicited_and_checkpoints_are_never_pooled(auditor, tmp_path):
    facts = [{"checkpoint": "release"}, {"checkpoint": "snap-1"}, {"checkpoint": "release", "elicitation": "instructed"},
             {"checkpoint": "release", "elicitation": "pressured"}]  # fmt: skip
    write(tmp_path / "logs.jsonl", [episode(f"e{i}", *RED, **f) for i, f in enumerate(facts)])
    auditor("scan", "logs.jsonl", "-o", "audit")
    found = {(r.by["checkpoint"], r.elicited): r.n for r in rates(tmp_path / "audit", "model", "checkpoint")}
    assert found == {("release", "natural"): 2, ("release", "elicited"): 1, ("snap-1", "natural"): 1}


def test_groups_are_columns_or_metadata_and_nothing_else(auditor, tmp_path):
    write(tmp_path / "logs.jsonl", [episode(f"e{i}", *RED, metadata={'it\'s "odd"': f"v{i % 2}"}) for i in range(4)])
    auditor("scan", "logs.jsonl", "-o", "audit")
    found = rates(tmp_path / "audit", 'metadata.it\'s "odd"')
    assert sorted((r.by['metadata.it\'s "odd"'], r.n) for r in found) == [("v0", 2), ("v1", 2)]
    for bad in ("episode_id); DROP", "metadata.", "score"):
        with pytest.raises(QueryError, match="no such column"):
            rates(tmp_path / "audit", bad)


def test_from_python_it_is_a_frame(scanned):
    audit = face.open_audit(str(scanned))
    frame = audit.rates(by=["model", "environment"])
    row = frame[frame.rubric == "concealment"].iloc[0]
    assert (row.model, row.environment, row.k, row.n, row.tier) == ("m", "e", 5, 20, "candidate")
    assert list(audit.sql("SELECT count(*) AS n FROM episodes").n) == [20]
    with pytest.raises(face.AuditorError, match="read only"):
        audit.sql("DROP VIEW episodes")


def test_a_release_is_never_pooled_with_its_snapshots(auditor, tmp_path):
    stages = ["release", "step-100", "step-200", None]
    write(tmp_path / "logs.jsonl", [episode(f"e{i}", *RED, model="m", checkpoint=stages[i % 4], task=f"t{i}") for i in range(8)])
    auditor("scan", "logs.jsonl", "-o", "audit")
    found = {r.group: (r.stage, r.n) for r in rates(tmp_path / "audit", "model")}
    assert found == {"m (release)": ("release", 2), "m (snapshots)": ("snapshot", 4), "m": ("unknown", 2)}
    assert {r.group for r in rates(tmp_path / "audit", "model", "checkpoint")} == {
        "m",
        "m @ release",
        "m @ step-100",
        "m @ step-200",
    }


def test_the_view_rates_holds_the_headline_and_every_level(scanned, auditor):
    put(scanned, [verdict(i, i % 10 == 0, level=3 if i == 0 else 2 if i % 10 == 0 else 0) for i in range(20)])
    sql = "SELECT at_least, k, n, tier FROM rates WHERE rubric = 'concealment' ORDER BY 1 NULLS FIRST"
    frame = face.open_audit(scanned).sql(sql)
    assert [(None if pd.isna(a) else a, k, n, t) for a, k, n, t in frame.itertuples(index=False)] == [
        (None, 2, 20, "judged"), (2, 2, 20, "judged"), (3, 1, 20, "judged"),
    ]  # fmt: skip
    told = auditor(
        "query", scanned, "--sql", "SELECT rubric, share, low, high FROM rates WHERE share > 0", "--format", "csv"
    ).stdout
    (rate,) = rates(scanned)
    assert f"concealment,0.1,{rate.interval.low!r}," in told
    listed = auditor(
        "query", scanned, "--where", "model IN (SELECT model FROM rates WHERE share > 0.09)", "--format", "jsonl"
    ).stdout
    assert len(listed.splitlines()) == 100
