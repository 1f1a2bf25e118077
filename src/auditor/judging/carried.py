"""Replies that travel with their shard: an audit that several machines judge holds what they paid for, one part a shard.

The part is written anew every few seconds while a shard is judged, so that the loss of a machine costs no more than these.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from pyarrow.lib import ArrowInvalid

from auditor import tables
from auditor.errors import StoreError
from auditor.replies import COLUMNS, USED, Replies
from auditor.store import Audit

_EVERY = 5.0
_SECRET = "replies/secret"  # noqa: S105  # a name


def is_so(audit: Audit) -> bool:
    """Whether an audit is one that other machines may go on with: on object storage, or judged by several before."""
    return audit.disk.filesystem is not None or audit.disk.exists(_SECRET)


def name_of(shard: str) -> str:
    """The part that holds the replies of a shard."""
    return f"replies/{shard}.parquet"


def hand_on(audit: Audit, target: Audit) -> None:
    """Give a copy the secret, without which its replies are of no use. It keeps the one that it has."""
    if audit.disk.exists(_SECRET) and not target.disk.exists(_SECRET):
        target.write(_SECRET, audit.disk.read(_SECRET))


def secret(audit: Audit, replies: Replies) -> bytes:
    """The secret of an audit, that of `replies` where it has none yet: equal prompts have equal keys on every machine."""
    if not audit.disk.exists(_SECRET):
        audit.write(_SECRET, replies.secret())
    replies.use_secret(audit.disk.read(_SECRET))
    return replies.secret()


class Carrier:
    """Brings the replies of one shard along, and saves what comes to them until `end`."""

    def __init__(self, audit: Audit, shard: str, replies: Replies) -> None:
        self._audit, self._name, self._replies = audit, name_of(shard), replies
        self._keys: set[str] = set()
        self._saved = 0
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def begin(self, tasks: asyncio.TaskGroup) -> None:
        """From now on, what is asked in this context belongs to the shard."""
        rows = await asyncio.to_thread(self._load)
        self._replies.add([tuple(row[name] for name in COLUMNS) for row in rows])
        self._keys.update(row["key"] for row in rows)
        self._saved = len(rows)
        USED.set(self._keys)
        self._task = tasks.create_task(self._go())

    async def end(self) -> None:
        """Save the rest."""
        self._over.set()
        if self._task is not None:
            await self._task
        await self._save()

    async def _go(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), _EVERY)
            await self._save()

    async def _save(self) -> None:
        rows = self._replies.rows(self._keys)
        if len(rows) > self._saved:
            await asyncio.to_thread(self._write, rows)
            self._saved = len(rows)

    def _load(self) -> list[dict[str, Any]]:
        if not self._audit.disk.exists(self._name):
            return []
        try:
            rows: list[dict[str, Any]] = self._audit.table(self._name, None).to_pylist()
        except ArrowInvalid as error:
            told = " ".join(str(error).split())[:120]
            raise StoreError(
                f"{self._audit.disk.at(self._name)}: cannot be read ({told}); delete it, and its calls are made again"
            ) from None
        return rows

    def _write(self, rows: list[tuple[Any, ...]]) -> None:
        with self._audit.part(self._name) as path:
            part = tables.Rows(path, tables.REPLIES)
            for row in rows:
                part.add(row)
            part.close()


def place(audit: Audit, shard: str) -> Path:
    """Where a worker keeps a shard's replies while it judges: on its own machine, so that another try there finds them."""
    folder = audit.disk.cache() / "replies"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{shard}.sqlite"
