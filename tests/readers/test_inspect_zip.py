"""Large Inspect logs, written by inspect_ai: cut into ranges of samples, an audit is what it is of the log in one piece."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import fsspec
import pytest
from conftest import GREEN, RED
from test_inspect import log, sample

from auditor import plan, query
from auditor.convert import read_all
from auditor.readers import files
from auditor.store import Audit

pytest.importorskip("inspect_ai")

pytestmark = pytest.mark.slow
AUDITOR = str(Path(sys.executable).with_name("auditor"))
TABLES = (
    "SELECT episode_id, rubric, status, flagged, attributes, rationale FROM verdicts ORDER BY ALL",
    'SELECT episode_id, rubric, signal, message, channel, "start", "end", quote FROM evidence ORDER BY ALL',
    "SELECT * FROM episodes ORDER BY ALL",
)


def written(path: Path, numbers: range, megabytes: float = 2.0, more: dict[int, dict[str, object]] | None = None) -> Path:
    """A log of samples, every third of them red, each with a store (which no reader keeps) of so many megabytes."""
    from inspect_ai.log import EvalLog, write_eval_log

    def chat(number: int) -> list[dict[str, object]]:
        said = json.loads(json.dumps(GREEN if number % 3 else RED))
        for message in said:
            message["source"] = "generate" if message["role"] == "assistant" else None
            for call in message.get("tool_calls", []):
                call.update(function=call.pop("name"), type="function")
        return [{"role": "user", "content": f"Job {number}."}, *said]

    def one(number: int) -> dict[str, object]:
        pad = random.Random(number).randbytes(int(megabytes * 500_000)).hex()
        return sample(number, epoch=1, messages=chat(number), **{"store": {"pad": pad}, **(more or {}).get(number, {})})

    write_eval_log(EvalLog.model_validate(log(*map(one, numbers))), str(path), format="eval")
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """A log of 60 samples and 120 MB unpacked."""
    return written(tmp_path_factory.mktemp("log") / "large.eval", range(60))


@pytest.fixture(scope="module")
def whole(large, tmp_path_factory) -> list[list[tuple[object, ...]]]:
    """The audit of the log in one piece."""
    target = tmp_path_factory.mktemp("whole") / "audit"
    code = "import sys; from auditor import plan, pipeline; plan.SHARD_BYTES = 1 << 40; pipeline.scan(plan.Options((sys.argv[1],), sys.argv[2]))"
    subprocess.run([sys.executable, "-c", code, str(large), str(target)], check=True)
    assert len(list((target / "commits").iterdir())) == 1
    return tables(target)


def tables(path: Path) -> list[list[tuple[object, ...]]]:
    con = query.connect(Audit.open(path))
    return [query.run(con, sql)[1] for sql in TABLES]


def rejects(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (path / "rejects.jsonl").read_bytes().splitlines()]


def ranges(path: Path | str) -> list[plan.Range]:
    (found,) = files.find([str(path)])
    return [(unit.start, unit.end, size) for _, unit, _, size in plan.units_of([found], None)]


def test_ranges_cover_the_file_and_follow_what_is_unpacked(large):
    made = ranges(large)
    assert made == ranges(large)
    assert [start for start, _, _ in made[1:]] == [end for _, end, _ in made[:-1]]
    assert (made[0][0], made[-1][1]) == (0, large.stat().st_size)
    assert len(made) == 4
    assert all(size <= plan.SHARD_BYTES for _, _, size in made)
    assert sum(size for _, _, size in made) > large.stat().st_size


def test_a_small_log_and_one_that_is_no_zip_stay_whole(large, tmp_path):
    assert [r[:2] for r in ranges(written(tmp_path / "small.eval", range(10)))] == [(0, None)]
    (tmp_path / "large.json").write_text(json.dumps(log(sample(1, store={"pad": "x" * 300_000}))))
    assert [r[:2] for r in ranges(tmp_path / "large.json")] == [(0, None)]
    (tmp_path / "cut.eval").write_bytes(large.read_bytes()[:-100])
    assert [r[:2] for r in ranges(tmp_path / "cut.eval")] == [(0, None)]


def test_cut_and_by_two_processes_the_audit_is_the_same(auditor, tmp_path, large, whole):
    auditor("scan", large, "-o", "audit", "--jobs", "2")
    commits = list(Audit.open(tmp_path / "audit").commits())
    assert len(commits) == 4
    assert tables(tmp_path / "audit") == whole
    assert sum(c.counts["bytes"] for c in commits) == large.stat().st_size
    # The n-th transcript of a shard, read again, is row n.
    con = query.connect(Audit.open(tmp_path / "audit"))
    for commit in commits:
        rows = query.run(con, "SELECT episode_id FROM _rows WHERE shard = ? ORDER BY row", [commit.shard])[1]
        assert [t.id for t in plan.transcripts_in(commit, None, None)] == [name for (name,) in rows]
    assert "Job 7." in auditor("show", "audit", "u7").stdout, "not flagged: read again from the log"
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "audit").rglob("*.parquet")}
    auditor("scan", large, "-o", "audit", "--jobs", "2")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "audit").rglob("*.parquet")} == before


def test_a_log_on_object_storage_is_cut_too(large):
    storage = fsspec.filesystem("memory")
    storage.pipe("/logs/large.eval", large.read_bytes())
    assert ranges("memory://logs/large.eval") == ranges(large)
    assert [t.id for t in read_all(["memory://logs/large.eval"])] == [f"u{i}" for i in range(60)]


def test_killed_again_and_again_the_audit_is_the_same(tmp_path, large, whole):
    command = [AUDITOR, "scan", str(large), "-o", str(tmp_path / "audit"), "--jobs", "2"]
    rng = random.Random(5)
    kept: dict[Path, int] = {}
    for _ in range(6):
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(2 + 4 * rng.random())
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        now = {p: p.stat().st_mtime_ns for p in (tmp_path / "audit" / "commits").glob("*.json")}
        assert kept.items() <= now.items(), "what was committed stays"
        kept = now
    subprocess.run(command, check=True, capture_output=True)
    assert tables(tmp_path / "audit") == whole


def test_a_broken_sample_costs_itself_alone(auditor, tmp_path, large):
    data = bytearray(large.read_bytes())
    with zipfile.ZipFile(large) as opened:
        at = opened.getinfo("samples/41_epoch_1.json").header_offset
    data[at + 60 : at + 5000] = bytes(4940)
    (tmp_path / "broken.eval").write_bytes(data)
    auditor("scan", "broken.eval", "-o", "audit", "--jobs", "2")
    assert {n for n, *_ in tables(tmp_path / "audit")[2]} == {f"u{i}" for i in range(60) if i != 41}
    (reject,) = rejects(tmp_path / "audit")
    assert str(reject["reason"]).startswith("sample 41 epoch 1: ")


def test_a_log_whose_header_is_broken_is_set_aside_once(auditor, tmp_path, large):
    with zipfile.ZipFile(large) as good, zipfile.ZipFile(tmp_path / "broken.eval", "w") as bad:
        for member in good.infolist():
            bad.writestr(member, b"{}" if member.filename == "header.json" else good.read(member))
    auditor("scan", "broken.eval", "-o", "audit")
    assert len(list(Audit.open(tmp_path / "audit").commits())) == 4
    (reject,) = rejects(tmp_path / "audit")
    assert "the rest" in str(reject["hint"]) or "formats" in str(reject["hint"])


def test_a_sample_that_is_only_in_the_summaries_is_told_once(auditor, tmp_path, large):
    with zipfile.ZipFile(large) as good, zipfile.ZipFile(tmp_path / "lacks.eval", "w") as bad:
        for member in good.infolist():
            if member.filename != "samples/41_epoch_1.json":
                bad.writestr(member, good.read(member))
    auditor("scan", "lacks.eval", "-o", "audit")
    assert [r["reason"] for r in rejects(tmp_path / "audit")] == ["sample 41 epoch 1: its summary is there, the sample is not"]


def test_a_log_of_no_samples_says_so_once(auditor, tmp_path):
    written(tmp_path / "none.eval", range(0))
    auditor("scan", "none.eval", "-o", "audit")
    assert [r["reason"] for r in rejects(tmp_path / "audit")] == ["the log has no samples (status success)"]


def test_a_log_that_is_replaced_by_a_longer_one_is_read_anew(auditor, tmp_path):
    written(tmp_path / "log.eval", range(20))
    auditor("scan", "log.eval", "-o", "audit")
    written(tmp_path / "log.eval", range(5, 50))
    auditor("scan", "log.eval", "-o", "audit")
    assert sorted(n for n, *_ in tables(tmp_path / "audit")[2]) == sorted(f"u{i}" for i in range(5, 50))
    commits = list(Audit.open(tmp_path / "audit").commits())
    assert sum(c.counts["bytes"] for c in commits) == (tmp_path / "log.eval").stat().st_size


def test_members_that_lie_over_each_other_are_refused(tmp_path, large, monkeypatch, auditor):
    """A forged directory: a thousand names for one member, which would unpack to 200 times the file."""
    from auditor.readers import _inspect_zip

    monkeypatch.setattr(_inspect_zip, "BOMB", (20, 1_000_000))
    path = written(tmp_path / "bomb.eval", range(2), 0.5)
    with zipfile.ZipFile(path, "a") as opened:
        one = opened.getinfo("samples/0_epoch_1.json")
        for number in range(100):
            forged = zipfile.ZipInfo(f"samples/{number + 10}_epoch_1.json")
            forged.CRC = one.CRC
            forged.header_offset, forged.file_size, forged.compress_size = one.header_offset, one.file_size, one.compress_size
            opened.filelist.append(forged)
        opened._didModify = True
    from auditor.errors import InputError

    with pytest.raises(InputError, match=r"the log unpacks to .* a zip bomb"):
        _inspect_zip.samples(str(path))


def test_a_zip_that_python_cannot_take_is_a_reject(auditor, tmp_path):
    """A version from the future, and a name that is no UTF-8: told while ranges are being looked for, not a traceback."""
    made = written(tmp_path / "good.eval", range(2), 0.5).read_bytes()
    head = made.index(b"PK\x01\x02")
    future = bytearray(made)
    future[head + 6] = 99
    name = bytearray(made)
    name[head + 9] |= 8  # the flag that says UTF-8
    name[head + 46] = 0xFF
    (tmp_path / "logs").mkdir()
    for title, data in (("future", future), ("name", name)):
        (tmp_path / "logs" / f"{title}.eval").write_bytes(data)
    assert len(made) > plan.FIRST_BYTES
    assert "0 episodes, 2 rejects" in auditor("scan", "logs", "-o", "audit").stderr
    assert {"damaged zip" in r["reason"] for r in rejects(tmp_path / "audit")} == {True}
