"""Jobs to rows of an audit and back: the facts are written before the first question, and read from there to ask it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from pyarrow.lib import ArrowInvalid

from auditor import store, tables
from auditor.ask.classes import level
from auditor.ask.facts import Fact, Job
from auditor.ask.ladder import Asked
from auditor.errors import StoreError
from auditor.rubric import Rubric
from auditor.store import Asking, Audit, Commit
from auditor.verdict import Evidence

_FACT = ("id", "kind", "text", "true", "material", "knew", "deliberate", "told", "source", "rank", "rubric", "kinds", "says")
_SPAN = ("signal", "message", "channel", "start", "end", "quote")
_JOB = ("shard", "row", "episode_id", "model", "control", "pair", "match", "clean_by", "weight", "turn", "tier", "target")


def freeze(audit: Audit, shard: str, jobs: Sequence[Job]) -> None:
    """Write the jobs of a shard, unless they stand there already, and commit them with the verdicts that they were made from."""
    digest = hashlib.sha256("\n".join(job.hash for job in jobs).encode()).hexdigest()[:16]
    name = f"facts/{shard}-{digest}.parquet"
    before = audit.load(shard)
    basis = store.basis_of(before)
    if before.asking is not None and (before.asking.known_as, before.asking.basis) == (name, basis):
        return
    with audit.part(name) as path:
        part = tables.Rows(path, tables.FACTS)
        for job in jobs:
            part.add(_row(job))
        part.close()
    answers = before.asking.answers if before.asking else None
    after = before.model_copy(update={"asking": Asking(facts=name, answers=answers, basis=basis)})
    audit.commit(after)
    audit.sweep(store.parts_of(before) - store.parts_of(after))


def forget(audit: Audit, commit: Commit) -> None:
    """A shard that is asked nothing any more loses its facts and answers."""
    after = commit.model_copy(update={"asking": None})
    audit.commit(after)
    audit.sweep(store.parts_of(commit) - store.parts_of(after))


def jobs(audit: Audit, commit: Commit) -> Iterator[Job]:
    """The frozen jobs of a shard. StoreError where they are not what was frozen."""
    if commit.asking is None:
        return
    for row in _read(audit, commit, commit.asking.facts):
        facts = tuple(
            Fact(**{k: f[k] for k in _FACT}, evidence=Evidence(**{k: f[k] for k in _SPAN})) for f in row["facts"]
        )  # fmt: skip
        job = Job(**{k: row[k] for k in _JOB}, facts=facts)
        if job.hash != row["ledger_hash"]:
            raise StoreError(f"{audit.disk.at(commit.asking.facts)}: not what was frozen; delete it and run 'auditor ask' again")
        yield job


def _read(audit: Audit, commit: Commit, part: str) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = audit.table(part, commit.shard).to_pylist()
    except (OSError, ArrowInvalid) as error:
        told = " ".join(str(error).split())[:120]
        way = f"delete commits/{commit.shard}.json and scan again"
        if store.is_pack(part):
            way = "restore it from a copy, or scan into a new audit"
        raise StoreError(f"{audit.disk.at(part)}: cannot be read ({told}); {way}") from None
    return rows


def _row(job: Job) -> tuple[Any, ...]:
    facts = [{**{k: getattr(f, k) for k in _FACT}, **{k: getattr(f.evidence, k) for k in _SPAN}} for f in job.facts]
    told = {k: getattr(job, k) for k in _JOB} | {"ledger_hash": job.hash, "facts": facts}
    return tuple(told[f.name] for f in tables.FACTS)


def answered(audit: Audit, commit: Commit) -> int:
    """How many answers a shard has."""
    if commit.asking is None or commit.asking.answers is None:
        return 0
    return len(_read(audit, commit, commit.asking.answers))


class Made(NamedTuple):
    """What an answer was made with: where two differ in it they are not comparable. `detector` codes, `endpoint` answers."""

    endpoint: str | None
    questions: str
    detector: str


def answer_row(job: Job, asked: Asked, rubric: Rubric | None, made: Made) -> dict[str, Any]:
    """A row of `ASKED` by column. Its tier is the weaker one of the job's and the coder's: signals < judge < person."""
    order = ("candidate", "judged", "reviewed")
    charge, coded = job.charge, asked.coded
    tier = "candidate" if made.detector == "signals" else "judged"
    step = level(asked.answer_class, rubric)
    attributes: dict[str, Any] = {}
    if coded is not None:
        attributes = {
            "coded": coded.status.value, "no_access": coded.no_access, "label": coded.label, "rationale": coded.rationale,
            "quotes": [q._asdict() for q in coded.quotes],
        }  # fmt: skip
    first = next((q.quote for q in coded.quotes), None) if coded else None
    told = {k: getattr(job, k) for k in ("shard", "row", "episode_id", "model", "control", "pair", "match", "clean_by", "weight")}
    told |= {
        k: getattr(asked, k)
        for k in ("rung", "sample", "mode", "status", "answer_class", "answer", "wording", "seed", "reasoning")
    }
    told |= {"asked": asked.question, "reasoning_in_context": asked.reasoning_in_context, "error": asked.error, **made._asdict()}
    told |= {k: getattr(charge, k) if charge else None for k in ("kind", "knew", "deliberate", "material")}
    return told | {
        "tier": min(job.tier, tier, key=order.index), "founded": job.tier, "rubric": rubric.id if rubric else None,
        "rubric_hash": rubric.judge_hash if rubric else None, "level": step, "quote": first, "fact": charge.text if charge else None,
        "flagged": None if step is None or rubric is None else step >= rubric.flag_from, "ledger_hash": job.hash,
        "stances": orjson.dumps(dict(coded.stances) if coded else {}).decode(), "attributes": orjson.dumps(attributes).decode(),
    }  # fmt: skip


def merged(
    audit: Audit, commit: Commit, jobs: Iterable[Job], found: Sequence[dict[str, Any]], made: Mapping[str, Made]
) -> tuple[list[dict[str, Any]], int]:
    """The rows of this run with those of earlier ones that are held against the same facts and were made in the same way.

    An answer that is there is never replaced by none. Models that are not played now keep what they answered. Returns the
    rows, and how many earlier ones are dropped.
    """
    held = {(j.episode_id, j.control, j.hash) for j in jobs}
    rows = {_cell(r): r for r in found}
    dropped = 0
    for row in _read(audit, commit, commit.asking.answers) if commit.asking and commit.asking.answers else ():
        now = made.get(row["model"])
        same = now is None or now == Made(row["endpoint"], row["questions"], row["detector"])
        new = rows.get(_cell(row))
        if (row["episode_id"], row["control"], row["ledger_hash"]) not in held or not same:
            dropped += new is None
        elif new is None or (
            new["answer_class"] is None and row["answer_class"] is not None and new["status"] in ("skipped", "error")
        ):
            rows[_cell(row)] = row
    return list(rows.values()), dropped


def _cell(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["episode_id"], row["control"], row["rung"], row["sample"]


def commit_answers(audit: Audit, shard: str, rows: Sequence[dict[str, Any]], digest: str, left: int) -> None:
    """Write a shard's answers and commit them; `left` of them are open."""
    name = f"answers/{shard}-a{digest}.parquet"
    with audit.part(name) as path:
        part = tables.Rows(path, tables.ASKED)
        for row in sorted(rows, key=lambda r: (r["row"], r["control"], r["rung"], r["sample"])):
            part.add(tuple(row[f.name] for f in tables.ASKED))
        part.close()
    before = audit.load(shard)
    assert before.asking is not None
    after = before.model_copy(update={"asking": before.asking.model_copy(update={"answers": name, "hash": digest, "open": left})})
    audit.commit(after)
    audit.sweep(store.parts_of(before) - store.parts_of(after))
