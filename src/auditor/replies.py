"""Paid replies in SQLite, committed before they are used, so that no reply that arrived is ever paid for again.

The key of a reply is a hash over where it was asked, of which model, with which parameters, messages and schema.
Requests, keys and headers are not stored.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict

from auditor.errors import StoreError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, created TEXT DEFAULT CURRENT_TIMESTAMP, endpoint TEXT, model TEXT, status TEXT,
  text TEXT, error TEXT, prompt_tokens INT, completion_tokens INT, cost REAL, reasoning TEXT, left_out TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB);
CREATE TABLE IF NOT EXISTS batches (id TEXT PRIMARY KEY, endpoint TEXT, model TEXT, open INT DEFAULT 1);
CREATE TABLE IF NOT EXISTS batch_keys (key TEXT PRIMARY KEY, batch TEXT) WITHOUT ROWID;
"""
COLUMNS = (
    "key", "created", "endpoint", "model", "status", "text", "error", "prompt_tokens", "completion_tokens", "cost", "reasoning",
    "left_out",
)  # fmt: skip
USED: ContextVar[set[str] | None] = ContextVar("used", default=None)
"""Where it is set, the keys of all replies that are asked for in this context."""
KEPT = frozenset(("ok", "refused", "truncated"))
"""Outcomes that were paid for. Failures are not kept: the next run asks again."""


