"""Who does the work: an engine takes shards one by one, runs the worker on each, and gives back what came of it.

The worker is the same in every engine (`worker.scan_shard`). A new engine is one new file here with a class that has `run`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

Job = TypeVar("Job")
Made = TypeVar("Made")


class Died(NamedTuple):
    """The worker of a shard was killed (out of memory, a crash) each time that it was tried, alone too."""

    why: str


class Engine(Protocol):
    """Runs a picklable function on jobs, several at once; the order of completion does not matter."""

    def run(self, work: Callable[[Job], Made], jobs: Iterator[Job]) -> Iterator[tuple[Job, Made | Died]]:
        """Each job with its result; jobs are taken as there is room for them. What `work` raises ends the run.

        `jobs` is asked again after each result, so a result may lead to more jobs. Closing the iterator (an interrupt) stops
        what is running.
        """

    def share(self, kind: Callable[..., Any], *given: Any) -> Any:
        """One object `kind(*given)` for all workers of this run, whose async methods each of them can await.

        None where the run is on one machine: its workers need no such thing.
        """

    def stop(self) -> None:
        """Let go of what the engine holds."""
