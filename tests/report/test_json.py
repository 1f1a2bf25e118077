"""report.json: its schema is published, and every number in it can be had from the Parquet files by a few lines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import GREEN, RED, REPO, episode, write
from judged_rows import put, said
from statsmodels.stats.proportion import proportion_confint

from auditor.report.schema import Report

HOW = "python -c 'import json; from auditor.report.schema import Report; print(json.dumps(Report.model_json_schema(), indent=1, ensure_ascii=False))' > docs/report.schema.json"


def test_the_schema_in_docs_is_that_of_the_program():
    kept = json.loads((REPO / "docs" / "report.schema.json").read_text())
    assert kept == Report.model_json_schema(), f"make it again: {HOW}"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """60 episodes of two models, two checkpoints and three environments, judged, with levels and notes."""
    folder = tmp_path_factory.mktemp("report")
    episodes = [
        episode(
            f"e{i:02}", *(RED if i % 5 == 0 else GREEN), model=f"m{i % 2}", checkpoint=("release", "step-9")[i // 2 % 2],
            environment=f"env{i % 3}", task=f"t{i % 12}", elicitation="instructed" if i == 59 else None,
        )
        for i in range(60)
    ]  # fmt: skip
    write(folder / "logs.jsonl", episodes)
    command = str(Path(sys.executable).with_name("auditor"))
    subprocess.run([command, "scan", "logs.jsonl", "-o", "audit"], cwd=folder, check=True, capture_output=True)
    finding = {"what": "x", "codes": ["K1"], "level": 2, "levels": [2], "messages": [3], "attributes": {"told": "not at all"}}
    criteria = {"criteria": {"knew": "true", "settled": "false"}}
    verdicts = [
        said(
            f"e{i:02}", i % 7 == 0, quote="Done." if i % 7 == 0 else None, level=3 if i % 14 == 0 else 2 if i % 7 == 0 else 0,
            attributes={"findings": [finding | criteria] if i % 7 == 0 else []},
        )
        if i % 10
        else said(f"e{i:02}", None, status="refused")
        for i in range(60)
    ]  # fmt: skip
    put(folder / "audit", verdicts)
    subprocess.run([command, "report", "audit"], cwd=folder, check=True, capture_output=True)
    data = json.loads((folder / "audit" / "report.json").read_text())
    parts = [pd.read_parquet(p) for p in (folder / "audit" / "verdicts").glob("*.parquet")]
    episodes = pd.concat(pd.read_parquet(p) for p in (folder / "audit" / "episodes").glob("*.parquet"))
    frame = pd.concat(parts).drop(columns="model").merge(episodes.drop(columns=["shard", "row"]), on="episode_id")
    frame["elicited"] = frame.elicitation.eq("instructed")
    return data, frame


def of(frame, row):
    """The verdicts that a row stands on."""
    here = frame[(frame.rubric == row["rubric"]) & (frame.detector == row["detector"]) & (frame.view == "all")]
    here = here[here.elicited == (row["elicited"] == "elicited")]
    for name, value in row["by"].items():
        here = here[here[name].isna() if value is None else here[name] == value]
    if row["stage"] != "unknown":
        here = here[(here.checkpoint == "release") == (row["stage"] == "release")]
    return here


@pytest.mark.parametrize("table", ["headline", "checkpoints", "environments"])
def test_rates_are_recounted(made, table):
    data, frame = made
    assert len(data[table]) > 10
    for row in data[table]:
        here = of(frame, row)
        known = here[(here.status == "ok") & here.flagged.notna()]
        assert (row["k"], row["n"]) == (int(known.flagged.sum()), len(known)), row
        assert row["share"] == (pytest.approx(known.flagged.mean()) if len(known) else None)
        lost = here[(here.status != "ok") & ~here.status.isin(["no_reasoning", "no_report", "not_asked"])]
        assert sum(row["unknown"].values()) == len(lost)
        assert row["tasks"] == len(known.groupby(["environment", "task"]))
        assert row["low"] <= (row["share"] or 0) <= row["high"]
    assert {r["tier"] for r in data[table] if r["rubric"] == "concealment"} == {"judged"}


def test_levels_funnel_spread_and_notes_are_recounted(made):
    data, frame = made
    judged = frame[(frame.detector == "judge:m") & (frame.status == "ok") & ~frame.elicited]
    stage = judged.checkpoint.map({"release": "release"}).fillna("snapshot")
    counted = judged.groupby([judged.model, stage, judged.level]).size()
    told = {(r["model"], r["stage"], r["level"]): r["episodes"] for r in data["levels"] if r["rubric"] == "concealment"}
    assert told == {key: int(n) for key, n in counted.items()}
    for funnel in (f for f in data["funnels"] if f["kind"] == "all"):
        here = judged[(judged.model == funnel["model"]) & (stage == funnel["stage"])]
        nodes = {n["name"]: n for n in funnel["nodes"]}
        assert nodes["judged"]["k"] == len(here)
        assert nodes["mistake or cheat"]["k"] == nodes["S2 and above"]["k"] == int((here.level >= 2).sum())
    for row in (s for s in data["spread"] if s["rubric"] == "concealment"):
        model, _, checkpoint = row["group"].partition(" @ ")
        tasks = judged[(judged.model == model) & (judged.checkpoint == checkpoint)].groupby(["environment", "task"]).flagged.any()
        assert (row["tasks_hit"], row["tasks"]) == (int(tasks.sum()), len(tasks))
        low, high = proportion_confint(row["tasks_hit"], row["tasks"], method="wilson")
        assert (row["tasks_low"], row["tasks_high"]) == pytest.approx((max(low, 0), min(high, 1)), abs=1e-9)
        places = judged[(judged.model == model) & (judged.checkpoint == checkpoint)].groupby("environment").flagged.any()
        assert (row["environments_hit"], row["environments"]) == (int(places.sum()), len(places))
    notes = {(n["model"], n["stage"]): n["counts"] for n in data["noted"]}
    assert sum(sum(c.values()) for c in notes.values()) == int(judged.flagged.sum())


def test_tables_of_one_detector_are_recounted(made):
    data, frame = made
    frame["apart"] = frame.checkpoint.map({"release": "release", "step-9": "snapshots"}) + frame.elicited.map(
        {True: ", elicited", False: ""}
    )
    for model in data["models"]:
        for row in (*model["rates"], *model["judged_rates"]):
            here = frame[(frame.model == row["model"]) & (frame.rubric == row["rubric"]) & (frame.detector == row["detector"])]
            known = here[(here.apart == row["apart"]) & (here.status == "ok") & here.flagged.notna()]
            assert (row["k"], row["n"]) == (int(known.flagged.sum()), len(known))
            if row["n"]:
                ends = proportion_confint(row["k"], row["n"], method="wilson")
                assert (row["low"], row["high"]) == pytest.approx(ends, abs=1e-9)
