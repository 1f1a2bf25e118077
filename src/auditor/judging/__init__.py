"""The judging of an audit: shard by shard, as the scan commits them, in a thread of its own with one event loop.

Episodes are read again from their sources, a bounded number at a time, so that memory stays flat however many wait.
A shard's judged part is written and committed when its last verdict is there; replies are kept as they arrive, so a
kill costs nothing that was paid for.
"""

from __future__ import annotations

import asyncio
import hashlib
import queue
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor import plan, store, tables
from auditor.join import Join
from auditor.judge import Door, Judge, Setup, read
from auditor.judging import carried
from auditor.judging.carried import Carrier
from auditor.judging.options import JudgeOptions
from auditor.judging.shards import Cell, candidates, cells, episodes, is_open, stale
from auditor.llm import LLM, Stats
from auditor.plan import Options, gone
from auditor.readers import mapping as mappings
from auditor.replies import Replies
from auditor.rubric import JUDGE_VERSION, Rubric
from auditor.sample import Draw, draw
from auditor.signals import Scanner
from auditor.store import Audit, Commit, Judged
from auditor.transcript import Transcript
from auditor.verdict import Status, Verdict

__all__ = ["JudgeOptions", "Judging", "Stage", "remember", "usage"]

_WAITING_EPISODES = 16
"""Episodes read ahead of the calls in flight."""


def remember(audit: Audit, judging: JudgeOptions, stats: Stats | None) -> None:
    """Write into `audit.json` how the judge was set up, and what its run sent and cost."""
    told = judging.remembered() | ({"usage": usage(stats)} if stats is not None else {})
    audit.write_about(audit.about().model_copy(update={"judge": told}))


def usage(s: Stats) -> dict[str, Any]:
    """What a run sent, what came back by kind, tokens, and cost in USD."""
    return {
        "sent": s.sent, "kept": s.cached, "outcomes": dict(s.outcomes), "prompt_tokens": s.prompt_tokens,
        "completion_tokens": s.completion_tokens, "cost": s.cost, "unpriced": s.unpriced,
    }  # fmt: skip


@dataclass(frozen=True)
class Judging:
    """What `pipeline.scan` needs to judge: the options, where calls go (`open_door`, default: the server), and whether
    verdicts are kept (`dry`: they are not). `say` is told, once each, what a server cannot do.
    """

    options: JudgeOptions
    open_door: Callable[[Replies], Any] | None = None
    dry: bool = False
    say: Callable[[str], None] = lambda _: None

    def door(self, replies: Replies) -> Any:
        """The door, opened."""
        return self.open_door(replies) if self.open_door else LLM(replies, max_cost=self.options.max_cost, say=self.say)

    def start(self, audit: Audit, options: Options, rubrics: Sequence[Rubric]) -> Stage:
        """A stage at work."""
        return Stage(audit, options, self, rubrics)


