"""Episodes that stand in an audit twice, and other episodes of one id: found once a scan is done, looked up by every query."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from auditor.query import quoted, table, unreadable
from auditor.store import EPISODES, Audit, Commit


def find_duplicates(audit: Audit, commits: Sequence[Commit]) -> tuple[int, int]:
    """Write `duplicates.parquet`: rows that repeat an episode (dropped), rows that share an id but not the content (renamed).

    Returns how many of each. Without either the file is removed.
    """
    if not commits:
        audit.disk.remove("duplicates.parquet")
        return 0, 0
    con = duckdb.connect(
        ":memory:", config={"threads": 2, "memory_limit": "300MB", "temp_directory": str(audit.disk.scratch() / ".tmp")}
    )
    if audit.disk.filesystem is not None:
        con.register_filesystem(audit.disk.filesystem)
    try:
        table(con, "_episodes", audit, [(c.episodes, c.shard) for c in commits], EPISODES)
    except duckdb.IOException as error:
        raise unreadable(audit, error) from None
    con.execute(
        "CREATE TABLE found AS SELECT shard, row, CASE WHEN again > 1 THEN NULL ELSE episode_id || '~' || content_hash[:6] END AS new_id"
        ' FROM (SELECT *, row_number() OVER (PARTITION BY episode_id, content_hash ORDER BY source, "offset", record, shard, row) AS again,'
        " dense_rank() OVER (PARTITION BY episode_id ORDER BY content_hash) AS variant"
        " FROM (SELECT * FROM _episodes WHERE episode_id IN (SELECT episode_id FROM _episodes GROUP BY 1 HAVING count(*) > 1)))"
        " WHERE again > 1 OR variant > 1"
    )
    dropped, renamed = con.execute("SELECT count(*) FILTER (new_id IS NULL), count(new_id) FROM found").fetchall()[0]
    if dropped or renamed:
        with audit.part("duplicates.parquet") as path:
            con.execute(f"COPY found TO {quoted(str(path))} (FORMAT parquet)")
    else:
        audit.disk.remove("duplicates.parquet")
    con.close()
    return int(dropped), int(renamed)
