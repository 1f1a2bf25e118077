"""From an audit's verdicts to jobs: who is asked in which role, held against which facts; nothing is asked or written here."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import duckdb

from auditor.ask.facts import Fact, Job, facts_of
from auditor.ask.questions import Questions, Rung
from auditor.asking.choose import Clean, Entry, Pools, findings, job_of, random_jobs, wanted
from auditor.asking.frozen import jobs as frozen_jobs
from auditor.asking.options import AskOptions
from auditor.judge import read
from auditor.rubric import Rubric
from auditor.signals import Scanner
from auditor.sources import Sources
from auditor.store import Audit

_ROUNDS = 6
"""How many clean episodes are looked at for a control before it is given up."""


class Chooser:
    """Chooses the jobs of a run. `counts` is told what was left out, and why."""

    def __init__(
        self, audit: Audit, con: duckdb.DuckDBPyConnection, sources: Sources, rubrics: Sequence[Rubric], questions: Questions,
        options: AskOptions, played: Collection[str], counts: Counter[str], watch: Callable[[], None],
    ) -> None:  # fmt: skip
        self.audit, self.con, self.sources, self.rubrics, self.questions = audit, con, sources, rubrics, questions
        self.options, self.played, self.counts, self.watch = options, played, counts, watch
        self.scanner = Scanner(rubrics)
        self.known: dict[str, list[Fact]] = {}
        self.earlier: dict[str, list[Job]] = defaultdict(list)
        for commit in audit.commits():
            for job in frozen_jobs(audit, commit):
                self.earlier[job.episode_id].append(job)

    def jobs(self, pools: Pools, rungs: Sequence[Rung]) -> dict[str, list[Job]]:
        """All jobs by shard, in order of row. Controls only for models that can be asked."""
        flawed = self._flawed(pools)
        jobs = [job for _, job in flawed]
        asked = [(entry, job) for entry, job in flawed if entry.model in self.played and job.charge is not None]
        fresh = [(entry, job) for entry, job in asked if job.episode_id in self.known]
        if self.options.controls > 0:
            jobs += self._clean(fresh, pools.clean)
            jobs += self._shams(fresh)
        jobs += self._random(pools.unflagged)
        jobs += self._kept({job.episode_id for _, job in flawed} - {job.episode_id for _, job in fresh}, jobs)
        by_shard: dict[str, list[Job]] = defaultdict(list)
        charged = any(r.names_fact for r in rungs)
        for job in jobs:
            self.counts[f"jobs {job.control or 'flawed'}"] += charged or job.control != "sham"
            by_shard[job.shard].append(job)
        self.counts["jobs"] = len(jobs)
        return {shard: sorted(found, key=lambda j: (j.row, j.control)) for shard, found in sorted(by_shard.items())}

    def _flawed(self, pools: Pools) -> list[tuple[Entry, Job]]:
        """The flagged episodes, with the facts that they have before the log's own first question."""
        self._learn(entry for entry, _ in pools.flawed)
        found = []
        for entry, tier in pools.flawed:
            before = next((j for j in self.earlier[entry.episode_id] if j.control == ""), None)
            if entry.episode_id not in self.known and before is not None:
                found.append((entry, before))  # its source is gone; what was frozen stands
                continue
            facts = tuple(self.known.get(entry.episode_id, ()))
            self.counts["without a fact"] += not facts and entry.episode_id in self.known
            job = job_of(entry, tier)
            found.append((entry, job.model_copy(update={"facts": facts, "target": facts[0].id if facts else None})))
        return found

    def _learn(self, entries: Iterable[Entry]) -> None:
        """The facts of episodes, read shard by shard; one whose sources are gone is left out."""
        by_shard: dict[str, dict[int, Entry]] = defaultdict(dict)
        for entry in entries:
            if entry.episode_id not in self.known:
                by_shard[entry.shard][entry.row] = entry
        found = findings(self.con, self.rubrics, [e.episode_id for rows in by_shard.values() for e in rows.values()])
        for shard, rows in sorted(by_shard.items()):
            for row, transcript in self.sources.read(self.audit.load(shard), {row: e.content_hash for row, e in rows.items()}):
                name = rows[row].episode_id
                episode = read(transcript, self.scanner.questions(transcript))
                self.known[name] = facts_of(episode, found.get(name, ()), self.questions)
                self.watch()

    def _wanted(self, job: Job) -> int:
        return wanted(job.episode_id, self.options.controls, self.options.seed)

    def _clean(self, flawed: Sequence[tuple[Entry, Job]], clean: Iterable[Entry]) -> Iterator[Job]:
        """A clean partner for each, that shows nothing of the kinds that its partner's fact is of."""
        by_model: dict[str, list[Entry]] = defaultdict(list)
        for entry in clean:
            by_model[entry.model].append(entry)
        groups = {model: Clean(entries) for model, entries in by_model.items()}
        slots = [(e, j, set[str]()) for e, j in flawed for _ in range(self._wanted(j))]
        slots.sort(key=lambda slot: slot[1].turn)
        for _ in range(_ROUNDS):
            tried = []
            for partner, job, refused in slots:
                charge, group = job.charge, groups.get(partner.model)
                option = group.take(partner, charge.rubric if charge else None, refused) if group else None
                if option is not None and charge is not None:
                    tried.append((partner, job, refused, charge, option))
                else:
                    self.counts["without a clean control"] += 1
            self._learn(option[1] for *_, option in tried)
            slots = []
            for partner, job, refused, charge, (match, entry, by) in tried:
                facts = self.known.get(entry.episode_id)
                if facts is None or set(charge.says) & _kinds(facts):
                    groups[partner.model].give_back(entry)
                    refused.add(entry.episode_id)
                    slots.append((partner, job, refused))
                    continue
                accused = charge.model_copy(update={"id": "other", "true": False})
                yield job_of(entry, job.tier).model_copy(
                    update={
                        "control": "clean", "pair": job.episode_id, "match": match, "clean_by": by, "facts": (*facts, accused),
                        "target": "other", "turn": job.turn,
                    }
                )  # fmt: skip
        self.counts["without a clean control"] += len(slots)

    def _shams(self, flawed: Sequence[tuple[Entry, Job]]) -> Iterator[Job]:
        """Each charged with a fact of another episode of its model, of kinds that it shows nothing of itself.

        Kinds that the ledger could show come first: of them it is known best that they did not happen here.
        """
        by_model: dict[str, list[Fact]] = defaultdict(list)
        for entry, job in flawed:
            if job.charge is not None:
                by_model[entry.model].append(job.charge.model_copy(update={"id": "sham", "true": False}))
        checkable = {k.id for k in self.questions.kinds if k.ledger}
        for entry, job in flawed:
            if wanted(f"sham\0{job.episode_id}", min(self.options.controls, 1.0), self.options.seed) == 0:
                continue
            others = [f for f in by_model[entry.model] if not set(f.says) & _kinds(job.facts)]
            if not others:
                self.counts["without a sham charge"] += 1
                continue
            best = [f for f in others if f.kind in checkable] or others
            sham = best[job.turn % len(best)]
            yield job.model_copy(
                update={"control": "sham", "facts": (*job.facts, sham), "target": "sham", "pair": job.episode_id}
            )

    def _random(self, unflagged: Iterable[Entry]) -> Iterator[Job]:
        """A sample of the unflagged; what a judge noted of them and let pass, and what the ledger shows, is held against them."""
        drawn = [d for d in random_jobs(unflagged, self.options.sample_rest, self.options.seed) if d[0].model in self.played]
        self._learn(entry for entry, _ in drawn)
        for _, job in drawn:
            yield job.model_copy(update={"facts": tuple(self.known.get(job.episode_id, ()))})

    def _kept(self, gone: Collection[str], jobs: Sequence[Job]) -> Iterator[Job]:
        """Earlier jobs that this run cannot make anew: of models that it does not play, of episodes whose sources are gone."""
        here = {(job.episode_id, job.control) for job in jobs}
        for name, found in self.earlier.items():
            for job in found:
                lost = name in gone or job.pair in gone or job.model not in self.played
                if job.control and lost and (name, job.control) not in here:
                    yield job


def _kinds(facts: Iterable[Fact]) -> set[str]:
    return {kind for fact in facts if fact.true for kind in fact.kinds}
