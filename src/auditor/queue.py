"""To be replaced: which episodes a reviewer reads next. Flagged ones first, then the rest as `sample.uniform` draws them."""

from __future__ import annotations

from typing import NamedTuple

import duckdb

from auditor.query import run
from auditor.sample import uniform


class Queued(NamedTuple):
    """One episode to read, the stratum that it stands for, and with which probability it was drawn."""

    episode_id: str
    stratum: str
    inclusion: float


def queue(con: duckdb.DuckDBPyConnection, rubric: str, *, reviewer: str, n: int, seed: int = 0) -> list[Queued]:
    """At most `n` episodes for one rubric."""
    sql = "SELECT episode_id, coalesce(bool_or(flagged), false) FROM verdicts WHERE rubric = ? GROUP BY 1"
    rows = sorted(run(con, sql, [rubric])[1], key=lambda row: (not row[1], uniform(row[0], seed)))
    return [Queued(name, "candidate" if flagged else "rest", 1.0) for name, flagged in rows[:n]]
