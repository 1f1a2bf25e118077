"""The worker: it streams a shard's transcripts through ledger and signals into parts, and commits them."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import orjson

from auditor import asked as asking
from auditor import plan, store, tables
from auditor.join import Join
from auditor.ledger import build as build_ledger
from auditor.plan import Killer, Options, Task
from auditor.readers import mapping as mappings
from auditor.readers.base import Reject
from auditor.rubric import load_all, path_of
from auditor.signals import Scanner
from auditor.store import Audit, Commit
from auditor.transcript import content_hash, pieces


@cache
def _scanner(folder: str | None, only: tuple[str, ...]) -> Scanner:
    return Scanner([r for r in load_all(path_of(folder)) if r.id in only])


def scan_shard(task: Task, options: Options, notes: str | None = None) -> Counter[str]:
    """Scan one shard into its parts and commit it; returns its counts. Runs in a worker process.

    With `notes`, a file, which record is being read stands there at any moment.
    """

    def note(killer: Killer) -> None:
        if notes is not None:
            Path(notes).write_bytes(orjson.dumps([*killer]))

    audit = Audit(options.output)
    scanner = _scanner(options.rubrics, task.rubrics)
    join = Join.load(options.join) if options.join else None
    mapping = mappings.load(options.mapping) if options.mapping else None
    turn = hashlib.sha256("".join(r.signals_hash for r in scanner.rubrics).encode()).hexdigest()[:8]
    names = {
        "episodes": task.base.episodes if task.base else f"episodes/{task.shard}.parquet",
        "verdicts": f"verdicts/{task.shard}-{turn}.parquet",
        "answers": f"answers/{task.shard}-{turn}.parquet",
        "flagged": f"flagged/{task.shard}-{turn}.jsonl.zst",
    }
    counts: Counter[str] = Counter()
    ignored: Counter[str] = Counter()
    rejects: list[Reject] = []
    asks = next((r for r in scanner.rubrics if r.asks), None)
    with ExitStack() as stack:
        episodes = None if task.base else tables.Rows(stack.enter_context(audit.part(names["episodes"])), tables.EPISODES)
        verdicts = tables.Rows(stack.enter_context(audit.part(names["verdicts"])), tables.VERDICTS)
        answers = tables.Rows(stack.enter_context(audit.part(names["answers"])), tables.ANSWERS)
        flagged = tables.Lines(stack.enter_context(audit.part(names["flagged"])))
        row = 0
        for item in plan.read_units(task.units, mapping, task.skip, note):
            if isinstance(item, Reject):
                rejects.append(item)
                continue
            transcript = join.apply(item) if join else item
            ignored.update(transcript.ignored)
            questions = scanner.questions(transcript)
            parts = list(pieces(transcript, questions[0] if questions else None))
            ledger = build_ledger(transcript, parts)
            findings = scanner.findings(transcript, parts, ledger, asked=bool(questions))
            if episodes is not None:
                episodes.add(tables.episode_row(transcript, task.shard, row, content_hash(transcript)))
            some = False
            for verdict in scanner.verdicts(transcript, parts, findings, asked=bool(questions)):
                verdicts.add(tables.verdict_row(verdict, transcript.model, task.shard, row))
                some = some or bool(verdict.flagged)
            if asks is not None:
                for number, answer in enumerate(asking.answers(transcript, questions, findings[asks.id])):
                    answers.add(tables.answer_row(answer, transcript, task.shard, row, number, asks.signals_hash))
            if some or questions:
                flagged.add(transcript)
            row += 1
        counts["episodes"] = row
        for part in (episodes, verdicts, answers, flagged):
            if part is not None:
                part.close()
    counts["rejects"] = len(rejects)
    counts["bytes"] = plan.weight(task)
    _commit(audit, task, options, scanner, names, counts, ignored, rejects)
    return counts


def _commit(
    audit: Audit, task: Task, options: Options, scanner: Scanner, names: dict[str, str], counts: Counter[str],
    ignored: Counter[str], rejects: list[Reject],
) -> None:  # fmt: skip
    live = dict(task.base.rubrics) if task.base else {}
    live.update({r.id: (names["verdicts"], r.signals_hash) for r in scanner.rubrics})
    asks = any(r.asks for r in scanner.rubrics)
    flagged = [*(task.base.flagged if task.base else []), names["flagged"]]
    new = Commit(
        shard=task.shard,
        fingerprint=options.fingerprint(),
        files=[tuple(f) for f in task.files],
        units=[{"unit": unit._asdict(), "why": why} for unit, why in task.units],
        episodes=names["episodes"],
        rubrics=live,
        judged=task.base.judged if task.base else [],
        asking=task.base.asking if task.base else None,
        answers=names["answers"] if asks or task.base is None else task.base.answers,
        flagged=list(dict.fromkeys(flagged)),
        frames=task.base.frames if task.base else {},
        rejects=[tuple(r) for r in rejects],
        skip=[tuple(k) for k in task.skip],
        counts=dict(counts),
        ignored=dict(ignored),
    )
    audit.commit(new)
    if task.base:
        audit.sweep(store.parts_of(task.base) - store.parts_of(new))
