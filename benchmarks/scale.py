"""How the tool grows: `python benchmarks/scale.py [engines|tenfold|resume|largest …] [--times 0.1] [--up-to 20000]`.

Without a name all four are measured. `--times` makes all inputs smaller, `--up-to` is the largest input of `tenfold` in
MB. Inputs are made under the temporary folder (TMPDIR) and deleted: the largest one and its audit are there at a time.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import make_logs
import orjson
import zstandard
from run import AUDITOR, timed

from auditor import pipeline, plan, store, tables, worker
from auditor.readers import files
from auditor.rubric import load_all
from auditor.store import Audit, Commit

Turns = list[list[dict[str, object]]]


def logs(folder: Path, megabytes: float, pool: Turns, *, each: float = 50, first: int = 0) -> Path:
    """A folder of lines files of about `each` MB, no episode twice."""
    folder.mkdir()
    count = max(1, round(megabytes / each))
    for number in range(count):
        make_logs.main(megabytes / count, str(folder / f"{number:05}.jsonl"), first + number + 1, pool)
    return folder


def rate(audit: Path) -> float:
    """MB a second from the moment when a tenth of the bytes was committed until the last commit.

    So neither the start of processes or of a cluster counts, nor what comes after the last shard.
    """
    done = [
        (p.stat().st_mtime, Commit.model_validate_json(p.read_bytes()).counts["bytes"]) for p in (audit / "commits").iterdir()
    ]
    done.sort()
    total, so_far, begun, counted = sum(size for _, size in done), 0, done[0][0], 0
    for moment, size in done:
        if so_far < total / 10:
            begun = moment
        else:
            counted += size
        so_far += size
    return counted / 1e6 / max(done[-1][0] - begun, 1e-9)


def scan(path: Path, audit: Path, *flags: str) -> tuple[float, int]:
    """Seconds and peak MB of the largest process of a fresh scan."""
    return timed([AUDITOR, "scan", str(path), "-o", str(audit), "--format", "json", *flags])


# ---- Ray against processes ------------------------------------------------------------------------------

CLUSTER = (
    "import sys; from ray.cluster_utils import Cluster;"
    "c = Cluster(initialize_head=True, head_node_args={'num_cpus': 2, 'include_dashboard': False});"
    "print(c.address, flush=True); sys.stdin.read(); c.shutdown()"
)


@contextmanager
def cluster() -> Iterator[str]:
    """The address of a Ray cluster of this machine, two CPUs, that is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdin
        assert process.stdout
        yield process.stdout.readline().strip()
    finally:
        process.communicate(timeout=120)


def engines(folder: Path, pool: Turns, megabytes: float) -> None:
    """Each engine three times in turn; the best rate of each counts."""
    path = logs(folder / "logs", megabytes, pool)
    best: dict[str, list[float]] = {"local": [], "ray": []}
    with cluster() as address:
        for turn in range(3):
            for engine, flags in (("local", ["--jobs", "2"]), ("ray", ["--engine", "ray", "--address", address])):
                audit = folder / f"{engine}-{turn}"
                scan(path, audit, *flags)
                best[engine].append(rate(audit))
                shutil.rmtree(audit)
    local, ray = max(best["local"]), max(best["ray"])
    print(f"| {megabytes:,.0f} MB, signals only | MB/s | of local |\n|---|---:|---:|")
    print(f"| `--engine local --jobs 2` | {local:.1f} | 1.00 |\n| `--engine ray`, 2 CPUs | {ray:.1f} | {ray / local:.2f} |\n")


# ---- ten times the input --------------------------------------------------------------------------------


def tenfold(folder: Path, pool: Turns, megabytes: float, up_to: float) -> None:
    """Inputs that grow by ten, each in a fresh audit; the smallest three times, the best counts."""
    print("| input | seconds | of a tenth of it | peak MB a process | of a tenth of it |\n|---|---:|---:|---:|---:|")
    before: tuple[float, int] | None = None
    while megabytes <= up_to:
        path = logs(folder / "logs", megabytes, pool, each=min(megabytes, 500))
        runs: list[tuple[float, int]] = []
        for _ in range(1 if before else 3):
            runs.append(scan(path, folder / "audit", "--jobs", "2"))
            shutil.rmtree(folder / "audit")
        seconds, peak = min(t for t, _ in runs), max(m for _, m in runs)
        grown = [f"{seconds / before[0]:.1f}", f"{peak / before[1]:.2f}"] if before else ["", ""]
        print(f"| {megabytes:,.0f} MB | {seconds:.1f} | {grown[0]} | {peak} | {grown[1]} |", flush=True)
        shutil.rmtree(path)
        before, megabytes = (seconds, peak), megabytes * 10
    print()


