"""What all doors of a run have in common: room at each server, the budget, and what was learnt of a server.

In one process it is an object; on a cluster the same class is an actor that every worker asks (`engines/ray.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

_GROWTH = 4.0
_ALONE = 5.0
_SILENT = 12.0
"""Seconds without a beat after which a door is taken for dead (they beat every two)."""

IN_A_ROW = 20
NEVER_REACHED = 3


class Useless(NamedTuple):
    """A failure that no retry mends: its kind, whether nothing listens there, and what to say when the server is given up."""

    kind: str
    lost: bool
    words: str


News = Literal["faster", "slower", "learnt", "none"]
"""What a call taught of the server's room: a success, a 429, anything else that answers, nothing."""


@dataclass
class Known:
    """What was learnt of one server in this run; `stopped` says why it is asked no more."""

    form: int = 0
    dropped: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)
    succeeded: bool = False
    stopped: str | None = None

    def join(self, other: Known) -> None:
        """Add what another door has learnt."""
        self.form = max(self.form, other.form)
        self.dropped |= other.dropped
        self.renamed |= other.renamed
        self.succeeded = self.succeeded or other.succeeded
        self.stopped = self.stopped or other.stopped


class Limits(Protocol):
    """As `Shared`, near or far. `holder` is whoever asks: one attempt at one shard, or "" for a run in one process."""

    async def beat(self, holder: str) -> None:
        """A door is open: `shard/attempt`. An attempt at its shard before it is dead, and so is one that was not heard of for long.

        LookupError for one that another has taken the place of.
        """

    async def enter(self, holder: str, server: str, most: int) -> Known | None:
        """Wait for room at a server that takes `most` calls at once; None where the door was taken for dead meanwhile."""

    async def leave(
        self, holder: str, server: str, news: News, age: float, known: Known, useless: Useless | None = None
    ) -> Known:
        """Make room; the call was sent `age` seconds ago, and this is what is known now. Returns what all know."""

    async def reserve(self, holder: str, cost: float) -> bool:
        """Set USD aside for a call; False where the budget does not hold it."""

    async def settle(self, holder: str, reserved: float, cost: float) -> None:
        """What was set aside has cost so much."""


class Shared:
    """Room, budget (`max_cost`: USD, None for no end) and knowledge of one run."""

    def __init__(self, max_cost: float | None = None) -> None:
        self.max_cost, self.spent = max_cost, 0.0
        self.gates: dict[str, Gate] = {}
        self._known: defaultdict[str, Known] = defaultdict(Known)
        self._held: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._reserved: defaultdict[str, float] = defaultdict(float)
        self._current: dict[str, str] = {}
        self._beats: dict[str, float] = {}
        self._replaced: set[str] = set()
        self._row: defaultdict[str, tuple[str, int]] = defaultdict(lambda: ("", 0))

    async def beat(self, holder: str) -> None:
        """See `Limits`. The room of a dead attempt is free again; what it had set aside may have been paid."""
        if holder in self._replaced:
            raise LookupError(f"{holder}: another attempt has its place")
        now, shard = time.monotonic(), holder.partition("/")[0]
        before = self._current.get(shard, holder)
        self._current[shard] = holder
        self._beats[holder] = now
        if before != holder:
            self._replaced.add(before)
            self._free(before)
        for other in [h for h, then in self._beats.items() if now - then > _SILENT]:
            self._free(other)

    def _free(self, holder: str) -> None:
        self._beats.pop(holder, None)
        self.spent += self._reserved.pop(holder, 0.0)
        for server, number in self._held.pop(holder, Counter()).items():
            for _ in range(number):
                self.gates[server].leave()

    async def enter(self, holder: str, server: str, most: int) -> Known | None:
        """See `Limits`."""
        gate = self.gates.setdefault(server, Gate(most))
        await gate.enter()
        if holder and holder not in self._beats:
            gate.leave()
            return None
        self._held[holder][server] += 1
        return self._known[server]

    async def leave(
        self, holder: str, server: str, news: News, age: float, known: Known, useless: Useless | None = None
    ) -> Known:
        """See `Limits`."""
        gate, here = self.gates[server], self._known[server]
        here.join(known)
        if useless is not None:
            self._count(server, useless)
        if news == "slower":
            gate.slower(time.monotonic() - age)
        elif news == "faster":
            self._row[server] = ("", 0)
            gate.faster()
        elif news == "learnt":
            gate.learnt()
        if self._held[holder][server] > 0:
            self._held[holder][server] -= 1
            gate.leave()
        return here

    def _count(self, server: str, useless: Useless) -> None:
        """Failures of one kind in a row, of all doors; after 20 (or 3, where nothing has ever listened) the server is given up."""
        here = self._known[server]
        if useless.lost and here.succeeded:
            return  # another door has reached it meanwhile
        kind, number = self._row[server]
        self._row[server] = (useless.kind, number + 1 if kind == useless.kind else 1)
        if self._row[server][1] >= (NEVER_REACHED if useless.lost else IN_A_ROW):
            here.stopped = useless.words

    async def reserve(self, holder: str, cost: float) -> bool:
        """See `Limits`."""
        if self.max_cost is not None and self.spent + sum(self._reserved.values()) + cost > self.max_cost:
            return False
        self._reserved[holder] += cost
        return True

    async def settle(self, holder: str, reserved: float, cost: float) -> None:
        """See `Limits`."""
        held = self._reserved[holder] + 1e-9 >= reserved
        self._reserved[holder] -= reserved if held else 0.0
        self.spent += cost if held else cost - reserved  # it was taken for spent when the door was taken for dead


class Gate:
    """At most `limit` holders at once. The first goes alone (for 5 s at most), so that refusals are learnt from one call.

    Halved when the server says 429, grown back by successes.
    """

    def __init__(self, limit: int) -> None:
        self.most, self.limit = limit, float(limit)
        self.inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._halved = 0.0
        self._first = True
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self) -> None:
        """Wait for room."""
        if self._room() and not self._waiting:
            self._take()
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.leave()  # the room was given to us at the moment we were cancelled
            else:
                self._waiting.remove(future)
            raise

    def slower(self, sent: float) -> None:
        """429: halve, once for all calls that were sent before the last halving (`sent`: time.monotonic)."""
        self.learnt()
        if sent > self._halved:
            self._halved = time.monotonic()
            self.limit = max(1.0, self.limit / 2)

    def faster(self) -> None:
        """A success: four more a round trip, up to the limit that was set."""
        self.learnt()
        self.limit = min(float(self.most), self.limit + _GROWTH / self.limit)
        self._wake()

    def learnt(self) -> None:
        """The first call is answered: the others may go."""
        if self._first:
            self._first = False
            if self._timer is not None:
                self._timer.cancel()
            self._wake()

    def leave(self) -> None:
        """Make room."""
        self.inside -= 1
        self._wake()

    def _room(self) -> bool:
        return self.inside < (1 if self._first else int(self.limit))

    def _take(self) -> None:
        self.inside += 1
        if self._first and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_ALONE, self.learnt)

    def _wake(self) -> None:
        while self._waiting and self._room():
            future = self._waiting.popleft()
            if not future.done():
                self._take()
                future.set_result(None)
