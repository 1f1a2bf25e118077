"""Asking the audited models about an audit: choose, freeze the facts, ask, code, commit; shard by shard, and taken up again.

The facts of every episode are written and committed before the first question; questions are asked from what was written.
Answers are kept as they arrive (`llm.sqlite`), so that a kill costs at most the calls in flight.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from auditor.ask import questions as ladders
from auditor.ask.coding import Coder, JudgeCoder, SignalCoder
from auditor.ask.facts import Fact, Found, Job, facts_of
from auditor.ask.ladder import Asked, Ladder, Player
from auditor.ask.questions import Rung
from auditor.asking import choose, frozen, models
from auditor.asking.choose import Entry, Pools
from auditor.asking.sources import Sources
from auditor.errors import AuditorError, ServerError
from auditor.judge import read
from auditor.judging import JudgeOptions, usage
from auditor.judging.doors import Counting
from auditor.llm import LLM, Endpoint
from auditor.plan import Options, scan_options
from auditor.query import connect
from auditor.replies import Replies
from auditor.rubric import load_all, path_of
from auditor.signals import Scanner
from auditor.store import Asking, Audit, Commit
from auditor.verdict import Status, Tier

__all__ = ["AskOptions", "Progress", "ask_models"]

_ROUNDS = 6
"""How many clean episodes are looked at for a control before it is given up."""
_WAITING_EPISODES = 8
_NO_ENDPOINT = "no endpoint"
_FINAL = (_NO_ENDPOINT, "the model says and does nothing")


@dataclass(frozen=True)
class AskOptions:
    """Who plays which model (`models`: a file), which rungs, how often, against how many controls; who codes (`judge`).

    `tier` candidate asks candidates that no judge has read too. Without `judge` signals propose the classes.
    """

    models: str | None = None
    rungs: tuple[str, ...] = ()
    samples: int = 3
    controls: float = 1.0
    sample_rest: float = 0.05
    tier: Literal["judged", "candidate"] = "judged"
    seed: int = 0
    max_cost: float | None = None
    judge: JudgeOptions | None = None
    rubrics: str | None = None


@dataclass
class Progress:
    """How far it is: `counts` has jobs (episodes in a role), asked ones, and all sorts of things that were left out."""

    counts: Counter[str] = field(default_factory=Counter)
    door: Any = None


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
        self.scanned: Options = scan_options(audit, str(audit.path))
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
        con = connect(self.audit)
        try:
            pools = choose.pools(con, self.rubrics, self.options.tier)
        finally:
            con.close()
        if not pools.flawed:
            raise AuditorError(self._nobody(pools))
        names = sorted({entry.model for entry, _, _ in pools.flawed.values()})
        self.players = models.players(self.options.models, names, str(self.audit.path))
        self._tell_players(names, pools)
        writer = None if self.dry else Audit.create(self.audit.path)
        try:
            by_shard = self._jobs(pools)
            if writer is not None:
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

    def _nobody(self, pools: Pools) -> str:
        where = self.audit.path
        if self.options.tier == "candidate":
            return f"{where}: nothing to ask: no episode is flagged, by a judge or by signals ({len(pools.clean):,} are not)"
        return f"{where}: nothing to ask: no judge or person has flagged an episode here; judge it with 'auditor scan LOGS -o {where} --judge MODEL', or ask what signals alone flag: --tier candidate"

    def _tell_players(self, names: Sequence[str], pools: Pools) -> None:
        per = Counter(entry.model for entry, _, _ in pools.flawed.values())
        for name in names:
            player = self.players.get(name)
            if player is None:
                self.say(f"{name}: no endpoint in {self.options.models}, its {per[name]:,} episodes are skipped")
            elif self.judge is not None and player.endpoint.model == self.judge.model:
                self.say(
                    f"{name}: the judge {self.judge.name} codes the answers of its own model; another one would be better (--judge)"
                )
        if any(tier == "candidate" for _, tier, _ in pools.flawed.values()):
            self.say(
                "asked of candidates too: what signals flag and nobody has judged; their rates stand apart, and a fact may be none"
            )

    # ---- choosing ----

    def _jobs(self, pools: Pools) -> dict[str, list[Job]]:
        """All jobs by shard, in order of row. Controls only for models that can be asked."""
        known: dict[str, list[Fact]] = {}
        self._learn([(e, found) for e, _, found in pools.flawed.values()], known)
        flawed: list[tuple[Entry, Job]] = []
        for name, (entry, tier, _) in sorted(pools.flawed.items()):
            facts = tuple(known.get(name, ()))
            job = choose.job_of(entry, tier).model_copy(update={"facts": facts, "target": facts[0].id if facts else None})
            flawed.append((entry, job))
        played = [(e, j) for e, j in flawed if e.model in self.players and j.charge is not None]
        jobs = [job for _, job in flawed]
        if self.options.controls > 0:
            jobs += self._clean(played, pools, known)
            in_doubt = {j.episode_id: {f.kind for f in j.facts} for _, j in played}
            checkable = {k.id for k in self.questions.kinds if k.ledger}
            drawn = [
                (e, j)
                for e, j in played
                if self.options.controls >= 1 or choose.wanted(f"sham\0{j.episode_id}", self.options.controls, self.options.seed)
            ]
            jobs += choose.shams(drawn, in_doubt, checkable, self.progress.counts)
        drawn = [
            d
            for d in choose.random_jobs(pools.unflagged, self.options.sample_rest, self.options.seed)
            if d[0].model in self.players
        ]
        self._learn([(entry, pools.findings.get(entry.episode_id, [])) for entry, _ in drawn], known)
        jobs += [job.model_copy(update={"facts": tuple(known.get(job.episode_id, ()))}) for _, job in drawn]
        by_shard: dict[str, list[Job]] = defaultdict(list)
        for job in jobs:
            self.progress.counts[f"jobs {job.control or 'flawed'}"] += 1
            by_shard[job.shard].append(job)
        self.progress.counts["jobs"] = len(jobs)
        return {shard: sorted(found, key=lambda j: (j.row, j.control)) for shard, found in sorted(by_shard.items())}

    def _learn(self, episodes: Iterable[tuple[Entry, Sequence[Found]]], known: dict[str, list[Fact]]) -> None:
        """The facts of episodes, read shard by shard; one whose sources are gone is left out."""
        by_shard: dict[str, dict[int, tuple[Entry, Sequence[Found]]]] = defaultdict(dict)
        for entry, found in episodes:
            if entry.episode_id not in known:
                by_shard[entry.shard][entry.row] = (entry, found)
        for shard, rows in sorted(by_shard.items()):
            wanted = {row: entry.content_hash for row, (entry, _) in rows.items()}
            for row, transcript in self.sources.read(self.audit.load(shard), wanted):
                entry, found = rows[row]
                episode = read(transcript, self.scanner.questions(transcript))
                known[entry.episode_id] = facts_of(episode, found, self.questions)
                self._report()

    def _clean(self, flawed: Sequence[tuple[Entry, Job]], pools: Pools, known: dict[str, list[Fact]]) -> list[Job]:
        """A clean partner for each, that shows nothing of the kind its partner is asked about."""
        by_model: dict[str, list[tuple[Entry, Tier]]] = defaultdict(list)
        for entry, tier in pools.clean:
            by_model[entry.model].append((entry, tier))
        groups = {model: choose.Clean(entries) for model, entries in by_model.items()}
        slots = [
            (e, j, set[str]())
            for e, j in flawed
            for _ in range(choose.wanted(j.episode_id, self.options.controls, self.options.seed))
        ]
        slots.sort(key=lambda s: s[1].turn)
        taken: set[str] = set()
        made: list[Job] = []
        for _ in range(_ROUNDS):
            tried = []
            for partner, job, refused in slots:
                option = groups[partner.model].nearest(partner, taken | refused) if partner.model in groups else None
                if option is not None:
                    taken.add(option[1].episode_id)
                    tried.append((partner, job, refused, option))
            self._learn([(o[1], pools.findings.get(o[1].episode_id, [])) for *_, o in tried], known)
            slots = []
            for partner, job, refused, (match, entry, tier) in tried:
                facts, charge = known.get(entry.episode_id), job.charge
                assert charge is not None
                if facts is None or charge.kind in {f.kind for f in facts}:
                    taken.discard(entry.episode_id)
                    refused.add(entry.episode_id)
                    slots.append((partner, job, refused))
                    continue
                accused = charge.model_copy(update={"id": "other", "true": False})
                more = {
                    "control": "clean",
                    "pair": job.episode_id,
                    "match": match,
                    "facts": (*facts, accused),
                    "target": "other",
                    "turn": job.turn,
                }
                made.append(choose.job_of(entry, tier).model_copy(update=more))
        wanted = sum(choose.wanted(j.episode_id, self.options.controls, self.options.seed) for _, j in flawed)
        self.progress.counts["without a clean control"] = wanted - len(made)
        return made

    def _freeze(self, by_shard: Mapping[str, Sequence[Job]]) -> None:
        """Every fact is on disk, and committed, before any question. Shards that are asked nothing any more forget their answers."""
        for commit in list(self.audit.commits()):
            if commit.shard in by_shard:
                frozen.freeze(self.audit, commit.shard, by_shard[commit.shard])
            elif commit.asking is not None:
                self.progress.counts["dropped"] += len(frozen.earlier(self.audit, commit))
                after = commit.model_copy(update={"asking": None})
                self.audit.commit(after)
                self.audit.sweep([p for p in (commit.asking.facts, commit.asking.answers) if p])

    # ---- asking ----

    async def _serve(self, by_shard: Mapping[str, Sequence[Job]]) -> None:
        replies = Replies.open(
            ":memory:" if self.dry and not (self.audit.path / "llm.sqlite").exists() else self.audit.path / "llm.sqlite"
        )
        try:
            door: Any = Counting(replies) if self.dry else LLM(replies, max_cost=self.options.max_cost, say=self.say)
            self.progress.door = door
            secret = replies.secret()
            ladder = Ladder(
                door,
                self.questions,
                self._coder(door, secret),
                secret,
                self.rungs,
                self.options.samples,
                self.options.seed,
                dry=self.dry,
            )
            room = asyncio.Semaphore(
                sum(p.endpoint.concurrency for p in self.players.values()) // len(self.rungs) + _WAITING_EPISODES
            )
            async with door if isinstance(door, LLM) else nullcontext(), asyncio.TaskGroup() as tasks:
                tasks.create_task(self._tick())
                await self._shards(by_shard, ladder, room)
                self.progress.counts["over"] = 1
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
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
                if (
                    not self.dry
                    and commit.asking
                    and commit.asking.answers
                    and (commit.asking.hash, commit.asking.open) == (digest, 0)
                ):
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
            if job.model in self.players:
                by_row[job.row].append(job)
            else:
                found.append((job, self._skipped(ladder, job, _NO_ENDPOINT)))
        wanted = self._contents(commit, by_row)
        for row, transcript in self.sources.read(commit, wanted):
            for job in by_row.pop(row):
                await room.acquire()
                working.append(tasks.create_task(one(job, transcript, self.players[job.model])))
                await asyncio.sleep(0)
        for job in (j for left in by_row.values() for j in left):
            found.append(
                (job, self._skipped(ladder, job, "its source is gone or has changed, and the audit keeps no copy of it"))
            )

        async def close() -> None:
            await asyncio.gather(*working)
            if not self.dry:
                self._commit(commit, found, digest)

        tasks.create_task(close())

    def _contents(self, commit: Commit, rows: Iterable[int]) -> dict[int, str]:
        import pyarrow.parquet as pq

        table = pq.read_table(self.audit.path / commit.episodes, columns=["row", "content_hash"])
        known = dict(zip(table.column(0).to_pylist(), table.column(1).to_pylist(), strict=True))
        return {row: known[row] for row in rows}

    def _skipped(self, ladder: Ladder, job: Job, why: str) -> list[Asked]:
        return [ladder.unasked(job, r, n, Status.SKIPPED, why) for r in ladder.rungs_of(job) for n in range(self.options.samples)]

    def _commit(self, commit: Commit, found: Sequence[tuple[Job, Sequence[Asked]]], digest: str) -> None:
        """The answers of a shard, and those of earlier runs that are held against the same facts."""
        tier, detector = ("judged", f"judge:{self.judge.name}") if self.judge else ("candidate", "signals")
        rows = []
        left = 0
        for job, asked in found:
            player = self.players.get(job.model)
            left_out = self.progress.door.left_out(player.endpoint) if player else ()
            for a in asked:
                a = a._replace(seed=None) if "seed" in left_out else a
                rows.append(frozen.answer_row(job, a, self.rubric, detector, tier, player.endpoint.name if player else None))
                self.progress.counts[f"status {a.status}"] += 1
                left += _is_open(a)
        self.progress.counts["open"] += left
        here = {(job.episode_id, job.control, job.hash) for job, _ in found}
        new = {(r["episode_id"], r["control"], r["rung"], r["sample"]) for r in rows}
        before = frozen.earlier(self.audit, commit)
        others = [r for r in before if (r["episode_id"], r["control"], r["rung"], r["sample"]) not in new]
        kept = [r for r in others if (r["episode_id"], r["control"], r["ledger_hash"]) in here]
        self.progress.counts["dropped"] += len(others) - len(kept)
        frozen.commit_answers(self.audit, commit.shard, rows, kept, digest, left)

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
        asking = commit.asking or Asking(facts="")
        value = [
            asking.facts,
            [r.id for r in self.rungs],
            self.options.samples,
            self.options.seed,
            self.questions.hash,
            to,
            by,
            self.rubric.judge_hash if self.rubric else "",
        ]
        return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

    def _told(self) -> dict[str, Any]:
        """What `audit.json` keeps of the run: never a key or a header."""
        o, counts = self.options, self.progress.counts
        told: dict[str, Any] = {
            "rungs": [r.id for r in self.rungs], "samples": o.samples, "controls": o.controls, "sample_rest": o.sample_rest, "tier": o.tier,
            "seed": o.seed, "questions": {"version": self.questions.version, "hash": self.questions.hash},
            "models": {n: {"model": p.endpoint.model, "base_url": p.endpoint.base_url} for n, p in sorted(self.players.items())},
            "left_out": {n: sorted(out) for n, p in sorted(self.players.items()) if not self.dry and (out := self.progress.door.left_out(p.endpoint))},
            "coder": self.judge.name if self.judge else "signals", "counts": {k: n for k, n in counts.items() if n and k != "over"},
        }  # fmt: skip
        door = self.progress.door
        return told | ({"usage": usage(door)} if isinstance(door, LLM) else {"dry_run": door.told()})


def _is_open(asked: Asked) -> bool:
    """Whether the next run should try again."""
    coding = asked.coded.status in (Status.ERROR, Status.SKIPPED) if asked.coded else False
    skipped = asked.status == Status.SKIPPED and not (asked.error or "").startswith(_FINAL)
    return coding or skipped or asked.status == Status.ERROR


def models_of(audit: Audit) -> list[str]:
    """The models of an audit's logs, for a file to fill in."""
    con = connect(audit)
    try:
        rows = con.execute("SELECT DISTINCT coalesce(model, ?) FROM episodes ORDER BY 1", [models.UNKNOWN]).fetchall()
    finally:
        con.close()
    return [row[0] for row in rows]