class Reply(BaseModel):
    """What came of one call. `cost` is in USD, None where the price is not known; `error` is one line.

    `left_out` names parameters that the server refused, so that they were not sent. `reasoning` is what the server gave apart from the text; `kind` names a failure (a status code, `timeout`; `messages`: tool messages are refused).
    """

    model_config = ConfigDict(frozen=True)
    status: Literal["ok", "refused", "truncated", "too_long", "error", "skipped"]
    text: str = ""
    error: str | None = None
    kind: str = ""
    reasoning: str | None = None
    left_out: tuple[str, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    cached: bool = False
    endpoint: str = ""
    model: str = ""


def key_of(
    base_url: str | None,
    model: str,
    params: dict[str, Any],
    messages: list[dict[str, Any]],
    schema: dict[str, Any] | None,
    sample: int = 0,
) -> str:
    """40 hex digits; `sample` tells apart calls that are equal and meant to be asked more than once."""
    value = orjson.dumps([base_url, model, params, messages, schema, sample], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(value).hexdigest()[:40]


class Replies:
    """The kept replies of an audit. One connection, used by the thread that opened it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Replies:
        """Open or make the file. StoreError when it is none of ours or cannot be written."""
        try:
            db = sqlite3.connect(path, isolation_level=None, timeout=30)
            # WAL with NORMAL: a commit survives the death of the process at once (of the machine, after a checkpoint).
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.executescript(_SCHEMA)
            known = {row[1] for row in db.execute("PRAGMA table_info(replies)")}
            for column in ("reasoning", "left_out"):  # a file of 0.1.0's first days lacks them
                if column not in known:
                    db.execute(f"ALTER TABLE replies ADD COLUMN {column} TEXT")
        except sqlite3.Error as error:
            raise StoreError(
                f"{path}: cannot be used to keep replies ({error}); is the disk full or the file another's?"
            ) from None
        return cls(db)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def get(self, key: str) -> Reply | None:
        """A kept reply: it costs nothing now."""
        if (used := USED.get()) is not None:
            used.add(key)
        row = self._db.execute(
            "SELECT status, text, error, prompt_tokens, completion_tokens, endpoint, model, reasoning, left_out FROM replies WHERE key = ?",
            (key,),
        ).fetchone()
        if row is None:
            return None
        status, text, error, prompt, completion, endpoint, model, reasoning, left_out = row
        return Reply(
            status=status, text=text, error=error, prompt_tokens=prompt, completion_tokens=completion, cost=0.0, cached=True,
            endpoint=endpoint, model=model, reasoning=reasoning, left_out=tuple((left_out or "").split()),
        )  # fmt: skip

    def put(self, key: str, reply: Reply) -> None:
        """Keep a paid reply; it is committed when this returns. Others are not kept."""
        if reply.status not in KEPT:
            return
        text, reasoning = (None if t is None else t.encode("utf-8", "replace").decode() for t in (reply.text, reply.reasoning))
        values = (
            key, reply.endpoint, reply.model, reply.status, text, reply.error, reply.prompt_tokens, reply.completion_tokens,
            reply.cost, reasoning, " ".join(reply.left_out),
        )  # fmt: skip
        names = "key, endpoint, model, status, text, error, prompt_tokens, completion_tokens, cost, reasoning, left_out"
        try:
            self._db.execute(f"INSERT OR IGNORE INTO replies ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        except sqlite3.Error as error:
            raise StoreError(
                f"llm.sqlite: a reply could not be kept ({error}); make room and run the same command again"
            ) from None

    def take(self, path: str | os.PathLike[str]) -> None:
        """Take in the replies of another file; what is kept already stands. StoreError where it is none of ours."""
        names = ", ".join(COLUMNS)
        Replies.open(path).close()  # adds what an old file lacks
        try:
            self._db.execute("ATTACH ? AS other", (os.fspath(path),))
            self._db.execute(f"INSERT OR IGNORE INTO replies ({names}) SELECT {names} FROM other.replies")
            self._db.execute("DETACH other")
        except sqlite3.Error as error:
            raise StoreError(f"{path}: its replies could not be taken in ({error})") from None

    def secret(self) -> bytes:
        """32 random bytes, made once and kept: marks made with them cannot be guessed by a transcript."""
        self._db.execute("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (secrets.token_bytes(32),))
        value: bytes = self._db.execute("SELECT value FROM meta WHERE name = 'secret'").fetchone()[0]
        return value

    def use_secret(self, secret: bytes) -> None:
        """Take another's secret: with it equal prompts have equal keys."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('secret', ?)", (secret,))

    def rows(self, keys: Iterable[str]) -> list[tuple[Any, ...]]:
        """The kept replies of these keys, as `COLUMNS`."""
        sql = f"SELECT {', '.join(COLUMNS)} FROM replies WHERE key = ?"
        found = (self._db.execute(sql, (key,)).fetchone() for key in sorted(keys))
        return [row for row in found if row is not None]

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Take in rows of `COLUMNS`; what is kept already stands."""
        marks = ", ".join("?" * len(COLUMNS))
        self._db.execute("BEGIN")
        self._db.executemany(f"INSERT OR IGNORE INTO replies ({', '.join(COLUMNS)}) VALUES ({marks})", rows)
        self._db.execute("COMMIT")

    # ---- batches that were sent and are not collected ----

    def submit(self, batch: str, keys: Iterable[str], endpoint: str, model: str) -> None:
        """Remember a batch and the requests in it."""
        self._db.execute("BEGIN")
        self._db.execute("INSERT OR REPLACE INTO batches (id, endpoint, model) VALUES (?, ?, ?)", (batch, endpoint, model))
        self._db.executemany("INSERT OR REPLACE INTO batch_keys VALUES (?, ?)", ((key, batch) for key in keys))
        self._db.execute("COMMIT")

    def submitted(self) -> dict[str, int]:
        """Batches that are out, with their number of requests."""
        sql = "SELECT b.id, count(k.key) FROM batches b LEFT JOIN batch_keys k ON k.batch = b.id WHERE b.open GROUP BY b.id ORDER BY b.rowid"
        return dict(self._db.execute(sql).fetchall())

    def waiting(self, key: str) -> bool:
        """Whether a request is in a batch that is out."""
        return self._db.execute("SELECT 1 FROM batch_keys WHERE key = ?", (key,)).fetchone() is not None

    def done(self, batch: str) -> None:
        """A batch came back; what it left unanswered may be asked again."""
        self._db.execute("BEGIN")
        self._db.execute("UPDATE batches SET open = 0 WHERE id = ?", (batch,))
        self._db.execute("DELETE FROM batch_keys WHERE batch = ?", (batch,))
        self._db.execute("COMMIT")
