"""Source → detectors → store: plan shards, scan each in a worker, commit, and finish.

A shard is some files, or a byte range of a large lines file. `scan_shard` is the whole worker: it streams the
shard's transcripts through ledger and signals into Parquet parts and commits them.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from auditor import asked as asking
from auditor import readers, store
from auditor.errors import AuditorError, InputError, StoreError
from auditor.join import Join
from auditor.ledger import build as build_ledger
from auditor.readers import Unit, files
from auditor.readers import mapping as mappings
from auditor.readers.auditor import write as write_line
from auditor.readers.base import Reader, Reject
from auditor.rubric import ENGINE_VERSION, Rubric, load_all
from auditor.signals import Scanner
from auditor.store import Audit, Commit
from auditor.transcript import Transcript, content_hash, pieces

SHARD_BYTES = 32 << 20
SHARD_FILES = 512
REJECT, COMPANION = "!", "+"
"""In place of a reader's name: a file that cannot be read (with the reason), a file read beside another."""


@dataclass(frozen=True)
class Options:
    """What a scan is told. Paths are as the user gave them."""

    inputs: tuple[str, ...]
    output: str
    rubrics: str | None = None
    mapping: str | None = None
    join: str | None = None
    jobs: int = 1

    def fingerprint(self) -> str:
        """Changes when the same source could give other transcripts."""
        parts = [f"{r.name}:{r.version}" for r in readers.registry().values()]
        for path in (self.mapping, self.join):
            parts.append(hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else "")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


class Task(NamedTuple):
    """One shard to scan with the rubrics named; `base` is its commit where it was done with other rubrics."""

    shard: str
    files: tuple[files.Found, ...]
    units: tuple[tuple[Unit, str], ...]
    rubrics: tuple[str, ...]
    base: Commit | None = None


@dataclass
class Progress:
    """Counts so far, for whoever watches: `counts` has episodes, rejects, bytes and shards."""

    total_bytes: int = 0
    counts: Counter[str] = field(default_factory=Counter)


def scan(options: Options, report: Callable[[Progress], None] = lambda _: None) -> Audit:
    """Run a scan to its end, doing only what is missing. The returned audit is finished and unlocked.

    Raises AuditorError for what a user can mend; KeyboardInterrupt leaves an audit that the next run takes up.
    """
    rubrics = load_all(Path(options.rubrics) if options.rubrics else None)
    found = list(files.find(options.inputs))
    audit = Audit.create(options.output)
    try:
        audit.write_about(_about(audit, options, rubrics))
        audit.sweep(audit.orphans())
        progress = Progress(sum(f.size for f in found))
        tasks = _tasks(audit, options, rubrics, found, progress)
        for done in _run(tasks, options):
            progress.counts.update(done)
            report(progress)
        finish(audit)
    except OSError as error:
        raise StoreError(f"{options.output}: {error.strerror or error}; what was done is kept, run the same command again") from error
    finally:
        audit.close()
    return audit


def _about(audit: Audit, options: Options, rubrics: Sequence[Rubric]) -> store.About:
    from importlib.metadata import version

    known = audit.about() if (audit.path / "audit.json").exists() else None
    given = [os.path.abspath(i) if "://" not in i else i for i in options.inputs]
    return store.About(
        auditor=version("auditor"),
        created=known.created if known else _now(),
        inputs=list(dict.fromkeys([*(known.inputs if known else []), *given])),
        rubrics=[
            {"id": r.id, "title": r.title, "version": r.version, "status": r.status, "question": r.question, "hash": r.signals_hash}
            for r in rubrics
        ],
    )


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat(timespec="seconds")


# ---- planning -------------------------------------------------------------------------------------------