# ---- many finished shards -------------------------------------------------------------------------------

SAMPLE = 300


def small_files(folder: Path, count: int, pool: Turns) -> Path:
    """Real files of one episode of about 5 kB each, a thousand a folder."""
    rng = random.Random(7)
    some = [group for group in pool if len(orjson.dumps(group)) < 2_000]
    for number in range(count):
        target = folder / f"{number // 1000:04}" / f"{number:06}.jsonl"
        target.parent.mkdir(parents=True, exist_ok=True)
        messages = [m for group in rng.choices(some, k=8) for m in group]
        told = {"id": f"small-{number}", "model": "heron-2-large", "task": f"task-{number % 400}", "messages": messages}
        target.write_bytes(orjson.dumps(told) + b"\n")
    return folder


def one_by_one(tasks: list[plan.Task]) -> list[plan.Task]:
    """The same units, each a shard of its own."""
    return [
        plan._task([(found, unit, why)], task.rubrics)
        for task in tasks
        for found, (unit, why) in zip(task.files, task.units, strict=True)
    ]


def finished(audit: Audit, options: plan.Options, tasks: list[plan.Task]) -> None:
    """Commit shards as a scan would: the first is scanned, and stands for the others but for names and its episode's row."""
    first, *others = tasks
    worker.scan_shard(first, options)
    made = audit.load(first.shard)
    (row,) = audit.table(made.episodes, made.shard).to_pylist()
    for number, task in enumerate(others):
        name = {part: part.replace(first.shard, task.shard) for part in store.parts_of(made)}
        for part in store.parts_of(made) - {made.episodes}:
            os.link(audit.path / part, audit.path / name[part])
        # Written without waiting for the disk, as nothing here is to survive a crash.
        rows = tables.Rows(audit.path / name[made.episodes], tables.EPISODES)
        facts = {"shard": task.shard, "episode_id": f"e{number}", "source": task.files[0].path, "content_hash": f"{number:064x}"}
        rows.add(tuple({**row, **facts}.values()))
        rows.close()
        changed = {
            "shard": task.shard,
            "files": [tuple(f) for f in task.files],
            "units": [{"unit": unit._asdict(), "why": why} for unit, why in task.units],
            "episodes": name[made.episodes],
            "rubrics": {rubric: (name[part], hashed) for rubric, (part, hashed) in made.rubrics.items()},
            "answers": name[made.answers or ""],
            "flagged": [name[part] for part in made.flagged],
            "counts": {**made.counts, "bytes": plan.weight(task)},
        }
        (audit.path / "commits" / f"{task.shard}.json").write_bytes(made.model_copy(update=changed).model_dump_json().encode())


def resume(folder: Path, pool: Turns, shards: int) -> None:
    """A scan that finds all its shards done, against scanning such shards (a sample of them, in proportion)."""
    path = small_files(folder / "logs", shards, pool)
    options = plan.Options((str(path),), str(folder / "audit"), jobs=2)
    rubrics = load_all()
    audit = Audit.create(options.output)
    audit.write_about(pipeline.about_of(audit, options, rubrics))
    found = list(files.find(options.inputs))
    tasks = one_by_one(list(plan.tasks(audit, options, rubrics, found, lambda _: None)))
    start = time.perf_counter()
    other = plan.Options(options.inputs, str(folder / "sample"))
    sample = Audit.create(other.output)
    for task in tasks[:SAMPLE]:
        worker.scan_shard(task, other)
    reading = (time.perf_counter() - start) * len(tasks) / SAMPLE
    sample.close()
    finished(audit, options, tasks)
    pipeline.finish(audit)
    audit.close()
    took = {name: f"{seconds:.1f}" for name, seconds in parts_of_a_resume(options, rubrics)}
    runs = [scan(path, folder / "audit", "--jobs", "2") for _ in range(2)]
    seconds, peak = min(t for t, _ in runs), max(m for _, m in runs)
    print(f"| {len(tasks):,} shards, all done | seconds | of scanning them |\n|---|---:|---:|")
    print(f"| scanning them, one process (from {SAMPLE}) | {reading:.0f} | 1.00 |")
    print(f"| `auditor scan` again, {peak} MB | {seconds:.1f} | {seconds / reading:.3f} |")
    for name, told in took.items():
        print(f"| of that: {name} | {told} | |")
    seconds, peak = timed([AUDITOR, "compact", str(folder / "audit"), "--now"])
    print(f"| `auditor compact`, {peak} MB | {seconds:.1f} | {seconds / reading:.3f} |")
    seconds, peak = min(scan(path, folder / "audit", "--jobs", "2") for _ in range(2))
    print(f"| `auditor scan` again after that, {peak} MB | {seconds:.1f} | {seconds / reading:.3f} |\n")


