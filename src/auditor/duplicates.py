"""Episodes that stand in an audit twice, and other episodes of one id: found once a scan is done, looked up by every query."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import duckdb

from auditor.live import quoted, table, unreadable
from auditor.store import Audit, Commit, Duplicates
from auditor.tables import EPISODES

_NAME = "duplicates.parquet"


def find_duplicates(audit: Audit, commits: Sequence[Commit]) -> Duplicates:
    """Write `duplicates.parquet`: rows that repeat an episode (dropped), rows that share an id but not the content (renamed).

    Without either the file is removed. Where `audit.json` tells what was found in these very episodes, nothing is done.
    """
    of, known = _hash(commits), audit.about().duplicates
    if known and known.of == of and audit.disk.exists(_NAME) == bool(known.dropped or known.renamed):
        return known
    if not commits:
        audit.disk.remove(_NAME)
        return Duplicates(of=of)
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
        with audit.part(_NAME) as path:
            con.execute(f"COPY found TO {quoted(str(path))} (FORMAT parquet)")
    else:
        audit.disk.remove(_NAME)
    con.close()
    return Duplicates(of=of, dropped=int(dropped), renamed=int(renamed))


def _hash(commits: Sequence[Commit]) -> str:
    """Changes when a row of the episodes can have: what a part holds follows from its name, how it was read, and what was left out."""
    told = sorted((c.episodes, c.fingerprint, c.counts.get("episodes", 0), c.skip) for c in commits)
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]
