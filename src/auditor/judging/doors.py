"""Doors that send nothing: one counts what would be sent, one writes it down for a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from auditor.llm import Endpoint, estimate, request_body
from auditor.replies import Replies, Reply, key_of

WAITING = "waiting for a batch"


class Counting:
    """Counts calls, tokens and cost of what no reply is kept of (`--dry-run`)."""

    def __init__(self, replies: Replies) -> None:
        self.replies = replies
        self.counts: Counter[str] = Counter()
        self.cost = 0.0
        self.unpriced: set[str] = set()
        self._seen: set[str] = set()

    def told(self) -> dict[str, Any]:
        """calls, tokens (in), kept, and cost in USD: None where a price is not known."""
        known = {name: self.counts[name] for name in ("calls", "tokens", "kept")}
        return {**known, "cost": None if self.unpriced else self.cost, "unpriced": sorted(self.unpriced)}

    async def ask(
        self, endpoint: Endpoint, messages: list[dict[str, Any]], schema: dict[str, Any] | None, *, sample: int
    ) -> Reply:
        """A kept reply, else `skipped`, counted once."""
        key = key_of(endpoint.base_url, endpoint.model, endpoint.params, messages, schema, sample)
        kept = self.replies.get(key)
        if kept is not None:
            self.counts["kept"] += 1
            return kept
        if key not in self._seen:
            self._seen.add(key)
            tokens, cost = estimate(endpoint, messages, schema)
            self.counts.update({"calls": 1, "tokens": tokens})
            if cost is None:
                self.unpriced.add(endpoint.model)
            else:
                self.cost += cost
        return Reply(status="skipped", error=WAITING)


def counting() -> tuple[list[Counting], Callable[[Replies], Counting]]:
    """What opens a counting door, and the list in which it will stand."""
    opened: list[Counting] = []

    def door(replies: Replies) -> Counting:
        opened.append(Counting(replies))
        return opened[-1]

    return opened, door


class Recording:
    """Hands on what no reply is kept of: (key, endpoint, body), each once."""

    def __init__(self, replies: Replies, write: Callable[[str, Endpoint, dict[str, Any]], None] | None) -> None:
        self.replies, self.write = replies, write
        self.missing = 0
        self._seen: set[str] = set()

    async def ask(
        self, endpoint: Endpoint, messages: list[dict[str, Any]], schema: dict[str, Any] | None, *, sample: int
    ) -> Reply:
        """A kept reply, else `skipped` and the request written."""
        key = key_of(endpoint.base_url, endpoint.model, endpoint.params, messages, schema, sample)
        kept = self.replies.get(key)
        if kept is not None:
            return kept
        if key not in self._seen:
            self._seen.add(key)
            self.missing += 1
            if self.write is not None and not self.replies.waiting(key):
                self.write(key, endpoint, request_body(endpoint, messages, schema))
        return Reply(status="skipped", error=WAITING)
