"""The list of episodes: the filters of the URL as SQL. DuckDB filters, sorts and pages; no body of a transcript is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import duckdb

from auditor.query import run
from auditor.viewer.shelf import condition

PAGE = 50
FILTERS = ("rubric", "level", "tier", "status", "model", "environment", "task", "checkpoint", "text", "sort", "page", "with")
SORTS = {
    "strongest": "strength DESC, episode_id",
    "id": "episode_id",
    "model": "model, episode_id",
    "task": "task NULLS LAST, model, episode_id",
    "environment": "environment NULLS LAST, episode_id",
    "longest": "messages DESC, episode_id",
}
# In blind mode an order or a filter would tell what is hidden.
BLIND_SORT = "sha256(episode_id)"
STATUSES = {"any": "true", "flagged": "status = 'ok' AND flagged", "clean": "status = 'ok' AND NOT flagged", "unclear": "status = 'ok' AND flagged IS NULL"}  # fmt: skip


class Found(NamedTuple):
    """One page of the list, and how many there are in all. `implied`: a rubric or tier without a status asks for what it flags."""

    rows: list[dict[str, Any]]
    total: int
    page: int
    pages: int
    implied: bool


def find(con: duckdb.DuckDBPyConnection, wanted: Mapping[str, str], *, blind: bool = False) -> Found:
    """The episodes that the filters leave: model, environment, task, text; and a verdict with this rubric, tier, level, status."""
    implied = not blind and any(wanted.get(name) for name in ("rubric", "tier", "level")) and not wanted.get("status")
    where, parameters = _where({**wanted, "status": "flagged"} if implied else wanted, blind=blind)
    total = int(run(con, f"SELECT count(*) FROM _listed WHERE {where}", parameters)[1][0][0])
    pages = max(1, -(-total // PAGE))
    asked = wanted.get("page", "1")
    page = min(max(1, int(asked) if asked.isdecimal() and len(asked) < 9 else 1), pages)
    order = BLIND_SORT if blind else SORTS.get(wanted.get("sort", ""), SORTS["strongest"])
    columns, rows = run(
        con, f"SELECT * FROM _listed WHERE {where} ORDER BY {order} LIMIT {PAGE} OFFSET {(page - 1) * PAGE}", parameters
    )
    found = [{**dict(zip(columns, row, strict=True)), "verdicts": [], "quote": None} for row in rows]
    if not blind:
        _add_verdicts(con, found)
    return Found(found, total, page, pages, implied)


def _where(wanted: Mapping[str, str], *, blind: bool) -> tuple[str, list[str]]:
    conditions, parameters = ["true"], []
    for name in ("model", "checkpoint", "environment", "task"):
        if (given := wanted.get(name)) and not (blind and name in ("model", "checkpoint")):
            sql, value = condition(f"coalesce({name}, '–')", given)
            conditions.append(sql)
            parameters.append(value)
    if text := wanted.get("text", "").strip():
        places = ["strpos(lower(task), lower(?)) > 0"]
        if not blind:
            # An id often holds the model's name.
            places.append("strpos(lower(episode_id), lower(?)) > 0")
            places.append("episode_id IN (SELECT episode_id FROM verdicts WHERE strpos(lower(rationale), lower(?)) > 0)")
            places.append("episode_id IN (SELECT episode_id FROM evidence WHERE strpos(lower(quote), lower(?)) > 0)")
        conditions.append(f"({' OR '.join(places)})")
        parameters += [text] * len(places)
    if not blind:
        of_verdict = []
        for name in ("rubric", "tier"):
            if given := wanted.get(name):
                of_verdict.append(f"{name} = ?")
                parameters.append(given)
        if (level := wanted.get("level", "")).isdecimal() and len(level) < 4:
            of_verdict.append(f"level >= {int(level)}")
        if status := wanted.get("status"):
            of_verdict.append(STATUSES.get(status, "status = ?"))
            parameters += [] if status in STATUSES else [status]
        if of_verdict:
            conditions.append(f"episode_id IN (SELECT episode_id FROM verdicts WHERE {' AND '.join(of_verdict)})")
    return " AND ".join(conditions), parameters


def _add_verdicts(con: duckdb.DuckDBPyConnection, found: list[dict[str, Any]]) -> None:
    """To each row its flagged verdicts, one a rubric and tier, and the words that prove the strongest."""
    by_id = {row["episode_id"]: row for row in found}
    marks = ", ".join("?" * len(by_id))
    _, verdicts = run(
        con,
        "SELECT episode_id, rubric, tier, max(level), count(DISTINCT detector) FROM verdicts WHERE flagged AND status = 'ok'"
        f" AND episode_id IN ({marks or 'NULL'}) GROUP BY ALL ORDER BY rubric, tier DESC",
        list(by_id),
    )
    for name, rubric, tier, level, by in verdicts:
        by_id[name]["verdicts"].append({"rubric": rubric, "tier": tier, "level": level, "by": by})
    # The longest words of a judge, else of a signal, behind a flag.
    _, quotes = run(
        con,
        "SELECT episode_id, arg_max(quote, (detector <> 'signals')::INT * 1000 + least(length(quote), 200)) FROM evidence"
        f" SEMI JOIN (SELECT * FROM verdicts WHERE flagged) v USING (episode_id, rubric, detector, view) WHERE episode_id IN ({marks or 'NULL'}) GROUP BY 1",
        list(by_id),
    )
    for name, quote in quotes:
        by_id[name]["quote"] = quote


def choices(con: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """What the filters offer: the values that this audit has, the first 300 of each."""
    sql = {
        "model": "SELECT DISTINCT model FROM _listed ORDER BY 1 LIMIT 300",
        "environment": "SELECT DISTINCT environment FROM _listed WHERE environment IS NOT NULL ORDER BY 1 LIMIT 300",
        "rubric": "SELECT DISTINCT rubric FROM verdicts ORDER BY 1",
        "tier": "SELECT DISTINCT tier FROM verdicts ORDER BY 1",
        "level": "SELECT DISTINCT level::VARCHAR FROM verdicts WHERE level IS NOT NULL ORDER BY level::VARCHAR",
        "status": "SELECT DISTINCT status FROM verdicts WHERE status <> 'ok' ORDER BY 1",
    }
    found = {name: [row[0] for row in run(con, query)[1]] for name, query in sql.items()}
    return {**found, "status": [*STATUSES, *found["status"]]}


def same_task(con: duckdb.DuckDBPyConnection, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Other episodes of an episode's task, for a look side by side."""
    columns, rows = run(
        con,
        "SELECT episode_id, model, strength FROM _listed WHERE task = ? AND environment IS NOT DISTINCT FROM ? AND episode_id <> ?"
        " ORDER BY model, episode_id LIMIT 12",
        [row["task"], row["environment"], row["episode_id"]],
    )
    return [dict(zip(columns, r, strict=True)) for r in rows]
