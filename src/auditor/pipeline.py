"""Source → detectors → store: scan each shard in a worker, commit, and finish.

`scan_shard` is the whole worker: it streams a shard's transcripts through ledger and signals into Parquet
parts and commits them.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import orjson

from auditor import asked as asking
from auditor import plan, store
from auditor.engines import Died, Engine
from auditor.engines.local import Local, alone
from auditor.errors import AuditorError, StoreError
from auditor.join import Join
from auditor.judging import Judging, Stage
from auditor.ledger import build as build_ledger
from auditor.plan import Killer, Options, Task
from auditor.readers import files
from auditor.readers import mapping as mappings
from auditor.readers.base import Reject
from auditor.rubric import Rubric, load_all, path_of
from auditor.signals import Scanner
from auditor.store import Audit, Commit
from auditor.transcript import content_hash, pieces


@dataclass
class Progress:
    """Counts so far, for whoever watches: `counts` has episodes, rejects, bytes and shards; `stage` is the judge at work."""

    total_bytes: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    stage: Stage | None = None


def scan(
    options: Options,
    report: Callable[[Progress], None] = lambda _: None,
    judging: Judging | None = None,
    engine: Engine | None = None,
) -> Audit:
    """Run a scan to its end, doing only what is missing. The returned audit is finished and unlocked.

    `engine` says where the work is done (default: processes on this machine).

    With `judging` an LLM judges each shard while the scan goes on, and the audit's other shards after them; without
    inputs it judges what is there. Raises AuditorError for what a user can mend; KeyboardInterrupt leaves an audit that
    the next run takes up.
    """
    rubrics = load_all(path_of(options.rubrics))
    found = list(files.find(options.inputs))
    if options.mapping:
        mappings.load(options.mapping)
    if options.join:
        Join.load(options.join)
    if judging is not None:
        judging.options.setup()  # so that a mistake is told before the scan
    audit = Audit.create(options.output)
    stage: Stage | None = None
    try:
        audit.write_about(about_of(audit, options, rubrics))
        audit.tidy()
        progress = Progress(sum(f.size for f in found))
        stage = progress.stage = judging.start(audit, options, rubrics) if judging else None

        def keep(commit: Commit) -> None:
            progress.counts.update({"episodes": commit.counts.get("episodes", 0), "bytes": commit.counts.get("bytes", 0)})
            if stage is not None:
                stage.put(commit.shard)

        for shard, done in _run(plan.tasks(audit, options, rubrics, found, keep), options, engine or Local(options.jobs, _small)):
            progress.counts.update(done)
            if stage is not None:
                stage.put(shard)
            report(progress)
        if stage is not None:
            for commit in audit.commits():
                stage.put(commit.shard)
            stage.finish(lambda: report(progress))
        finish(audit)
        if stage is not None:
            stage.last_word()
    except OSError as error:
        raise StoreError(
            f"{options.output}: {error.strerror or error}; what was done is kept, run the same command again"
        ) from error
    finally:
        if stage is not None:
            stage.cancel()
        audit.close()
    return audit


def about_of(audit: Audit, options: Options, rubrics: Sequence[Rubric]) -> store.About:
    """What `audit.json` says of a scan with these options; what it knew of an earlier one stays."""
    from importlib.metadata import version

    known = audit.about() if audit.disk.exists("audit.json") else None
    given = [os.path.abspath(i) if "://" not in i else i for i in options.inputs]
    return store.About(
        auditor=version("auditor"),
        created=known.created if known else _now(),
        judge=known.judge if known else {},
        scan={"rubrics": options.rubrics, "mapping": options.mapping, "join": options.join},
        ask=known.ask if known else {},
        inputs=list(dict.fromkeys([*(known.inputs if known else []), *given])),
        rubrics=[
            {
                "id": r.id,
                "title": r.title,
                "version": r.version,
                "status": r.status,
                "question": r.question,
                "hash": r.signals_hash,
            }
            for r in rubrics
        ],
    )


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat(timespec="seconds")


# ---- the worker -----------------------------------------------------------------------------------------


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
        episodes = None if task.base else store.Rows(stack.enter_context(audit.part(names["episodes"])), store.EPISODES)
        verdicts = store.Rows(stack.enter_context(audit.part(names["verdicts"])), store.VERDICTS)
        answers = store.Rows(stack.enter_context(audit.part(names["answers"])), store.ANSWERS)
        flagged = store.Lines(stack.enter_context(audit.part(names["flagged"])))
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
                episodes.add(store.episode_row(transcript, task.shard, row, content_hash(transcript)))
            some = False
            for verdict in scanner.verdicts(transcript, parts, findings, asked=bool(questions)):
                verdicts.add(store.verdict_row(verdict, transcript.model, task.shard, row))
                some = some or bool(verdict.flagged)
            if asks is not None:
                for number, answer in enumerate(asking.answers(transcript, questions, findings[asks.id])):
                    answers.add(store.answer_row(answer, transcript, task.shard, row, number, asks.signals_hash))
            if some or questions:
                flagged.add(transcript)
            row += 1
        counts["episodes"] = row
        for part in (episodes, verdicts, answers, flagged):
            if part is not None:
                part.close()
    counts["rejects"] = len(rejects)
    ranges = sum(unit.end - unit.start for unit, _ in task.units if unit.end)
    counts["bytes"] = ranges or sum(f.size for f in task.files)
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


# ---- running --------------------------------------------------------------------------------------------

_MOST_KILLERS = 20
_SMALL = 4 << 20


def _small(task: Task) -> bool:
    """Whether a first shard is done in this process, so that a judge need not wait for workers: no record of it can be large."""
    return sum(f.size for f in task.files) <= _SMALL


def _run(tasks: Iterator[Task], options: Options, engine: Engine) -> Iterator[tuple[str, Counter[str]]]:
    """Scan tasks by an engine. A shard whose worker dies is done again record by record, to find what kills it."""
    for task, made in engine.run(partial(scan_shard, options=options), tasks):
        yield task.shard, _carefully(task, options) if isinstance(made, Died) else made


def _carefully(task: Task, options: Options) -> Counter[str]:
    """Scan a shard in a process of its own that notes each record before it reads it; what kills it is left out, and rejected."""
    with tempfile.TemporaryDirectory(prefix="auditor-") as folder:
        notes = os.path.join(folder, "record")
        while len(task.skip) < _MOST_KILLERS:
            made = alone(partial(scan_shard, options=options, notes=notes), task)
            if not isinstance(made, Died):
                return made
            killer = Killer(*orjson.loads(Path(notes).read_bytes())) if os.path.exists(notes) else None
            if killer is None or killer in task.skip:
                break
            task = task._replace(skip=(*task.skip, killer))
    names = ", ".join(dict.fromkeys(f.path for f in task.files[:3]))
    raise AuditorError(
        f"a worker dies again and again near {names} (out of memory?); give it more memory, or leave these files out"
    )


# ---- finishing ------------------------------------------------------------------------------------------


def finish(audit: Audit) -> None:
    """Find duplicates, write `rejects.jsonl`, and put the counts into `audit.json`."""
    from auditor.duplicates import find_duplicates

    commits = list(audit.commits())
    summary: Counter[str] = Counter()
    ignored: Counter[str] = Counter()
    for commit in commits:
        summary.update({k: commit.counts.get(k, 0) for k in ("episodes", "rejects")})
        ignored.update(commit.ignored)
    summary["files"] = len({path for commit in commits for path, _, _ in commit.files})
    summary["ignored_records"] = sum(ignored.values())
    dropped, renamed = find_duplicates(audit, commits)
    summary["duplicates"], summary["renamed"] = dropped, renamed
    summary["episodes"] -= dropped
    rejects = sorted(
        r for commit in commits for r in ((p, ln or 0, o or 0, reason, hint) for p, ln, o, reason, hint in commit.rejects)
    )
    audit.write(
        "rejects.jsonl", b"".join(store.reject_line((p, ln or None, o, reason, hint)) for p, ln, o, reason, hint in rejects)
    )
    audit.write_about(audit.about().model_copy(update={"summary": dict(summary), "finished": _now()}))
