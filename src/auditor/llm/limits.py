"""How many calls fly at once: halved when the server says 429, grown back by successes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from types import TracebackType

_GROWTH = 4.0
_ALONE = 5.0


class Gate:
    """At most `limit` holders at once. The first goes alone (for 5 s at most), so that refusals are learnt from one call."""

    def __init__(self, limit: int) -> None:
        self.most, self.limit = limit, float(limit)
        self.inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._halved = 0.0
        self._first = True
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
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
                self._leave()  # the room was given to us at the moment we were cancelled
            else:
                self._waiting.remove(future)
            raise

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Make room."""
        self._leave()

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

    def _room(self) -> bool:
        return self.inside < (1 if self._first else int(self.limit))

    def _take(self) -> None:
        self.inside += 1
        if self._first and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_ALONE, self.learnt)

    def _leave(self) -> None:
        self.inside -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._room():
            future = self._waiting.popleft()
            if not future.done():
                self._take()
                future.set_result(None)
