"""The view `rates`: headline rates as rows for SQL. They need more than SQL, so that they are worked out when a query names them."""

from __future__ import annotations

import json
import re

import duckdb

from auditor.prevalence import prevalences

_COLUMNS = (
    "model VARCHAR, checkpoint VARCHAR, stage VARCHAR, elicited VARCHAR, rubric VARCHAR, at_least BIGINT, tier VARCHAR, detector VARCHAR,"
    " k BIGINT, n BIGINT, episodes BIGINT, tasks BIGINT, share DOUBLE, low DOUBLE, high DOUBLE, method VARCHAR, best DOUBLE, worst DOUBLE,"
    " task_mean DOUBLE, unknown VARCHAR, outside VARCHAR, why VARCHAR"
)


def provide(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Make `rates` where `sql` names it: by model and checkpoint, of flagged episodes (`at_least` NULL), and from each level on."""
    if re.search(r"\brates\b", sql, re.IGNORECASE) is None:
        return
    levels = con.execute("SELECT DISTINCT level FROM verdicts WHERE tier <> 'candidate' AND level > 0 ORDER BY 1").fetchall()
    found = [r for level in (None, *(level for (level,) in levels)) for r in prevalences(con, at_least=level)]
    con.execute(f"CREATE OR REPLACE TEMP TABLE rates({_COLUMNS})")
    names = [part.split()[0] for part in _COLUMNS.split(",")]
    rows = [[json.dumps(v) if isinstance(v, dict) else v for v in (r.plain()[name] for name in names)] for r in found]
    if rows:
        con.executemany(f"INSERT INTO rates VALUES ({', '.join('?' * len(names))})", rows)