class Stage:
    """The judge at work behind a scan. `put` names a shard that is committed; `finish` waits for all of them."""

    def __init__(
        self,
        audit: Audit,
        options: Options,
        judging: Judging,
        rubrics: Sequence[Rubric],
        *,
        setup: Setup | None = None,
        kept: Path | None = None,
        lost: str | None = None,
    ) -> None:
        """`setup` is that of the options; `kept` is where a worker of many keeps replies, the audit's own file by default.

        `lost` is why nothing can be judged here: all verdicts are errors then.
        """
        self._lost_why = lost
        self.audit, self.judging, self.rubrics, self.dry = audit, judging.options, tuple(rubrics), judging.dry
        self.setup = setup or self.judging.setup()
        self.counts: Counter[str] = Counter()
        self._cells = list(cells(self.setup, self.judging, options, rubrics))
        self._kept = kept or audit.disk.scratch() / "llm.sqlite"
        self._carried = kept is not None or carried.is_so(audit)
        self.door: Any = None
        self._open_door = judging.door
        self._scanner = Scanner(rubrics)
        self._mapping = mappings.load(options.mapping) if options.mapping else None
        self._join = Join.load(options.join) if options.join else None
        self._shards: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._seen: set[str] = set()
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="judge")
        self._thread.start()

    # ---- from the scan's thread ----

    def put(self, shard: str, _: int = 0) -> None:
        """Judge a shard, once."""
        if shard not in self._seen:
            self._seen.add(shard)
            self._shards.put(shard)

    def again(self, commit: Commit) -> None:
        """Judge a shard that was done before, where something of it is missing."""
        self.put(commit.shard)

    def finish(self, watch: Callable[[], None] = lambda: None) -> None:
        """Wait until every shard is judged and committed; raises what went wrong."""
        self._shards.put(None)
        while self._thread.is_alive():
            self._thread.join(0.2)
            watch()
        if self._error is not None:
            raise self._error

    @property
    def stats(self) -> Stats | None:
        """What was sent, None where nothing is."""
        return self.door.stats if isinstance(self.door, LLM) else None

    @property
    def word(self) -> str | None:
        """Why the server could not be used, and what to set; None where it could."""
        return self.door.verdict_on_run() if isinstance(self.door, LLM) else None

    def cancel(self) -> None:
        """Stop at once where it still works; replies that arrived are kept."""
        self._shards.put(None)
        if self._loop is not None and self._main is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join()

    # ---- in its own ----

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except asyncio.CancelledError:
            return
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits, which raises it
            self._error = error

    async def _serve(self) -> None:
        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        replies = Replies.open(self._kept)
        try:
            secret = carried.secret(self.audit, replies) if self._carried else replies.secret()
            async with _entered(self._open_door(replies)) as door, asyncio.TaskGroup() as tasks:
                self.door = door
                judge = Judge(door, self.setup, secret)
                room = asyncio.Semaphore(sum(e.concurrency for e in self.setup.judges) + _WAITING_EPISODES)
                while (shard := await asyncio.to_thread(self._shards.get)) is not None:
                    await self._shard(shard, judge, room, tasks, replies)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            replies.close()

    async def _shard(self, shard: str, judge: Judge, room: asyncio.Semaphore, tasks: asyncio.TaskGroup, replies: Replies) -> None:
        commit = self.audit.load(shard)
        cells = [cell for cell in self._cells if stale(commit, cell)]
        if not cells:
            self.counts["episodes"] += commit.counts.get("episodes", 0)
            self.counts["judged"] += commit.counts.get("episodes", 0)
            return
        self.counts["episodes"] += commit.counts.get("episodes", 0)
        keys = {(c.rubric.id, c.view, c.detector) for c in cells}
        rubrics = [r for r in self.rubrics if any(c.rubric is r for c in cells)]
        rows: list[tuple[int, str | None, list[Verdict]]] = []
        if why := self._lost_why or gone(commit):
            rows = [(row, model, self._lost(name, cells, why)) for row, name, model in episodes(self.audit, commit)]
            await self._done(shard, cells, rows)
            return
        flagged = candidates(self.audit, commit)
        carrier = Carrier(self.audit, shard, replies) if self._carried else None
        if carrier is not None:
            await carrier.begin(tasks)
        jobs: list[asyncio.Task[None]] = []

        async def one(row: int, transcript: Transcript) -> None:
            try:
                wanted = {r.id: self._draw(transcript, r, row, flagged) for r in rubrics}
                episode = read(transcript, self._scanner.questions(transcript))
                found = await judge.verdicts(episode, wanted, rubrics)
                rows.append((row, transcript.model, [v for v in found if (v.rubric, v.view, v.detector) in keys]))
                self.counts["judged"] += 1
            finally:
                room.release()

        for row, transcript in enumerate(plan.transcripts_in(commit, self._mapping, self._join)):
            await room.acquire()
            jobs.append(tasks.create_task(one(row, transcript)))
            await asyncio.sleep(0)  # or the calls would wait until all of the room is read

        async def close() -> None:
            await asyncio.gather(*jobs)
            if carrier is not None:
                await carrier.end()
            await self._done(shard, cells, rows)

        tasks.create_task(close())

    def _draw(self, transcript: Transcript, rubric: Rubric, row: int, flagged: set[tuple[int, str]]) -> Draw:
        j = self.judging
        return draw(
            transcript.id, candidate=(row, rubric.id) in flagged, judge_on=j.judge_on, sample_rest=j.sample_rest, seed=j.seed
        )

    def _lost(self, name: str, cells: Sequence[Cell], why: str) -> list[Verdict]:
        return [
            Verdict(
                episode_id=name,
                rubric=c.rubric.id,
                rubric_hash=c.rubric.judge_hash,
                detector=c.detector,
                detector_version=JUDGE_VERSION,
                view=c.view,
                tier="judged",
                status=Status.ERROR,
                flagged=None,
                error=why,
                weight=0.0,
            )
            for c in cells
        ]

    async def _done(self, shard: str, cells: Sequence[Cell], rows: list[tuple[int, str | None, list[Verdict]]]) -> None:
        """Write the shard's part and commit it."""
        if self.dry:
            return
        turn = hashlib.sha256(repr(sorted(c[1:] + (c.rubric.id,) for c in cells)).encode()).hexdigest()[:8]
        name = f"verdicts/{shard}-j{turn}.parquet"
        rows.sort(key=lambda row: row[0])
        with self.audit.part(name) as path:
            part = tables.Rows(path, tables.VERDICTS)
            for row, model, verdicts in rows:
                for verdict in verdicts:
                    part.add(tables.verdict_row(verdict, model, shard, row))
            part.close()
        waiting = Counter((v.rubric, v.view, v.detector) for _, _, vs in rows for v in vs if is_open(v))
        new = {
            (c.rubric.id, c.view, c.detector): Judged(
                rubric=c.rubric.id,
                view=c.view,
                detector=c.detector,
                part=name,
                hash=c.hash,
                open=waiting[c.rubric.id, c.view, c.detector],
            )
            for c in cells
        }
        before = self.audit.load(shard)
        kept = [j for j in before.judged if (j.rubric, j.view, j.detector) not in new]
        after = before.model_copy(update={"judged": [*kept, *new.values()]})
        self.audit.commit(after)
        self.audit.sweep(store.parts_of(before) - store.parts_of(after))


@asynccontextmanager
async def _entered(door: Door) -> AsyncIterator[Door]:
    """A door, closed behind us where it holds connections."""
    if isinstance(door, LLM):
        async with door:
            yield door
    else:
        yield door
