"""The audit that is read: one connection that is opened again when the audit changes, its labels, the transcripts read last."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import duckdb

from auditor import labels
from auditor.errors import QueryError
from auditor.plan import rubrics_of
from auditor.query import connect, find_transcript, run
from auditor.rubric import Rubric
from auditor.store import Audit
from auditor.text import excerpt
from auditor.transcript import Transcript

_KEPT = 8
T = TypeVar("T")

# A verdict's weight in the order of the list: people and judges before signals, then the level, then what the signals weigh.
_ROWS = """CREATE TABLE _listed AS
SELECT e.episode_id, coalesce(e.model, 'unknown') AS model, e.task, e.environment, e.checkpoint, e.passed, e.messages, coalesce(s.strength, 0) AS strength
FROM episodes e LEFT JOIN (
  SELECT episode_id, max(CASE WHEN tier <> 'candidate' THEN 1000 ELSE 0 END + 10 * coalesce(level, 0)
    + coalesce(TRY_CAST(json_extract(attributes, '$.weight') AS INT), 1)) AS strength
  FROM verdicts WHERE flagged AND status = 'ok' GROUP BY 1) s USING (episode_id)"""


class Shelf:
    """One audit for all requests. Threads each take a cursor of their own: a DuckDB connection is for one at a time."""

    def __init__(self, audit: Audit) -> None:
        self.audit = audit
        self.rubrics: dict[str, Rubric] = {r.id: r for r in rubrics_of(audit)}
        self._lock = threading.Lock()
        self._here = threading.local()
        self._stamp: tuple[Any, ...] = ()
        self._con: duckdb.DuckDBPyConnection
        self._labels: list[labels.Label] = []
        self._made: dict[Hashable, Any] = {}
        self._read: OrderedDict[str, Transcript] = OrderedDict()
        self._follow()

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for one request, on the audit as it is now."""
        with self._lock:
            self._follow()
            con = self._con.cursor()
            # What belongs to this connection: another request may open the next one before this is answered.
            self._here.labels, self._here.made = self._labels, self._made
        try:
            yield con
        finally:
            con.close()

    def labels(self) -> list[labels.Label]:
        """The labels that stand, as of this thread's last cursor."""
        found: list[labels.Label] = self._here.labels
        return found

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives of this thread's last cursor, kept until the audit changes."""
        made = self._here.made
        if name not in made:
            made[name] = make()
        found: T = made[name]
        return found

    def transcript(self, con: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> Transcript:
        """The transcript of an episode, by its row. QueryError where it is gone."""
        content = row["content_hash"]
        if (found := self._read.get(content)) is None:
            found = find_transcript(self.audit, con, row["episode_id"])[1]
        with self._lock:
            self._read[content] = found
            self._read.move_to_end(content)
            while len(self._read) > _KEPT:
                self._read.popitem(last=False)
        return found

    def _follow(self) -> None:
        stamp = tuple(_stamp(self.audit, name) for name in ("commits", "duplicates.parquet", labels.NAME))
        if stamp == self._stamp:
            return
        given = labels.standing(labels.load(self.audit))
        con = connect(self.audit)
        con.execute(_ROWS)
        # Requests that are under way keep the old database through their cursors.
        self._con, self._labels, self._made, self._stamp = con, given, {}, stamp


def _stamp(audit: Audit, name: str) -> tuple[int, int] | None:
    try:
        found = (audit.path / name).stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def key(value: str, *, hidden: bool = False) -> str:
    """A value as it stands in a URL: itself, or a hash where it is long or must not be read."""
    plain = not hidden and len(value) <= 200 and not value.startswith("~")
    return value if plain else "~" + hashlib.sha256(value.encode(errors="replace")).hexdigest()[:32]


def condition(column: str, given: str) -> tuple[str, str]:
    """SQL and its parameter for the rows whose `column` has this `key`."""
    return (f"left(sha256({column}), 32) = ?", given[1:]) if given.startswith("~") else (f"{column} = ?", given)


def row_of(con: duckdb.DuckDBPyConnection, given: str) -> dict[str, Any]:
    """The row of the episode with this `key`. QueryError where there is none: nothing of a URL goes further than this."""
    sql, value = condition("episode_id", given)
    columns, rows = run(con, f"SELECT * FROM episodes WHERE {sql} LIMIT 1", [value])
    if not rows:
        raise QueryError(f"no episode {excerpt(given, 80)} in this audit; the list of episodes has all")
    return dict(zip(columns, rows[0], strict=True))
