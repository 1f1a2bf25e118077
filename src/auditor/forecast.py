"""What a scan would take, before it runs: shards, episodes, calls, tokens, price and time, from a sample of its shards.

Shards are drawn at random and scanned into a folder that is thrown away, with a judge that only counts; all else is in
proportion to bytes. Nothing is sent, and nothing is written to the audit.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from auditor import plan
from auditor.judging import JudgeOptions, Judging
from auditor.judging.doors import counting
from auditor.pipeline import about_of
from auditor.plan import Options, Task
from auditor.readers import files
from auditor.readers import mapping as mappings
from auditor.rubric import Rubric, load_all, path_of
from auditor.store import Audit
from auditor.worker import scan_shard


class Forecast(NamedTuple):
    """All of it, in numbers; `sampled` of `bytes` were read. Calls, tokens (in) and cost (USD) are None without a judge, cost also without a price."""

    files: int
    shards: int
    bytes: int
    sampled: int
    sampled_shards: int
    episodes: float
    rejects: float
    seconds: float
    calls: float | None = None
    tokens: float | None = None
    cost: float | None = None

    def reading(self, workers: int) -> float:
        """Seconds of `workers` processes to read it all and run the signals, none faster than the largest shard lets it."""
        return self.seconds / max(1, min(workers, self.shards))

    def judging(self, *, latency: float, at_once: int, calls_a_minute: float | None, tokens_a_minute: float | None) -> float:
        """Seconds that the calls take: by latency and calls at once, or by what the server allows a minute, whichever is more."""
        calls, tokens = self.calls or 0.0, self.tokens or 0.0
        limits = [calls * latency / at_once]
        limits += [calls / calls_a_minute * 60] if calls_a_minute else []
        limits += [tokens / tokens_a_minute * 60] if tokens_a_minute else []
        return max(limits)


def forecast(
    options: Options,
    judge: JudgeOptions | None = None,
    *,
    seconds: float = 20.0,
    seed: int = 0,
    report: Callable[[Counter[str]], None] = lambda _: None,
) -> Forecast:
    """Read shards for about `seconds`, one at least. AuditorError for what a user can mend."""
    rubrics = load_all(path_of(options.rubrics))
    mapping = mappings.load(options.mapping) if options.mapping else None
    found = list(files.find(options.inputs))
    tasks = list(plan.pack(plan.units_of(found, mapping), tuple(r.id for r in rubrics)))
    # Never the order of the files: their first shards are small, and of one kind.
    drawn = random.Random(seed).sample(tasks, len(tasks))  # noqa: S311  # no secret
    counts: Counter[str] = Counter(todo=len(tasks))
    with tempfile.TemporaryDirectory(prefix="auditor-") as folder:
        here = replace(options.everywhere(), output=folder)
        audit = Audit.create(folder)
        try:
            audit.write_about(about_of(audit, here, rubrics))
            start = time.monotonic()
            done: list[Task] = []
            for task in drawn:
                counts.update(scan_shard(task, here))
                done.append(task)
                counts["shards"] += 1
                report(counts)
                if time.monotonic() - start > seconds:
                    break
            took = time.monotonic() - start
            told = _counted(audit, here, judge, rubrics, done) if judge else None
        finally:
            audit.close()
    total, sampled = sum(map(plan.weight, tasks)), sum(map(plan.weight, done))
    times = total / sampled if sampled else 1.0
    made = Forecast(
        len(found), len(tasks), total, sampled, len(done), counts["episodes"] * times, counts["rejects"] * times, took * times
    )
    if told is None:
        return made
    cost = None if told["cost"] is None else told["cost"] * times
    return made._replace(calls=told["calls"] * times, tokens=told["tokens"] * times, cost=cost)


def _counted(audit: Audit, options: Options, judge: JudgeOptions, rubrics: Sequence[Rubric], done: list[Task]) -> dict[str, Any]:
    """What a judge would be sent of the sampled shards."""
    doors, door = counting()
    stage = Judging(judge, open_door=door, dry=True).start(audit, options, rubrics)
    try:
        for task in done:
            stage.put(task.shard)
        stage.finish()
    finally:
        stage.cancel()
    return doors[0].told()
