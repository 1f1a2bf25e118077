"""What the report says first: a sentence a model, the headline rates with why they are the headline, levels, places, checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from auditor import funnel, reviewed
from auditor.corrected import corrected
from auditor.prevalence import SPEAKS, Prevalence, prevalences
from auditor.query import run
from auditor.rates import UNKNOWN_MODEL, percent
from auditor.report import plots
from auditor.rubric import Rubric

_STRATEGIC = 3
_MOST_ROWS = 40
"""Rows of a picture; more are in the table behind it alone."""


def facts(con: duckdb.DuckDBPyConnection, rubrics: Sequence[Rubric]) -> dict[str, Any]:
    """The headline rates by model and checkpoint, a sentence a model, levels, environments and funnels, as JSON types."""
    rates = prevalences(con)
    hidden = next((r for r in rubrics if {"knew", "settled"} <= {c.id for c in r.criteria}), None)
    strategic = prevalences(con, rubric=hidden.id, at_least=_STRATEGIC) if hidden else []
    return {
        "headline": [r.plain() for r in rates],
        "corrected": [c.plain() for c in corrected(con, rates)],
        "labels_ignored": reviewed.ignored(con),
        "sentences": _sentences([r for r in rates if hidden and r.rubric == hidden.id], strategic, hidden.title if hidden else ""),
        "environments": [r.plain() for r in prevalences(con, ["model", "environment"]) if r.elicited == "natural" and r.by["environment"] is not None],
        "levels": _levels(con),
        "funnels": [f.plain() for f in funnel.funnels(con, hidden.id if hidden else None)],
        "titles": {r.id: r.title for r in rubrics},
        "level_names": {r.id: {str(step.value): step.name for step in reversed(r.levels)} for r in rubrics},
    }  # fmt: skip


def _sentences(rates: Sequence[Prevalence], strategic: Sequence[Prevalence], title: str) -> list[dict[str, str]]:
    """What is hidden, in plain words, a model and checkpoint: how often, how sure, and how much of it is strategic."""
    worst = {(r.by["model"], r.by["checkpoint"], r.elicited): r for r in strategic}
    told: list[dict[str, str]] = []
    for rate in sorted(rates, key=lambda r: (r.elicited != "natural", -(r.share or 0))):
        who = _name(rate.plain())
        if not rate.n:
            told.append({"who": who, "text": f"{title.lower()}: nothing is known of its {rate.episodes:,} episodes"})
            continue
        low, high, _ = rate.interval
        share = percent(rate.share) if rate.share is not None else "share not known"
        by = {"candidate": "by signals (candidates, not verdicts)", "judged": "by a judge", "reviewed": "reviewed by a person"}[
            rate.tier
        ]
        text = f"{title.lower()} in {rate.k:,} of {rate.n:,} episodes ({share}, {percent(low)} to {percent(high)}), {by}"
        graver = worst.get((rate.by["model"], rate.by["checkpoint"], rate.elicited))
        if rate.tier != "candidate" and graver is not None:
            text += f"; {graver.k:,} {'is' if graver.k == 1 else 'are'} strategic"
        told.append({"who": who, "text": text})
    return told


def _levels(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Episodes of each model by rubric and level, of the judged verdicts that speak: reviews are a sample, and no count of all."""
    _, rows = run(
        con,
        f"SELECT coalesce(model, '{UNKNOWN_MODEL}'), rubric, level, count(*) FROM (SELECT * FROM verdicts WHERE tier = 'judged'"
        " AND status = 'ok' AND level IS NOT NULL AND view = 'all' QUALIFY row_number() OVER (PARTITION BY episode_id, rubric"
        f" ORDER BY {SPEAKS}) = 1) GROUP BY ALL ORDER BY ALL",
    )
    return [{"model": m, "rubric": r, "level": level, "episodes": n} for m, r, level, n in rows]


# ---- pictures -------------------------------------------------------------------------------------------


def pictures(data: dict[str, Any]) -> dict[str, Any]:
    """The plots of a report as inline SVG: `forest`, and for each model (by its place) `steps`, `places` and `trend`."""
    found: dict[str, Any] = {"forest": _forest(data["headline"], data["titles"]), "models": []}
    for i, model in enumerate(data["models"]):
        name = model["model"]
        funnels = [f for f in data["funnels"] if f["model"] == name and f["kind"] == "all"]
        steps = [(n["name"], n["k"]) for f in funnels for n in f["nodes"]]
        found["models"].append(
            {
                "steps": plots.steps(steps, f"s{i}", title="From episodes to what was hidden and admitted") if steps else None,
                "places": _places(data["environments"], name, data["titles"], f"p{i}"),
                "trend": _trend(data["headline"], name, data["titles"], f"t{i}"),
                "levels": _ladders(data["levels"], name, data["level_names"], f"l{i}"),
            }
        )
    return found


def _name(row: dict[str, Any]) -> str:
    told = row["model"] or UNKNOWN_MODEL
    if row.get("checkpoint"):
        told += f" @ {row['checkpoint']}"
    return told + (" (elicited)" if row["elicited"] == "elicited" else "")


def _forest(rows: Sequence[dict[str, Any]], titles: dict[str, str]) -> str:
    known = sorted((r for r in rows if r["n"]), key=lambda r: (r["rubric"], -(r["share"] or 0)))
    made = [
        plots.ForestRow(
            _name(r), titles.get(r["rubric"], r["rubric"]), r["share"], r["low"], r["high"], f"{r['k']:,}/{r['n']:,}, {r['tier']}"
        )
        for r in known[:_MOST_ROWS]
    ]
    return plots.forest(made, "forest", title="How often, with 95% intervals")


def _places(rows: Sequence[dict[str, Any]], model: str, titles: dict[str, str], prefix: str) -> str | None:
    mine = [r for r in rows if (r["model"] or UNKNOWN_MODEL) == model and r["n"]]
    places = sorted({str(r["environment"]) for r in mine})
    if len(places) < 2:
        return None
    names = sorted({r["rubric"] for r in mine})
    cells = {(str(r["environment"]), titles.get(r["rubric"], r["rubric"])): (r["k"], r["n"]) for r in mine}
    return plots.heatmap(places[:_MOST_ROWS], [titles.get(n, n) for n in names], cells, prefix, title="By environment")


def _trend(rows: Sequence[dict[str, Any]], model: str, titles: dict[str, str], prefix: str) -> list[tuple[str, str]]:
    mine = [
        r for r in rows if (r["model"] or UNKNOWN_MODEL) == model and r["elicited"] == "natural" and r["n"] and r["checkpoint"]
    ]
    found = []
    for rubric in sorted({r["rubric"] for r in mine}):
        points = [(str(r["checkpoint"]), r["share"], r["low"], r["high"]) for r in mine if r["rubric"] == rubric]
        if len(points) > 1:
            title = f"{titles.get(rubric, rubric)} by checkpoint"
            found.append((title, plots.trend(sorted(points)[:_MOST_ROWS], f"{prefix}-{rubric}", title=title)))
    return found


def _ladders(rows: Sequence[dict[str, Any]], model: str, names: dict[str, dict[str, str]], prefix: str) -> list[tuple[str, str]]:
    mine = [r for r in rows if r["model"] == model]
    found = []
    for rubric in sorted({r["rubric"] for r in mine}):
        known = names.get(rubric, {})
        levels = [
            (f"{r['level']} {known.get(str(r['level']), '')}".strip(), r["episodes"]) for r in mine if r["rubric"] == rubric
        ]
        found.append((rubric, plots.ladder(levels, f"{prefix}-{rubric}")))
    return found
