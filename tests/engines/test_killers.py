"""A record that kills its reader is found and set aside; the rest goes on. The killer is real: whoever takes too much memory dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import orjson
import pytest
from conftest import GREEN, RED, episode

from auditor.store import Audit

MOST = 450 << 20


@pytest.fixture
def oom_killer():
    """As the kernel's: kills our worker processes that take more than MOST bytes."""
    stop = threading.Event()
    killed: list[int] = []

    def watch():
        page = os.sysconf("SC_PAGE_SIZE")
        while not stop.wait(0.02):
            for entry in Path("/proc").iterdir():
                if entry.name.isdecimal():
                    try:
                        if (
                            b"spawn_main" in (entry / "cmdline").read_bytes()
                            and int((entry / "statm").read_text().split()[1]) * page > MOST
                        ):
                            os.kill(int(entry.name), signal.SIGKILL)
                            killed.append(int(entry.name))
                    except (OSError, IndexError, ValueError):
                        continue

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield killed
    stop.set()
    thread.join()


@pytest.mark.slow
def test_a_record_that_eats_all_memory_is_set_aside(auditor, tmp_path, oom_killer):
    bomb = episode("bomb", *[{"role": "user", "content": "x"}] * 1_200_000)
    lines = [episode(f"e{i}", *(RED if i % 2 else GREEN)) for i in range(1500)]
    lines.insert(1000, bomb)
    (tmp_path / "logs.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    start = time.monotonic()
    done = auditor("scan", "logs.jsonl", "-o", "audit", "--jobs", "2")
    assert oom_killer, "nobody was killed: the test is none"
    assert "1,500 episodes, 1 rejects" in done.stderr
    (reject,) = [orjson.loads(line) for line in (tmp_path / "audit" / "rejects.jsonl").read_bytes().splitlines()]
    assert "kills the process" in reject["reason"]
    assert reject["offset"] == sum(len(orjson.dumps(line)) + 1 for line in lines[:1000])
    rows = [orjson.loads(r) for r in auditor("query", "audit", "--all", "--format", "jsonl").stdout.splitlines()]
    assert {r["episode_id"] for r in rows} == {f"e{i}" for i in range(1500)}
    before = len(oom_killer)
    assert "1,500 episodes, 1 rejects" in auditor("scan", "logs.jsonl", "-o", "audit", "--jobs", "2").stderr
    assert len(oom_killer) == before, "what is known is not tried again"
    assert any(c.skip for c in Audit.open(tmp_path / "audit").commits())
    assert time.monotonic() - start < 300


@pytest.mark.slow
def test_a_sample_of_a_large_inspect_log_that_eats_all_memory_is_set_aside(auditor, tmp_path, oom_killer):
    pytest.importorskip("inspect_ai")
    from test_inspect_zip import written

    # A store of ten million empty lists: small in the log, 600 MB as Python objects.
    log = written(tmp_path / "log.eval", range(30), more={11: {"store": {"x": [[]] * 10_000_000}}})
    assert "29 episodes, 1 rejects" in auditor("scan", log, "-o", "audit", "--jobs", "2").stderr
    assert oom_killer, "nobody was killed: the test is none"
    (reject,) = [orjson.loads(line) for line in (tmp_path / "audit" / "rejects.jsonl").read_bytes().splitlines()]
    assert reject["reason"].startswith("sample 11 epoch 1: this record kills the process")
    (skipped,) = [c.skip for c in Audit.open(tmp_path / "audit").commits() if c.skip]
    assert [killer[0] for killer in skipped] == [str(log)]
    assert skipped[0][2] >= 0, "the sample, not its range"
    before = len(oom_killer)
    assert "29 episodes, 1 rejects" in auditor("scan", log, "-o", "audit", "--jobs", "2").stderr
    assert len(oom_killer) == before, "what is known is not tried again"
