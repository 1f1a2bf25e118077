"""Asking the audited models about an audit: choose, freeze the facts, ask, code, commit; shard by shard, and taken up again.

The facts of every episode are written and committed before the first question; questions are asked from what was written.
Answers are kept as they arrive (`llm.sqlite`), so that a kill costs at most the calls in flight.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from typing import Any

import duckdb
import orjson

from auditor.ask import VERSION
from auditor.ask import questions as ladders
from auditor.ask.coding import Coder, JudgeCoder, SignalCoder
from auditor.ask.facts import Job
from auditor.ask.ladder import Asked, Ladder, Player
from auditor.ask.questions import Rung
from auditor.asking import choose, frozen, models
from auditor.asking.choose import Pools
from auditor.asking.frozen import Made
from auditor.asking.jobs import Chooser
from auditor.asking.options import AskOptions, Progress
from auditor.errors import AuditorError, ServerError
from auditor.judging import usage
from auditor.judging.doors import Counting
from auditor.llm import LLM, Endpoint
from auditor.llm.endpoints import public
from auditor.plan import Options, gone, scan_options
from auditor.query import connect
from auditor.rates import UNKNOWN_MODEL
from auditor.replies import Replies
from auditor.rubric import load_all, path_of
from auditor.signals import Scanner
from auditor.sources import Sources
from auditor.store import Audit, Commit
from auditor.transcript import Transcript
from auditor.verdict import Status

__all__ = ["AskOptions", "Progress", "ask_models"]

_WAITING_EPISODES = 8
_NO_ENDPOINT, _NO_FACT = "no endpoint", "no fact stands before the log's own first question"
_GONE = "its source is gone or has changed, and the audit keeps no copy of it (run it from the folder of the scan)"
_FINAL = (_NO_ENDPOINT, _NO_FACT, _GONE, "the model says and does nothing")


def ask_models(
    audit: Audit, options: AskOptions, report: Callable[[Progress], None] = lambda _: None, say: Callable[[str], None] = lambda _: None,
    *, dry: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Ask the models of an audit. Returns what was done: counts, and calls, tokens, cost. `dry` sends and writes nothing.

    Run again, it does only what is missing. AuditorError for what a user can mend.
    """
    run = _Run(audit, options, report, say, dry=dry)
    return run.all()


