"""Source → detectors → store: scan each shard in a worker, commit, and finish.

What a worker does with a shard is in `worker.py`.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import orjson

from auditor import plan, store, tables
from auditor.engines import Died, Engine
from auditor.engines.local import Local, alone
from auditor.errors import AuditorError, ServerError, StoreError
from auditor.join import Join
from auditor.judging import Judging, Stage, afar, remember
from auditor.judging.afar import Afar, Done, Order, Shard
from auditor.llm.limits import Shared
from auditor.plan import Killer, Options, Task
from auditor.readers import files
from auditor.readers import mapping as mappings
from auditor.rubric import Rubric, load_all, path_of
from auditor.store import Audit, Commit
from auditor.worker import scan_shard

Judge = Stage | Afar
"""The judge at work: beside the scan, or on the workers of an engine."""


@dataclass
class Progress:
    """Counts so far, for whoever watches: `counts` has episodes, rejects, bytes and shards; `stage` is the judge at work."""

    total_bytes: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    stage: Judge | None = None


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
    engine = engine or Local(options.jobs, _small)
    audit = Audit.create(options.output)
    stage: Judge | None = None
    try:
        audit.write_about(about_of(audit, options, rubrics))
        audit.tidy()
        progress = Progress(sum(f.size for f in found))
        stage = progress.stage = _judge(audit, options, judging, rubrics, engine) if judging else None

        def keep(commit: Commit) -> None:
            progress.counts.update({"episodes": commit.counts.get("episodes", 0), "bytes": commit.counts.get("bytes", 0)})
            if stage is not None:
                stage.again(commit)

        def run(tasks: Iterator[Task]) -> None:
            for counts in _run(tasks, options, engine, stage):
                progress.counts.update(counts)
                report(progress)

        run(plan.tasks(audit, options, rubrics, found, keep))
        if stage is not None and judging is not None:
            for commit in audit.commits():
                stage.again(commit)
            if isinstance(stage, Stage):
                stage.finish(lambda: report(progress))
            else:
                run(iter(()))
            if not judging.dry:
                remember(audit, judging.options, stage.stats)
        finish(audit)
        if stage is not None and stage.word:
            raise ServerError(stage.word)
    except OSError as error:
        raise StoreError(
            f"{options.output}: {error.strerror or error}; what was done is kept, run the same command again"
        ) from error
    finally:
        if isinstance(stage, Stage):
            stage.cancel()
        engine.stop()
        audit.close()
    return audit


def _judge(audit: Audit, options: Options, judging: Judging, rubrics: Sequence[Rubric], engine: Engine) -> Judge:
    """Where verdicts are made with a real server, and the engine has workers elsewhere, these judge."""
    limits = None if judging.open_door else engine.share(Shared, judging.options.max_cost)
    return judging.start(audit, options, rubrics) if limits is None else Afar(audit, options, judging, rubrics, limits)


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
        duplicates=known.duplicates if known else None,
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


# ---- running --------------------------------------------------------------------------------------------

_MOST_KILLERS = 20
_SMALL = 4 << 20


def _small(task: Task) -> bool:
    """Whether a first shard is done in this process, so that a judge need not wait for workers: no record of it can be large."""
    return sum(f.size for f in task.files) <= _SMALL


def _run(tasks: Iterator[Task], options: Options, engine: Engine, stage: Judge | None) -> Iterator[Counter[str]]:
    """Scan tasks by an engine, and hand them to the judge; judge by the engine too where that is afar. Counts of what was scanned.

    A shard whose worker dies is done again record by record, to find what kills it.
    """
    far = stage if isinstance(stage, Afar) else None
    jobs: Iterator[Task | Shard] = far.turns(tasks) if far else tasks
    for job, made in engine.run(partial(_work, options=options, order=far.order if far else None), jobs):
        counts: Counter[str] = Counter()
        if isinstance(job, Task):
            counts = _carefully(job, options) if isinstance(made, Died) else made
            if stage is not None:
                stage.put(job.shard, counts["episodes"])
        elif far is not None and isinstance(made, Died):
            far.give_up(job, made.why)
        elif far is not None:
            far.take(cast(Done, made))
        yield counts


def _work(job: Task | Shard, options: Options, order: Order | None) -> Any:
    """What a worker does: scan a shard (its counts), or judge one (`afar.Done`)."""
    if isinstance(job, Task):
        return scan_shard(job, options)
    assert order is not None
    return afar.judge(job, order)


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
    found = find_duplicates(audit, commits)
    summary["duplicates"], summary["renamed"] = found.dropped, found.renamed
    summary["episodes"] -= found.dropped
    rejects = sorted(
        r for commit in commits for r in ((p, ln or 0, o or 0, reason, hint) for p, ln, o, reason, hint in commit.rejects)
    )
    audit.write(
        "rejects.jsonl", b"".join(tables.reject_line((p, ln or None, o, reason, hint)) for p, ln, o, reason, hint in rejects)
    )
    audit.write_about(audit.about().model_copy(update={"summary": dict(summary), "duplicates": found, "finished": _now()}))