def _tasks(
    audit: Audit, options: Options, rubrics: Sequence[Rubric], found: Sequence[files.Found], progress: Progress
) -> Iterator[Task]:
    """What is missing: shards never done, sources that changed, rubrics that changed."""
    hashes = {r.id: r.signals_hash for r in rubrics}
    here = {f.path: f for f in found}
    fingerprint = options.fingerprint()
    done: set[tuple[str, int]] = set()
    for commit in audit.commits():
        given = [f for f in commit.files if f[0] in here]
        if given and (commit.fingerprint != fingerprint or any(here[f[0]] != f for f in given)):
            audit.drop(commit)
            continue
        units = tuple((Unit(**{**u["unit"], "paths": tuple(u["unit"]["paths"])}), u["why"]) for u in commit.units)
        done.update((path, unit.start) for unit, _ in units for path in unit.paths)
        stale = tuple(r for r, h in hashes.items() if commit.rubrics.get(r, ("", ""))[1] != h)
        if stale and len(given) == len(commit.files):
            yield Task(commit.shard, tuple(files.Found(*f) for f in commit.files), units, stale, commit)
        elif not stale:
            progress.counts.update({"kept": commit.counts.get("episodes", 0), "bytes": commit.counts.get("bytes", 0)})
    mapping = mappings.load(options.mapping) if options.mapping else None
    # A file over SHARD_BYTES may be done in part; a smaller one is whole or not there, and is not opened again.
    todo = (f for f in found if f.size > SHARD_BYTES or (f.path, 0) not in done)
    missing = (u for u in _units(todo, mapping) if (u[1].paths[0], u[1].start) not in done)
    yield from _pack(missing, tuple(hashes))


def _pack(units: Iterable[tuple[files.Found, Unit, str, int]], rubrics: tuple[str, ...]) -> Iterator[Task]:
    """Units in order, packed into shards of at most `SHARD_BYTES` and `SHARD_FILES`."""
    batch: list[tuple[files.Found, Unit, str]] = []
    size = 0
    for found, unit, why, weight in units:
        if batch and (size + weight > SHARD_BYTES or len(batch) >= SHARD_FILES):
            yield _task(batch, rubrics)
            batch, size = [], 0
        batch.append((found, unit, why))
        size += weight
    if batch:
        yield _task(batch, rubrics)


def _task(batch: list[tuple[files.Found, Unit, str]], rubrics: tuple[str, ...]) -> Task:
    name = hashlib.sha256(repr([(f, u, w) for f, u, w in batch]).encode()).hexdigest()[:16]
    extra = [files.Found(*_stat(path)) for _, unit, _ in batch for path in unit.paths[1:]]
    return Task(name, (*(f for f, _, _ in batch), *extra), tuple((u, w) for _, u, w in batch), rubrics)


def _stat(path: str) -> tuple[str, int, str]:
    return next(iter(files.find([path])))


def _units(found: Iterable[files.Found], mapping: Reader | None) -> Iterator[tuple[files.Found, Unit, str, int]]:
    """Each file as units with its weight in bytes; files of one event each are grouped by folder."""
    group: list[files.Found] = []
    group_unit: Unit | None = None
    for file in found:
        unit, why, grouped = _identify(file, mapping)
        if group and group_unit and not (grouped and unit.reader == group_unit.reader and _folder(file) == _folder(group[0])):
            yield group[0], group_unit._replace(paths=tuple(g.path for g in group)), "", sum(g.size for g in group)
            group = []
        if grouped:
            group.append(file)
            group_unit = unit
        elif file.size > SHARD_BYTES and _by_record(unit, mapping) and files.splittable(file.path):
            for start in range(0, file.size, SHARD_BYTES):
                yield file, unit._replace(start=start, end=start + SHARD_BYTES), "", SHARD_BYTES
        else:
            yield file, unit, why, file.size
    if group and group_unit:
        yield group[0], group_unit._replace(paths=tuple(g.path for g in group)), "", sum(g.size for g in group)


def _folder(file: files.Found) -> str:
    return file.path.rpartition("/")[0]


def _by_record(unit: Unit, mapping: Reader | None) -> bool:
    reader = mapping or readers.registry().get(unit.reader)
    return unit.container == "lines" and reader is not None and reader.kind in ("raw", "record")


def _identify(file: files.Found, mapping: Reader | None) -> tuple[Unit, str, bool]:
    """The unit of a file, why it cannot be read (with REJECT), and whether it is one event of a folder."""
    try:
        head = files.head(file.path)
        if head is None:
            return Unit((file.path,), REJECT, "lines"), "empty file", False
        beside = None if mapping else readers.companion(head)
        if beside:
            return Unit((file.path,), COMPANION, head.container), beside, False
        reader = mapping or readers.sniff(head)
        return Unit((file.path,), reader.name, head.container), "", reader.group(head)
    except (InputError, *files.READ_ERRORS) as error:
        return Unit((file.path,), REJECT, "lines"), str(error) or type(error).__name__, False


