"""In which order shards are handed out, and what a second run leaves alone."""

from __future__ import annotations

import random

import orjson
import pytest
import zstandard
from conftest import GREEN, episode, write

from auditor import plan, worker
from auditor.readers import files
from auditor.rubric import load_all
from auditor.store import Audit


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """Small files, a lines file that is cut, and three that are not, the largest last by name."""
    monkeypatch.setattr(plan, "FIRST_BYTES", 2_000)
    monkeypatch.setattr(plan, "SHARD_BYTES", 8_000)
    rng = random.Random(3)
    folder = tmp_path / "logs"
    folder.mkdir()

    def made(name: str, count: int) -> list[dict[str, object]]:
        pad = {"role": "user", "content": rng.randbytes(150).hex()}
        return [episode(f"{name}-{i}", {**pad, "content": rng.randbytes(150).hex()}, *GREEN) for i in range(count)]

    for number in range(12):
        write(folder / f"a{number:02}.jsonl", made(f"a{number}", 2))
    write(folder / "b.jsonl", made("b", 100))
    for name, count in (("c", 80), ("d", 60), ("e", 160), ("f", 3)):
        lines = b"".join(orjson.dumps(e) + b"\n" for e in made(name, count))
        (folder / f"{name}.jsonl.zst").write_bytes(zstandard.compress(lines))
    assert (folder / "d.jsonl.zst").stat().st_size > 8_000 > (folder / "f.jsonl.zst").stat().st_size
    return folder


def missing(audit: Audit, folder) -> list[plan.Task]:
    found = list(files.find([str(folder)]))
    return list(plan.tasks(audit, plan.Options((str(folder),), audit.where), load_all(), found, lambda _: None))


def names(task: plan.Task) -> set[str]:
    return {f.path.rpartition("/")[2] for f in task.files}


def units(tasks: list[plan.Task]) -> list[tuple[str, int]]:
    return sorted((path, unit.start) for task in tasks for unit, _ in task.units for path in unit.paths)


@pytest.fixture
def audit(tmp_path):
    made = Audit.create(tmp_path / "audit")
    yield made
    made.close()


def test_a_small_shard_then_what_cannot_be_cut_the_largest_first_then_the_rest(audit, logs):
    first, *others = missing(audit, logs)
    assert names(first) == {"a00.jsonl"}
    assert [names(task) for task in others[:3]] == [{"e.jsonl.zst"}, {"c.jsonl.zst"}, {"d.jsonl.zst"}]
    rest = [name for task in others[3:] for name in sorted(names(task))]
    assert rest == sorted(rest)
    assert rest[-1] == "f.jsonl.zst", "no larger than a shard: in its turn"
    assert rest.count("b.jsonl") > 3


def test_every_file_once_and_its_bytes_add_up(audit, logs):
    tasks = missing(audit, logs)
    assert len(set(units(tasks))) == len(units(tasks))
    assert {path for path, _ in units(tasks)} == {str(p) for p in logs.iterdir()}
    assert sum(map(plan.weight, tasks)) == sum(p.stat().st_size for p in logs.iterdir())


@pytest.mark.parametrize("done", [1, 2, 5, 9])
def test_what_is_done_is_not_done_again_and_nothing_is_lost(audit, logs, done):
    tasks = missing(audit, logs)
    options = plan.Options((str(logs),), audit.where)
    rng = random.Random(done)
    some = rng.sample(tasks, done)
    for task in some:
        worker.scan_shard(task, options)
    again = missing(audit, logs)
    assert sorted(units(some) + units(again)) == units(tasks)
    assert sum(c.counts["bytes"] for c in audit.commits()) + sum(map(plan.weight, again)) == sum(map(plan.weight, tasks))


def test_what_is_done_is_not_opened_again(audit, logs, monkeypatch):
    for task in missing(audit, logs):
        worker.scan_shard(task, plan.Options((str(logs),), audit.where))
    monkeypatch.setattr(files, "open_plain", None)
    assert missing(audit, logs) == []
