"""Ray hands out the same shards to the same worker: whatever dies, the audit is that of one undisturbed machine."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import GREEN, RED, episode, write
from ray_cluster import commits, kill_workers, rows, until

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
pytestmark = pytest.mark.ray
AUDITOR = str(Path(sys.executable).with_name("auditor"))


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Twenty files, so that there are shards to hand out, and the audit that one machine makes of them."""
    folder = tmp_path_factory.mktemp("logs")
    for f in range(20):
        made = [episode(f"{f}-{i}", *(RED if i % 3 else GREEN), model=f"m{i % 2}", task=f"t{i % 7}") for i in range(600)]
        write(folder / f"{f:02}.jsonl", made)
    subprocess.run([AUDITOR, "scan", str(folder), "-o", str(folder / "one"), "--jobs", "1"], check=True, capture_output=True)
    return folder, rows(folder / "one")


def scan(cluster, folder, output, **how):
    command = [
        AUDITOR,
        "scan",
        *map(str, sorted(folder.glob("*.jsonl"))),
        "-o",
        str(output),
        "--engine",
        "ray",
        "--address",
        cluster.address,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


def finished(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return out, err


@pytest.mark.slow
def test_two_nodes_make_the_audit_of_one_machine_and_a_lost_node_costs_nothing(cluster, logs, tmp_path):
    folder, expected = logs
    cluster.tell("add")
    process = scan(cluster, folder, tmp_path / "audit")
    until(lambda: commits(tmp_path / "audit") >= 2)
    cluster.tell("remove")
    _, err = finished(process)
    assert "12,000 episodes, 0 rejects" in err
    assert rows(tmp_path / "audit") == expected


@pytest.mark.slow
def test_a_driver_that_is_killed_is_taken_up_again(cluster, logs, tmp_path):
    folder, expected = logs
    process = scan(cluster, folder, tmp_path / "audit")
    until(lambda: commits(tmp_path / "audit") >= 2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "audit" / "commits").glob("*.json")}
    finished(scan(cluster, folder, tmp_path / "audit"))
    assert rows(tmp_path / "audit") == expected
    again = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "audit" / "commits").glob("*.json")}
    assert sum(again[name] == stamp for name, stamp in done.items()) >= len(done) - 2, "what was done is not done again"


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing(cluster, logs, tmp_path):
    folder, expected = logs
    process = scan(cluster, folder, tmp_path / "audit")
    until(lambda: commits(tmp_path / "audit") >= 1)
    kill_workers()
    finished(process)
    assert rows(tmp_path / "audit") == expected


def test_without_an_address_a_cluster_is_made_here(auditor, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    write(tmp_path / "logs.jsonl", [episode("e", *RED)])
    assert "1 episodes, 0 rejects" in auditor("scan", "logs.jsonl", "-o", "audit", "--engine", "ray").stderr


def test_no_cluster_is_one_line(auditor, tmp_path):
    write(tmp_path / "logs.jsonl", [episode("e", *GREEN)])
    for address, words in (("127.0.0.1:1", "refused"), ("nowhere.invalid:6379", "no Ray cluster can be used there")):
        done = auditor("scan", "logs.jsonl", "-o", "audit", "--engine", "ray", "--address", address, code=2)
        assert words in done.stderr
        assert "ray start --head" in done.stderr