# ---- the worker -----------------------------------------------------------------------------------------


@cache
def _scanner(folder: str | None, only: tuple[str, ...]) -> Scanner:
    return Scanner([r for r in load_all(Path(folder) if folder else None) if r.id in only])


def scan_shard(task: Task, options: Options) -> Counter[str]:
    """Scan one shard into its parts and commit it; returns its counts. Runs in a worker process."""
    audit = Audit(Path(options.output))
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
        for item in _read(task, mapping):
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


def _read(task: Task, mapping: Reader | None) -> Iterator[Transcript | Reject]:
    for unit, why in task.units:
        if unit.reader == REJECT:
            yield Reject(unit.paths[0], None, None, why, "" if "auditor formats" in why else "see 'auditor formats' for what can be read")
        elif unit.reader != COMPANION:
            yield from readers.read(unit, mapping or readers.registry()[unit.reader])


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
        answers=names["answers"] if asks or task.base is None else task.base.answers,
        flagged=list(dict.fromkeys(flagged)),
        rejects=[tuple(r) for r in rejects],
        counts=dict(counts),
        ignored=dict(ignored),
    )
    audit.commit(new)
    if task.base:
        audit.sweep(store.parts_of(task.base) - store.parts_of(new))


# ---- running --------------------------------------------------------------------------------------------


def _run(tasks: Iterator[Task], options: Options) -> Iterator[Counter[str]]:
    """Scan tasks, in this process or in `jobs` of them; the order of completion does not matter."""
    if options.jobs <= 1:
        yield from (scan_shard(task, options) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=context, initializer=_ignore_interrupt) as pool:
        flying: dict[Any, Task] = {}
        try:
            while True:
                while len(flying) < options.jobs * 2 and (task := next(tasks, None)) is not None:
                    flying[pool.submit(scan_shard, task, options)] = task
                if not flying:
                    return
                done, _ = wait(flying, return_when=FIRST_COMPLETED)
                for future in done:
                    task = flying.pop(future)
                    yield future.result()
        except BrokenProcessPool:
            names = ", ".join(t.files[0].path for t in flying.values()) or "a file"
            raise AuditorError(f"a worker died (out of memory?) near {names}; run again with --jobs 1 to see which") from None
        except BaseException:
            for process in list(pool._processes.values()):
                process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def read_all(inputs: Iterable[str], mapping: str | None = None, join: str | None = None) -> Iterator[Transcript | Reject]:
    """Stream everything in files, folders, globs or URLs as transcripts and rejects, in this process."""
    reader = mappings.load(mapping) if mapping else None
    joined = Join.load(join) if join else None
    for task in _pack(_units(files.find(inputs), reader), ()):
        for item in _read(task, reader):
            yield joined.apply(item) if joined and isinstance(item, Transcript) else item


def convert(inputs: Iterable[str], output: str, mapping: str | None, join: str | None) -> tuple[int, list[Reject]]:
    """Write everything in `inputs` as the project's own JSON Lines ('-': standard output); returns how many, and the rejects."""
    done = 0
    rejects: list[Reject] = []
    try:
        with open(output, "wb") if output != "-" else nullcontext(sys.stdout.buffer) as stream:
            for item in read_all(inputs, mapping, join):
                if isinstance(item, Reject):
                    rejects.append(item)
                else:
                    stream.write(write_line(item))
                    done += 1
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StoreError(f"{output}: cannot write here ({error.strerror})") from None
    return done, rejects


# ---- finishing ------------------------------------------------------------------------------------------


def finish(audit: Audit) -> None:
    """Find duplicates, write `rejects.jsonl`, and put the counts into `audit.json`."""
    from auditor.query import find_duplicates

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
    rejects = sorted(r for commit in commits for r in ((p, ln or 0, o or 0, reason, hint) for p, ln, o, reason, hint in commit.rejects))
    audit.write("rejects.jsonl", b"".join(store.reject_line((p, ln or None, o, reason, hint)) for p, ln, o, reason, hint in rejects))
    audit.write_about(audit.about().model_copy(update={"summary": dict(summary), "finished": _now()}))