class _Run:
    def __init__(
        self, audit: Audit, options: AskOptions, report: Callable[[Progress], None], say: Callable[[str], None], *, dry: bool
    ) -> None:
        self.options, self.say, self.dry = options, say, dry
        self.scanned: Options = scan_options(audit, audit.where)
        folder = path_of(options.rubrics or self.scanned.rubrics)
        self.rubrics = load_all(folder)
        self.questions = ladders.load(folder)
        self.scanner = Scanner(self.rubrics)
        self.rubric = next((r for r in self.rubrics if r.needs == "question"), None)
        self.rungs = self._rungs()
        self.progress = Progress()
        self._watch = report
        self.audit = audit
        self.sources = Sources(audit, self.scanned)
        self.judge: Endpoint | None = options.judge.setup().judges[0] if options.judge else None
        if self.judge is None and self.rubric is None:
            raise AuditorError("no rubric here asks about conduct, so signals cannot code an answer: give --judge MODEL")
        self.players: dict[str, Player] = {}

    def _report(self) -> None:
        self._watch(self.progress)

    def _rungs(self) -> list[Rung]:
        known = [r.id for r in self.questions.rungs]
        names = self.options.rungs or tuple(known)
        if strange := [n for n in names if n not in known]:
            raise AuditorError(f"--rungs: {strange[0]!r} is none; there are {', '.join(known)}")
        needed = {r.after for r in self.questions.rungs if r.id in names and r.after}
        return [r for r in self.questions.rungs if r.id in names or r.id in needed]

    # ---- all of it ----

    def all(self) -> dict[str, Any]:
        writer = None if self.dry else Audit.create(self.audit.where)
        try:
            with closing(connect(self.audit)) as con:
                by_shard = self._choose(con)
            if not self.dry:
                self._freeze(by_shard)
            asyncio.run(self._serve(by_shard))
        finally:
            if writer is not None:
                writer.close()
        told = self._told()
        if not self.dry:
            self.audit.write_about(self.audit.about().model_copy(update={"ask": told}))
            if isinstance(self.progress.door, LLM) and (line := self.progress.door.verdict_on_run()):
                raise ServerError(line)
        return told

    def _choose(self, con: duckdb.DuckDBPyConnection) -> dict[str, list[Job]]:
        pools = choose.pools(con, self.rubrics, self.options.tier)
        judged = any(entry.judged_clean for entry in pools.unflagged)
        drawn = choose.random_jobs(pools.unflagged, self.options.sample_rest, self.options.seed)
        if not pools.flawed and not (judged and any(True for _ in drawn)):
            if not self.dry:
                self._freeze({})
            raise AuditorError(self._nobody(pools))
        names = models_of(con)
        self.players = models.players(self.options.models, names, self.audit.where)
        self._tell_players(names, pools)
        chooser = Chooser(
            self.audit, con, self.sources, self.rubrics, self.questions, self.options, self.players, self.progress.counts, self._report
        )  # fmt: skip
        return chooser.jobs(pools, self.rungs)

    def _nobody(self, pools: Pools) -> str:
        where = self.audit.where
        if self.options.tier == "candidate":
            return f"{where}: nothing to ask: no episode is flagged, by a judge or by signals ({len(pools.clean):,} are not)"
        return f"{where}: nothing to ask: no judge or person has flagged an episode here; judge it with 'auditor scan LOGS -o {where} --judge MODEL', or ask what signals alone flag: --tier candidate"

    def _tell_players(self, names: Sequence[str], pools: Pools) -> None:
        per = Counter(entry.model for entry, _ in pools.flawed)
        for name in names:
            player = self.players.get(name)
            if player is None:
                if per[name]:
                    self.say(f"{name}: no endpoint in {self.options.models}, its {per[name]:,} episodes are skipped")
            elif not per[name]:
                self.say(f"{name}: none of its episodes is flagged; at most a random sample of them is asked")
            elif self.judge is not None and player.endpoint.model == self.judge.model:
                self.say(
                    f"{name}: the judge {self.judge.name} codes the answers of its own model; another one would be better (--judge)"
                )
        if any(tier == "candidate" for _, tier in pools.flawed):
            self.say(
                "asked of candidates too: what signals flag and nobody has judged; their rates stand apart, and a fact may be none"
            )

    def _freeze(self, by_shard: Mapping[str, Sequence[Job]]) -> None:
        """Every fact is on disk, and committed, before any question. Shards that are asked nothing any more forget their answers."""
        for commit in list(self.audit.commits()):
            if commit.shard in by_shard:
                frozen.freeze(self.audit, commit.shard, by_shard[commit.shard])
            elif commit.asking is not None:
                self.progress.counts["dropped"] += frozen.answered(self.audit, commit)
                frozen.forget(self.audit, commit)

    # ---- asking ----

    async def _serve(self, by_shard: Mapping[str, Sequence[Job]]) -> None:
        path = self.audit.disk.scratch() / "llm.sqlite"
        kept = path.exists() and (not self.dry or os.access(path, os.W_OK))
        replies = Replies.open(path if kept or not self.dry else ":memory:")
        try:
            door: Any = Counting(replies) if self.dry else LLM(replies, max_cost=self.options.max_cost, say=self.say)
            self.progress.door = door
            secret = replies.secret()
            coder, samples, seed = self._coder(door, secret), self.options.samples, self.options.seed
            ladder = Ladder(door, self.questions, coder, secret, self.rungs, samples, seed, dry=self.dry)
            at_once = sum(p.endpoint.concurrency for p in self.players.values())
            room = asyncio.Semaphore(at_once // len(self.rungs) + _WAITING_EPISODES)
            async with door if isinstance(door, LLM) else nullcontext(), asyncio.TaskGroup() as tasks:
                tasks.create_task(self._tick())
                await self._shards(by_shard, ladder, room)
                self.progress.counts["over"] = 1
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            replies.close()

    async def _tick(self) -> None:
        while not self.progress.counts["over"]:
            self._report()
            await asyncio.sleep(0.1)

    async def _shards(self, by_shard: Mapping[str, Sequence[Job]], ladder: Ladder, room: asyncio.Semaphore) -> None:
        async with asyncio.TaskGroup() as tasks:
            for shard, given in by_shard.items():
                commit = self.audit.load(shard)
                jobs = list(given) if self.dry else list(frozen.jobs(self.audit, commit))
                digest = self._digest(commit)
                done = commit.asking
                if not self.dry and done and done.answers and (done.hash, done.open) == (digest, 0):
                    self.progress.counts["asked"] += len(jobs)
                    continue
                await self._shard(commit, jobs, digest, ladder, room, tasks)

    async def _shard(
        self, commit: Commit, jobs: Sequence[Job], digest: str, ladder: Ladder, room: asyncio.Semaphore, tasks: asyncio.TaskGroup
    ) -> None:
        found: list[tuple[Job, Sequence[Asked]]] = []
        working: list[asyncio.Task[None]] = []

        async def one(job: Job, transcript: Any, player: Player) -> None:
            try:
                asked = self.scanner.questions(transcript)
                found.append((job, await ladder.ask(job, transcript, asked[0] if asked else None, player)))
                self.progress.counts["asked"] += 1
            finally:
                room.release()

        by_row: dict[int, list[Job]] = defaultdict(list)
        for job in jobs:
            if job.model not in self.players:
                found.append((job, self._skipped(ladder, job, _NO_ENDPOINT)))
            elif job.control == "" and not job.facts:
                found.append((job, self._skipped(ladder, job, _NO_FACT)))
            else:
                by_row[job.row].append(job)
        async for row, transcript in self._read(commit, by_row):
            for job in by_row.pop(row):
                await room.acquire()
                working.append(tasks.create_task(one(job, transcript, self.players[job.model])))
                await asyncio.sleep(0)
        for job in (j for left in by_row.values() for j in left):
            found.append((job, self._skipped(ladder, job, _GONE)))

        async def close() -> None:
            await asyncio.gather(*working)
            if not self.dry:
                self._commit(commit.shard, found, digest)

        tasks.create_task(close())

    async def _read(self, commit: Commit, rows: Iterable[int]) -> AsyncIterator[tuple[int, Transcript]]:
        """The rows of a shard, read in a thread: other episodes are asked meanwhile."""
        table = self.audit.table(commit.episodes, commit.shard, columns=["row", "content_hash"])
        known = dict(zip(table.column(0).to_pylist(), table.column(1).to_pylist(), strict=True))
        stream = self.sources.read(commit, {row: known[row] for row in rows})
        while (item := await asyncio.to_thread(next, stream, None)) is not None:
            yield item

    def _skipped(self, ladder: Ladder, job: Job, why: str) -> list[Asked]:
        return [ladder.unasked(job, r, n, Status.SKIPPED, why) for r in ladder.rungs_of(job) for n in range(self.options.samples)]

    def _commit(self, shard: str, found: Sequence[tuple[Job, Sequence[Asked]]], digest: str) -> None:
        """The answers of a shard, with those of earlier runs that still count."""
        made = {name: self._made(player) for name, player in self.players.items()}
        nobody = Made(None, self.questions.hash, self._detector)
        rows = [frozen.answer_row(job, a, self.rubric, made.get(job.model, nobody)) for job, asked in found for a in asked]
        merged, dropped = frozen.merged(self.audit, self.audit.load(shard), [job for job, _ in found], rows, made)
        left = sum(map(_is_open, merged))
        self.progress.counts.update({"dropped": dropped, "open": left, "answers": len(merged)})
        frozen.commit_answers(self.audit, shard, merged, digest, left)

    @property
    def _detector(self) -> str:
        return f"judge:{self.judge.name}" if self.judge else "signals"

    def _made(self, player: Player) -> Made:
        return Made(f"{player.endpoint.model} at {public(player.endpoint.base_url)}", self.questions.hash, self._detector)

    def _coder(self, door: Any, secret: bytes) -> Coder:
        if self.judge is not None:
            return JudgeCoder(door, self.judge, self.questions, secret)
        assert self.rubric is not None
        return SignalCoder(self.scanner, self.rubric.id, self.questions)

    def _digest(self, commit: Commit) -> str:
        """Changes when an answer could come out otherwise."""
        to = [
            (n, p.endpoint.model, p.endpoint.base_url, p.endpoint.params, p.context, p.reasoning)
            for n, p in sorted(self.players.items())
        ]
        by = (
            [self.judge.name, self.judge.model, self.judge.base_url, self.judge.params]
            if self.judge
            else [self.rubric.signals_hash if self.rubric else ""]
        )
        value = [
            VERSION, commit.asking.known_as if commit.asking else "", gone(commit), [r.id for r in self.rungs], self.options.samples,
            self.options.seed, self.questions.hash, to, by, self.rubric.judge_hash if self.rubric else "",
        ]  # fmt: skip
        return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

    def _told(self) -> dict[str, Any]:
        """What `audit.json` keeps of the run: never a key or a header."""
        o, counts = self.options, self.progress.counts
        told: dict[str, Any] = {
            "rungs": [r.id for r in self.rungs], "samples": o.samples, "controls": o.controls, "sample_rest": o.sample_rest, "tier": o.tier,
            "seed": o.seed, "titles": {r.id: r.title for r in self.questions.rungs}, "questions": {"version": self.questions.version, "hash": self.questions.hash},
            "models": {n: {"model": p.endpoint.model, "base_url": public(p.endpoint.base_url)} for n, p in sorted(self.players.items())},
            "coder": self.judge.name if self.judge else "signals", "counts": {k: n for k, n in counts.items() if n and k != "over"},
        }  # fmt: skip
        door = self.progress.door
        return told | ({"usage": usage(door.stats)} if isinstance(door, LLM) else {"dry_run": door.told()})


def _is_open(row: Mapping[str, Any]) -> bool:
    """Whether the next run should try again."""
    coding = orjson.loads(row["attributes"]).get("coded") in (Status.ERROR.value, Status.SKIPPED.value)
    skipped = row["status"] == Status.SKIPPED.value and not (row["error"] or "").startswith(_FINAL)
    return coding or skipped or row["status"] == Status.ERROR.value


def _first(error: BaseException) -> BaseException:
    """What went wrong first, out of the groups that tasks wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def models_of(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The models of an audit's logs."""
    rows = con.execute("SELECT DISTINCT coalesce(model, ?) FROM episodes ORDER BY 1", [UNKNOWN_MODEL]).fetchall()
    return [row[0] for row in rows]
