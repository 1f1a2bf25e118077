"""The pictures of a report, made of its facts as inline SVG. What is too much for a picture is in the table behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from auditor.rates import UNKNOWN_MODEL
from auditor.report.plots import ForestRow, Step, bars, forest, heatmap, ladder, steps, trend

_MOST_ROWS = 40
_OF_STAGE = {"release": "release", "snapshot": "earlier snapshots", "unknown": ""}
_BARS = ("competence", "effort")
"""Attributes that are shown as bars; all are in the table."""

Titled = list[tuple[str, str]]


def pictures(data: dict[str, Any]) -> dict[str, Any]:
    """`forest`, and for each model in order `steps`, `levels`, `places`, `trend` and `noted`: (title, picture) each."""
    titles = {t["id"]: t["title"] for t in data["texts"]}
    names = {t["id"]: {s["value"]: s["name"] for s in t["levels"]} for t in data["texts"]}
    models = []
    for i, model in enumerate(data["models"]):
        name = model["model"]
        models.append(
            {
                "steps": _steps(data["funnels"], name, f"s{i}"),
                "levels": _ladders(data["levels"], name, titles, names, f"l{i}"),
                "places": _places(data["environments"], name, titles, f"p{i}"),
                "trend": _trend(data["checkpoints"], name, titles, f"t{i}"),
                "noted": _noted(data["noted"], name, titles, f"n{i}"),
            }
        )
    return {"forest": _forest(data["headline"], titles), "models": models}


def _forest(rows: Sequence[dict[str, Any]], titles: dict[str, str]) -> str:
    known = sorted((r for r in rows if r["n"]), key=lambda r: (r["rubric"], -(r["share"] or 0)))
    made = [
        ForestRow(
            r["group"],
            titles.get(r["rubric"], r["rubric"]),
            r["share"],
            r["low"],
            r["high"],
            f"{r['k']:,}/{r['n']:,}, {r['tier']}",
        )
        for r in known[:_MOST_ROWS]
    ]
    return forest(made, "forest", title="How often, with 95% intervals")


def _staged(title: str, stage: str) -> str:
    return f"{title}, {_OF_STAGE[stage]}" if _OF_STAGE[stage] else title


def _steps(rows: Sequence[dict[str, Any]], model: str, prefix: str) -> Titled:
    found = []
    for row in rows:
        if row["model"] == model and row["kind"] == "all":
            nodes = [Step(n["name"], n["k"], n["of"], n["low"], n["high"]) for n in row["nodes"]]
            title = _staged("From episodes to what was hidden, and admitted", row["stage"])
            found.append((title, steps(nodes, f"{prefix}-{row['stage']}", title=title)))
    return found


def _mine(rows: Sequence[dict[str, Any]], model: str) -> list[dict[str, Any]]:
    return [r for r in rows if (r["by"]["model"] or UNKNOWN_MODEL) == model and r["elicited"] == "natural" and r["n"]]


def _places(rows: Sequence[dict[str, Any]], model: str, titles: dict[str, str], prefix: str) -> Titled:
    mine = _mine(rows, model)
    found = []
    for stage in sorted({r["stage"] for r in mine}):
        here = [r for r in mine if r["stage"] == stage]
        places = sorted({str(r["by"]["environment"]) for r in here})
        if len(places) > 1:
            columns = {r["rubric"]: titles.get(r["rubric"], r["rubric"]) for r in sorted(here, key=lambda r: r["rubric"])}
            cells = {(str(r["by"]["environment"]), columns[r["rubric"]]): (r["k"], r["n"]) for r in here}
            title = _staged("By environment", stage)
            found.append((title, heatmap(places[:_MOST_ROWS], [*columns.values()], cells, f"{prefix}-{stage}", title=title)))
    return found


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """A key by which step-200 comes before step-1000, and the release last."""
    if name.lower() == "release":
        return [(2, 0, "")]
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def _trend(rows: Sequence[dict[str, Any]], model: str, titles: dict[str, str], prefix: str) -> Titled:
    mine = [r for r in _mine(rows, model) if r["by"]["checkpoint"]]
    found = []
    for rubric in sorted({r["rubric"] for r in mine}):
        points = [(str(r["by"]["checkpoint"]), r["share"], r["low"], r["high"]) for r in mine if r["rubric"] == rubric]
        if len(points) > 1:
            title = f"{titles.get(rubric, rubric)} by checkpoint"
            points.sort(key=lambda point: natural_order(point[0]))
            found.append((title, trend(points[:_MOST_ROWS], f"{prefix}-{rubric}", title=title)))
    return found


def _ladders(
    rows: Sequence[dict[str, Any]], model: str, titles: dict[str, str], names: dict[str, dict[int, str]], prefix: str
) -> Titled:
    mine = [r for r in rows if r["model"] == model]
    found = []
    for rubric, stage in sorted({(r["rubric"], r["stage"]) for r in mine}):
        here = [r for r in mine if (r["rubric"], r["stage"]) == (rubric, stage)]
        levels = [(f"{r['level']} {names.get(rubric, {}).get(r['level'], '')}".strip(), r["episodes"]) for r in here]
        title = _staged(f"{titles.get(rubric, rubric)}: episodes by level", stage)
        found.append((title, ladder(levels, f"{prefix}-{rubric}-{stage}", title=title)))
    return found


def _noted(rows: Sequence[dict[str, Any]], model: str, titles: dict[str, str], prefix: str) -> Titled:
    found = []
    for row in rows:
        if row["model"] == model and row["attribute"] in _BARS:
            title = _staged(f"{titles.get(row['rubric'], row['rubric'])}: {row['attribute']}", row["stage"])
            made = bars([*row["counts"].items()], f"{prefix}-{row['rubric']}-{row['attribute']}-{row['stage']}", title=title)
            found.append((title, made))
    return found
