"""The judge on the workers of an engine: shards to judge are jobs as shards to scan are, and take turns with them.

Each worker judges a shard as one machine would (`Stage`); room at the servers, the budget and what was learnt of them are one
for all workers (`llm.limits.Shared`), and replies travel with their shard (`carried`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

from auditor.judge import Setup
from auditor.judging import Judging, Stage, carried
from auditor.judging.options import JudgeOptions
from auditor.judging.shards import cells, stale
from auditor.llm import LLM, Limits, Stats
from auditor.plan import Options
from auditor.replies import Replies
from auditor.rubric import Rubric, load_all, path_of
from auditor.store import Audit, Commit

Job = TypeVar("Job")


class Shard(str):
    """The name of a shard to judge."""

    __slots__ = ()


@dataclass(frozen=True)
class Order:
    """What a worker needs to judge shards. The setup holds keys: it goes to workers, and nowhere else."""

    options: Options
    judging: JudgeOptions
    setup: Setup
    limits: Limits


class Done(NamedTuple):
    """What came of a shard: episodes, calls, why the server could not be used, and what is to be said."""

    counts: Counter[str]
    stats: Stats
    word: str | None
    said: tuple[str, ...]


@cache
def _audit(path: str) -> Audit:
    """One for all jobs of a worker: it remembers where in the packs commits stand."""
    return Audit(path)


def judge(shard: str, order: Order) -> Done:
    """Judge one shard and commit it. Runs in a worker."""
    audit = _audit(order.options.output)
    said: list[str] = []
    # An attempt that takes the place of a dead one says so: what that held is free again.
    holder = f"{shard}/{uuid4().hex}"

    def door(replies: Replies) -> LLM:
        return LLM(replies, max_cost=order.judging.max_cost, say=said.append, limits=order.limits, holder=holder)

    kept = carried.place(audit, shard)
    stage = Stage(
        audit, order.options, Judging(order.judging, door), load_all(path_of(order.options.rubrics)), setup=order.setup, kept=kept
    )
    try:
        stage.put(shard)
        stage.finish()
    finally:
        stage.cancel()
    done = Done(stage.counts, stage.stats or Stats(), stage.word, tuple(said))
    for end in ("", "-wal", "-shm"):
        Path(f"{kept}{end}").unlink(missing_ok=True)
    return done


class Afar:
    """The driver's side: which shards are to be judged, and what came of them."""

    def __init__(self, audit: Audit, options: Options, judging: Judging, rubrics: Sequence[Rubric], limits: Limits) -> None:
        self._audit, self._rubrics = audit, rubrics
        self.order = Order(options, judging.options, judging.options.setup(), limits)
        self.counts: Counter[str] = Counter()
        self.stats = Stats()
        self.word: str | None = None
        self._say = judging.say
        self._cells = list(cells(self.order.setup, judging.options, options, rubrics))
        self._waiting: deque[Shard] = deque()
        self._seen: set[str] = set()
        self._said: set[str] = set()
        with closing(Replies.open(audit.disk.scratch() / "llm.sqlite")) as replies:
            carried.secret(audit, replies)  # before any worker, so that there is one

    def put(self, shard: str, episodes: int) -> None:
        """Judge a shard that has just been scanned."""
        self._seen.add(shard)
        self.counts["episodes"] += episodes
        self._waiting.append(Shard(shard))

    def again(self, commit: Commit) -> None:
        """Judge a shard that was done before, where something of it is missing."""
        if commit.shard in self._seen:
            return
        episodes = commit.counts.get("episodes", 0)
        if any(stale(commit, cell) for cell in self._cells):
            self.put(commit.shard, episodes)
        else:
            self._seen.add(commit.shard)
            self.counts.update({"episodes": episodes, "judged": episodes})

    def turns(self, tasks: Iterator[Job]) -> Iterator[Job | Shard]:
        """Shards to scan and shards to judge, by turns."""
        return _Turns(tasks, self._waiting)

    def give_up(self, shard: str, why: str) -> None:
        """A shard that kills its workers: its verdicts are errors, which the next run tries again."""
        o = self.order
        stage = Stage(self._audit, o.options, Judging(o.judging), self._rubrics, setup=o.setup, lost=f"its worker died: {why}")
        try:
            stage.put(shard)
            stage.finish()
        finally:
            stage.cancel()
        self.counts["judged"] += stage.counts["episodes"]

    def take(self, done: Done) -> None:
        """What came of a shard."""
        self.counts["judged"] += done.counts["judged"]
        self.stats.add(done.stats)
        if done.stats.sent:  # the last one that asked knows best: what failed at first may have gone well since
            self.word = done.word
        for line in done.said:
            if line not in self._said:
                self._said.add(line)
                self._say(line)


class _Turns(Iterator[Any]):
    """By turns from two sources; where both are empty there may be more later, as engines know."""

    def __init__(self, first: Iterator[Any], second: deque[Any]) -> None:
        self._first, self._second = first, second
        self._turn = False

    def __next__(self) -> Any:
        self._turn = not self._turn
        if (self._turn or not self._second) and (job := next(self._first, None)) is not None:
            return job
        if self._second:
            return self._second.popleft()
        raise StopIteration
