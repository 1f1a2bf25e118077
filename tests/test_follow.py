"""A folder is followed: what has stopped growing is scanned, half a record never, and the numbers are served."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import orjson
import pytest
from conftest import GREEN, RED, episode, write

from auditor.follow import Settled
from auditor.query import connect, run
from auditor.readers.files import Found
from auditor.store import Audit

AUDITOR = str(Path(sys.executable).with_name("auditor"))


def ids(path):
    if not (path / "commits").is_dir():
        return []
    return [name for (name,) in run(connect(Audit.open(path)), "SELECT episode_id FROM episodes ORDER BY 1")[1]]


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


@pytest.fixture
def port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_files_come_and_grow_and_the_numbers_are_served(tmp_path, port):
    rollouts, audit = tmp_path / "rollouts", tmp_path / "audit"
    rollouts.mkdir()
    write(rollouts / "a.jsonl", [episode("a", *RED, model="m")])
    command = [AUDITOR, "watch", "rollouts", "-o", "audit", "--settle", "1.5", "--every", "0.2", "--metrics", str(port)]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: ids(audit) == ["a"])
        with (rollouts / "b.jsonl").open("wb") as file:
            line = orjson.dumps(episode("b", *GREEN, model="m")) + b"\n"
            for i in range(0, len(line), len(line) // 12):  # over some 3 seconds, half a record lies there
                file.write(line[i : i + len(line) // 12])
                file.flush()
                time.sleep(0.25)
                assert "b" not in ids(audit)
        until(lambda: ids(audit) == ["a", "b"])
        with (rollouts / "b.jsonl").open("ab") as file:
            file.write(orjson.dumps(episode("c", *RED, model="m")) + b"\n")
        until(lambda: ids(audit) == ["a", "b", "c"])
        assert (audit / "rejects.jsonl").read_bytes() == b""
        until(lambda: "auditor_episodes 3.0" in httpx.get(f"http://127.0.0.1:{port}/metrics").text)
        told = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert 'auditor_flagged{model="m",rubric="concealment",tier="candidate"} 2.0' in told
        assert "auditor_rejects 0.0" in told
        assert "auditor_growing 0.0" in told
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "run the same command again to go on" in err
    assert "Traceback" not in err


def test_a_file_is_handed_on_once_in_each_state():
    settled = Settled(5)
    a, grown = Found("a", 10, "1"), Found("a", 20, "2")
    assert settled.ready(iter([a]), 100) == ([], 1, 0)
    assert settled.ready(iter([a]), 104) == ([], 1, 4)
    assert settled.ready(iter([a]), 105) == ([a], 0, 0)
    settled.done([a])
    assert settled.ready(iter([a]), 200) == ([], 0, 0)
    assert settled.ready(iter([grown]), 201) == ([], 1, 0)
    assert settled.ready(iter([grown]), 206) == ([grown], 0, 0)
    assert settled.ready(iter([Found("empty", 0, "1")]), 300) == ([], 1, 0)


def test_a_port_that_is_taken_is_one_line(auditor, tmp_path):
    (tmp_path / "rollouts").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = auditor("watch", "rollouts", "-o", "audit", "--metrics", taken.getsockname()[1], code=2)
    assert "this port cannot be had" in done.stderr