def parts_of_a_resume(options: plan.Options, rubrics: list[object]) -> Iterator[tuple[str, float]]:
    """What a scan does when all is done, step by step: name and seconds."""
    from auditor import query, show

    def clock() -> float:
        nonlocal last
        last, before = time.perf_counter(), last
        return last - before

    last = time.perf_counter()
    found = list(files.find(options.inputs))
    yield "listing the logs", clock()
    audit = Audit.create(options.output)
    try:
        audit.sweep(audit.orphans())
        yield "looking for what a kill left", clock()
        assert not list(plan.tasks(audit, options, rubrics, found, lambda _: None))  # type: ignore[arg-type]
        yield "reading commits, what is missing", clock()
        pipeline.finish(audit)
        yield "finishing", clock()
        show.summary_facts(query.connect(audit))
        yield "the table that is printed", clock()
    finally:
        audit.close()


# ---- one large file among small ones --------------------------------------------------------------------


def largest(folder: Path, pool: Turns, megabytes: float) -> None:
    """Small files and a compressed one of as much, which one process reads alone, last by name: handed out in order, and first."""
    path = logs(folder / "logs", megabytes, pool, each=5)
    make_logs.main(megabytes, str(folder / "z.jsonl"), 10_000_000, pool)
    with (folder / "z.jsonl").open("rb") as plain, (path / "z.jsonl.zst").open("wb") as packed:
        # Hardly packed: these episodes are made of the same turns over and over, real ones pack far less.
        zstandard.ZstdCompressor(level=-100_000).copy_stream(plain, packed)
    (folder / "z.jsonl").unlink()
    code = (
        "import sys; from auditor import plan, pipeline;"
        "exec('' if sys.argv[3] == 'first' else 'plan._large = lambda *_: []');"
        "pipeline.scan(plan.Options((sys.argv[1],), sys.argv[2], jobs=2))"
    )
    assert (path / "z.jsonl.zst").stat().st_size > plan.SHARD_BYTES
    best: dict[str, float] = {}
    for _ in range(3):
        for order in ("in order", "first"):
            audit = folder / "audit"
            seconds, _ = timed([sys.executable, "-c", code, str(path), str(audit), order])
            best[order] = min(seconds, best.get(order, seconds))
            shutil.rmtree(audit)
    print(f"| {megabytes:,.0f} MB in files of 5 MB, and {megabytes:,.0f} MB in one `.zst` | seconds | ratio |\n|---|---:|---:|")
    print(f"| in the order of names | {best['in order']:.1f} | 1.00 |")
    print(f"| the largest first | {best['first']:.1f} | {best['first'] / best['in order']:.2f} |\n")


def main() -> None:
    """Measure what is named."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("names", nargs="*", choices=["engines", "tenfold", "resume", "largest", []])
    reader.add_argument("--times", type=float, default=1.0)
    reader.add_argument("--up-to", type=float, default=2_000)
    given = reader.parse_args()
    pool = make_logs.turns()
    runs = {
        "engines": lambda folder: engines(folder, pool, 2_000 * given.times),
        "tenfold": lambda folder: tenfold(folder, pool, 200 * given.times, given.up_to * given.times),
        "resume": lambda folder: resume(folder, pool, round(100_000 * given.times)),
        "largest": lambda folder: largest(folder, pool, 300 * given.times),
    }
    for name in given.names or runs:
        with tempfile.TemporaryDirectory(prefix="auditor-scale-") as folder:
            runs[name](Path(folder))


if __name__ == "__main__":
    main()
