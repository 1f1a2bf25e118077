"""What the report says first: a sentence a group, the headline rates with why they are the headline; then levels, places, spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from auditor import conduct, funnel, reviewed
from auditor.corrected import corrected
from auditor.prevalence import SPEAKS, Prevalence, prevalences
from auditor.query import run
from auditor.rates import NATURAL, STAGE, UNKNOWN_MODEL, percent
from auditor.rubric import Rubric
from auditor.spread import spreads
from auditor.stats.intervals import difference
from auditor.text import excerpt

BY = ("model", "checkpoint")
_STRATEGIC = 3
_TOLD = {
    "candidate": "by signals (candidates, not verdicts)",
    "judged": "by a judge",
    "reviewed": "reviewed by a person",
}


def first(con: duckdb.DuckDBPyConnection, rubrics: Sequence[Rubric], by: Sequence[str] = BY) -> dict[str, Any]:
    """The headline rates of the groups `by`, a sentence a group, and by model: checkpoints, levels, environments, funnels."""
    rates = prevalences(con, by)
    usual = rates if tuple(by) == BY else prevalences(con, BY)
    hidden = next((r for r in rubrics if {"knew", "settled"} <= {c.id for c in r.criteria}), None)
    strategic = prevalences(con, by, rubric=hidden.id, at_least=_STRATEGIC) if hidden else []
    places = prevalences(con, ["model", "environment"])
    return {
        "by": [*by],
        "headline": [row(r) for r in rates],
        "corrected": [c.plain() for c in corrected(con, rates)],
        "labels_ignored": reviewed.ignored(con),
        "apart": _apart([r for r in rates if hidden and r.rubric == hidden.id]),
        "sentences": _sentences([r for r in rates if hidden and r.rubric == hidden.id], strategic, hidden.title if hidden else ""),
        "checkpoints": [row(r) for r in usual],
        "environments": [row(r) for r in places if r.elicited == "natural" and r.by["environment"] is not None],
        "levels": _levels(con),
        "funnels": [f.plain() for f in funnel.funnels(con, hidden.id if hidden else None)],
        "spread": [s.plain() for s in spreads(con, usual)],
        "noted": [n.plain() for n in conduct.noted(con)],
        "texts": [_text(r) for r in rubrics],
    }  # fmt: skip


def row(rate: Prevalence) -> dict[str, Any]:
    """One rate as JSON types, its group under `by`."""
    return {"by": rate.by, **{name: value for name, value in rate.plain().items() if name not in rate.by}}


def _sentences(rates: Sequence[Prevalence], strategic: Sequence[Prevalence], title: str) -> list[dict[str, str]]:
    """What is hidden, in plain words, a group: how often, how sure, and how much of it is strategic. The highest first."""
    worst = {r.group: r for r in strategic}
    told: list[dict[str, str]] = []
    for rate in sorted(rates, key=lambda r: (r.elicited != "natural", -(r.share or 0))):
        if not rate.n:
            told.append({"who": rate.group, "text": f"{title.lower()}: nothing is known of its {rate.episodes:,} episodes"})
            continue
        low, high, _ = rate.interval
        share = percent(rate.share) if rate.share is not None else "share not known"
        text = f"{title.lower()} in {rate.k:,} of {rate.n:,} episodes ({share}, {percent(low)} to {percent(high)}), {_TOLD[rate.tier]}"
        graver = worst.get(rate.group)
        if rate.tier != "candidate" and graver is not None:
            text += f"; {graver.k:,} {'is' if graver.k == 1 else 'are'} strategic"
        told.append({"who": rate.group, "text": text})
    return told


def _apart(rates: Sequence[Prevalence]) -> str:
    """From which others the highest group can be told, so that nobody reads an order into chance; empty for fewer than two groups.

    Of natural groups on the tier of the highest: the 95% square-and-add interval of the difference does not hold 0. Not
    corrected for the number of groups, and tasks are not paired: `auditor compare` does that.
    """
    known = [r for r in rates if r.elicited == "natural" and r.share is not None]
    top = max(known, key=lambda r: (r.share or 0, r.n), default=None)
    others = [r for r in known if top and r is not top and r.tier == top.tier]
    if top is None or not others or not top.share:
        return ""
    held = [r.group for r in others if difference(top.share or 0, top.interval, r.share or 0, r.interval).low <= 0]
    told = [r.group for r in others if r.group not in held]
    found = [f"told apart from {_list(told)}"] if told else []
    found += [f"not told apart by so few episodes from {_list(held)}"] if held else []
    return f"Highest: {excerpt(top.group, 60)}; {'; '.join(found)} (95% intervals of the differences)"


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(excerpt(name, 60) for name in names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown


def _levels(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Natural episodes of each model and stage by rubric and level, of the judged verdicts that speak: reviews are a sample, no count of all."""
    _, rows = run(
        con,
        f"SELECT coalesce(v.model, '{UNKNOWN_MODEL}'), {STAGE}, rubric, level, count(*) FROM (SELECT * FROM verdicts WHERE tier = 'judged'"
        " AND status = 'ok' AND level IS NOT NULL AND view = 'all' QUALIFY row_number() OVER (PARTITION BY episode_id, rubric"
        f" ORDER BY {SPEAKS}) = 1) v JOIN episodes e USING (episode_id) WHERE {NATURAL} GROUP BY ALL ORDER BY ALL",
    )
    return [{"model": m, "stage": s, "rubric": r, "level": level, "episodes": n} for m, s, r, level, n in rows]


def _text(rubric: Rubric) -> dict[str, Any]:
    """What a rubric says, for the reader of a report."""
    return {
        "id": rubric.id,
        "title": rubric.title,
        "version": rubric.version,
        "hash": rubric.signals_hash,
        "flag_from": rubric.flag_from,
        "criteria": [{"id": c.id, "ask": c.ask} for c in rubric.criteria],
        "levels": [{"value": s.value, "name": s.name, "rule": s.rule} for s in rubric.levels],
    }
