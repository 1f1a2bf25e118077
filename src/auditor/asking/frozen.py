"""Jobs to rows of an audit and back: the facts are written before the first question, and read from there to ask it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import pyarrow.parquet as pq

from auditor import store
from auditor.ask.classes import level
from auditor.ask.facts import Fact, Job
from auditor.ask.ladder import Asked
from auditor.rubric import Rubric
from auditor.store import Asking, Audit, Commit
from auditor.verdict import Evidence

_FACT = ("id", "kind", "text", "true", "material", "knew", "deliberate", "told", "source", "rank")
_SPAN = ("message", "channel", "start", "end", "quote")


def freeze(audit: Audit, shard: str, jobs: Sequence[Job]) -> Commit:
    """Write the jobs of a shard, unless they stand there already, and commit them. Answers to other facts stay until they are asked anew."""
    digest = hashlib.sha256("\n".join(job.hash for job in jobs).encode()).hexdigest()[:16]
    name = f"facts/{shard}-{digest}.parquet"
    before = audit.load(shard)
    if before.asking is not None and before.asking.facts == name:
        return before
    with audit.part(name) as path:
        part = store.Rows(path, store.FACTS)
        for job in jobs:
            part.add(_row(job))
        part.close()
    answers = before.asking.answers if before.asking else None
    after = before.model_copy(update={"asking": Asking(facts=name, answers=answers)})
    audit.commit(after)
    audit.sweep(store.parts_of(before) - store.parts_of(after))
    return after


def jobs(audit: Audit, commit: Commit) -> Iterator[Job]:
    """The frozen jobs of a shard."""
    if commit.asking is None:
        return
    for row in pq.read_table(audit.path / commit.asking.facts).to_pylist():
        facts = tuple(
            Fact(**{k: f[k] for k in _FACT}, evidence=Evidence(**{k: f[k] for k in _SPAN})) for f in row["facts"]
        )  # fmt: skip
        known = {
            k: row[k]
            for k in ("shard", "row", "episode_id", "model", "control", "pair", "match", "weight", "turn", "tier", "target")
        }
        yield Job(**known, facts=facts)


def _row(job: Job) -> tuple[Any, ...]:
    facts = [{**{k: getattr(f, k) for k in _FACT}, **{k: getattr(f.evidence, k) for k in _SPAN}} for f in job.facts]
    return (
        job.shard, job.row, job.episode_id, job.model, job.control, job.pair, job.match, job.weight, job.turn, job.tier,
        job.target, job.hash, facts,
    )  # fmt: skip


def answer_row(job: Job, asked: Asked, rubric: Rubric | None, detector: str, tier: str, endpoint: str | None) -> dict[str, Any]:
    """A row of `ASKED` by column. Its tier is the weaker one of the job's and the coder's: signals < judge < person."""
    order = ("candidate", "judged", "reviewed")
    charge, coded = job.charge, asked.coded
    step = level(asked.answer_class, rubric)
    attributes: dict[str, Any] = {}
    if coded is not None:
        attributes = {
            "coded": coded.status.value, "no_access": coded.no_access, "label": coded.label, "rationale": coded.rationale,
            "quotes": [q._asdict() for q in coded.quotes],
        }  # fmt: skip
    first = next((q.quote for q in coded.quotes), None) if coded else None
    return {
        "shard": job.shard, "row": job.row, "episode_id": job.episode_id, "model": job.model, "rung": asked.rung, "sample": asked.sample,
        "control": job.control, "mode": asked.mode, "status": asked.status, "answer_class": asked.answer_class, "answer": asked.answer,
        "asked": asked.question, "wording": asked.wording, "seed": asked.seed, "reasoning": asked.reasoning,
        "reasoning_in_context": asked.reasoning_in_context, "tier": min(job.tier, tier, key=order.index), "detector": detector,
        "rubric": rubric.id if rubric else None, "rubric_hash": rubric.judge_hash if rubric else None, "level": step,
        "flagged": None if step is None or rubric is None else step >= rubric.flag_from, "quote": first,
        "stances": orjson.dumps(dict(coded.stances) if coded else {}).decode(), "attributes": orjson.dumps(attributes).decode(),
        "error": asked.error, "pair": job.pair, "match": job.match, "weight": job.weight, "fact": charge.text if charge else None,
        "kind": charge.kind if charge else None, "knew": charge.knew if charge else None, "deliberate": charge.deliberate if charge else None,
        "material": charge.material if charge else None, "ledger_hash": job.hash, "endpoint": endpoint,
    }  # fmt: skip


def commit_answers(
    audit: Audit, shard: str, found: Sequence[dict[str, Any]], kept: Sequence[dict[str, Any]], digest: str, left: int
) -> None:
    """Write a shard's answers and commit them: `found` of this run, `kept` of earlier ones; `left` of them are open."""
    name = f"answers/{shard}-a{digest}.parquet"
    rows = sorted([*found, *kept], key=lambda r: (r["row"], r["control"], r["rung"], r["sample"]))
    with audit.part(name) as path:
        part = store.Rows(path, store.ASKED)
        for row in rows:
            part.add(tuple(row[f.name] for f in store.ASKED))
        part.close()
    before = audit.load(shard)
    assert before.asking is not None
    after = before.model_copy(update={"asking": before.asking.model_copy(update={"answers": name, "hash": digest, "open": left})})
    audit.commit(after)
    audit.sweep(store.parts_of(before) - store.parts_of(after))


def earlier(audit: Audit, commit: Commit) -> list[dict[str, Any]]:
    """The answers that a shard has."""
    if commit.asking is None or commit.asking.answers is None:
        return []
    found: list[dict[str, Any]] = pq.read_table(audit.path / commit.asking.answers).to_pylist()
    return found
