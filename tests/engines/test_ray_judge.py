"""The judge on the workers of a cluster: whatever dies, its verdicts are those of one undisturbed machine, and nothing is paid twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import fsspec
import pytest
import zstandard
from conftest import GREEN, RED, episode, write
from llm_server import running
from ray_cluster import kill_workers, rows, until
from s3_door import served

from auditor.query import connect, run
from auditor.store import Audit

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
pytestmark = [pytest.mark.ray, pytest.mark.slow]
AUDITOR = str(Path(sys.executable).with_name("auditor"))
CONCURRENCY = 8


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-seen")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("AUDITOR_ENDPOINTS", raising=False)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Eight shards of 60 episodes each: a scan of its own for each file makes a shard of each."""
    folder = tmp_path_factory.mktemp("logs")
    for f in range(8):
        made = []
        for i in range(60):
            first, *rest = RED if i % 2 else GREEN
            told = {**first, "content": f"{first['content']} Ticket {f}-{i}. {'Notes. ' * 600}"}
            made.append(episode(f"{f}-{i}", told, *rest, model=f"m{i % 2}", task=f"t{i % 7}"))
        write(folder / f"{f}.jsonl", made)
    return folder


@pytest.fixture(scope="module")
def expected(logs, tmp_path_factory):
    """What one machine makes of them."""
    folder = tmp_path_factory.mktemp("one")
    with running() as server:
        done = subprocess.run(command(logs, folder / "audit", server.url), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return rows(folder / "audit")


def command(logs, output, url, cluster=None, *more):
    far = ("--engine", "ray", "--address", cluster.address) if cluster else ()
    judge = ("--judge", "m", "--base-url", url, "--judge-on", "all", "--concurrency", str(CONCURRENCY))
    return [AUDITOR, "scan", str(logs), "-o", str(output), *judge, *far, *more]


def start(*given):
    return subprocess.Popen(command(*given), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process, code=0):
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "sk-not-to-be-seen" not in out + err
    return out, err


def judged(output):
    """Shards whose verdicts are committed."""
    return sum(bool(json.loads(path.read_text())["judged"]) for path in (output / "commits").glob("*.json"))


def errors(audit):
    """What kept judges from a verdict."""
    con = connect(Audit.open(audit))
    return run(con, "SELECT split_part(error, ':', 1) FROM verdicts WHERE tier = 'judged' AND status = 'error'")[1]


def received(journal):
    """How many requests came in."""
    return journal.read_text().count('"received"') if journal.exists() else 0


def paid(journal):
    """How often each request was answered."""
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    return Counter(line["body"] for line in lines if line["outcome"] == "ok")


def test_workers_judge_as_one_machine_and_within_one_limit(cluster, logs, expected, tmp_path):
    audit = tmp_path / "audit"
    cluster.tell("add")
    try:
        with running(latency=0.05) as server:
            _, err = finished(start(logs, audit, server.url, cluster))
            counts = server.counts()
            assert counts["repeated"] == 0
            assert 1 < counts["peak"] <= CONCURRENCY, "one limit for all workers"
            assert f"{counts['requests']:,} calls sent" in err
            finished(start(logs, audit, server.url, cluster))
            assert server.counts()["requests"] == counts["requests"], "a second run sends nothing"
    finally:
        cluster.tell("remove")
    assert rows(audit) == expected
    assert not list(cluster.cache.rglob("*.sqlite")), "what travels with its shard is not left behind"


def test_whatever_dies_the_verdicts_are_those_of_one_machine(cluster, logs, expected, tmp_path):
    """Workers killed, a node removed, the driver killed and started again, the server gone for a while."""
    audit, journal = tmp_path / "audit", tmp_path / "journal"
    cluster.tell("add")
    with running(latency=0.1, journal=journal) as server:
        port = server.url.rpartition(":")[2].partition("/")[0]
        process = start(logs, audit, server.url, cluster)
        until(lambda: judged(audit) >= 1)
        kill_workers()
        before = judged(audit)
        until(lambda: judged(audit) > before)
        cluster.tell("remove")
        before = judged(audit)
        until(lambda: judged(audit) > before)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        process = start(logs, audit, server.url, cluster)
        asked = sum(paid(journal).values())
        until(lambda: sum(paid(journal).values()) > asked + 20)
    time.sleep(15)
    with running(latency=0.02, journal=journal, port=port):
        finished(process)
    assert rows(audit) == expected
    twice = Counter(paid(journal).values())
    # Four times something was killed with at most so many calls in flight: answered, and never kept.
    assert sum(n for times, n in twice.items() if times > 1) <= 4 * CONCURRENCY, twice


def test_another_machine_finds_what_was_paid(cluster, logs, expected, tmp_path):
    """Half of it is paid for; then the caches of driver and workers are lost."""
    audit = tmp_path / "audit"
    with running() as server:
        price = ("--price", "1,1")
        _, err = finished(start(logs, audit, server.url, cluster, *price, "--max-cost", "1.5"))
        first = server.counts()
        spent = float(err.rpartition("$")[2].split()[0])
        assert 0.5 < spent <= 1.5, err
        assert sum(j.open for commit in Audit.open(audit).commits() for j in commit.judged) > 0
        shutil.rmtree(cluster.cache / "auditor")
        for path in audit.glob("llm.sqlite*"):
            os.unlink(path)
        finished(start(logs, audit, server.url, cluster, *price))
        counts = server.counts()
    assert counts["repeated"] == 0
    assert counts["requests"] > first["requests"] > 100
    assert rows(audit) == expected


def test_a_shard_that_kills_its_workers_is_told_and_the_run_ends(cluster, tmp_path):
    """Its worker dies whenever it has come so far as to ask the server; the next run, undisturbed, mends it."""
    audit, journal, log = tmp_path / "audit", tmp_path / "journal", tmp_path / "logs.jsonl"
    write(log, [episode(f"e-{i}", {"role": "user", "content": f"Job {i}."}, *RED[1:]) for i in range(20)])
    with running(latency=0.3, journal=journal) as server:
        process = start(log, audit, server.url, cluster)
        while process.poll() is None:  # once, and three tries more
            before = received(journal)
            until(lambda before=before: received(journal) > before + 2 or process.poll() is not None)
            if process.poll() is None:
                kill_workers()
        finished(process)
        assert sum(j.open for commit in Audit.open(audit).commits() for j in commit.judged) > 0
        assert {told[0] for told in errors(audit)} == {"its worker died"}
    with running() as server:
        finished(start(log, audit, server.url, cluster))
    assert sum(j.open for commit in Audit.open(audit).commits() for j in commit.judged) == 0
    assert not errors(audit)


def test_a_wrong_key_stops_all_workers(cluster, logs, tmp_path):
    with running(key="another") as server:
        _, err = finished(start(logs, tmp_path / "audit", server.url, cluster), code=2)
        assert server.counts()["requests"] < 100
    assert "401" in err
    assert "set OPENAI_API_KEY" in err


def test_logs_and_audit_on_object_storage(auditor, cluster, logs, expected, tmp_path):
    """The README's command, with its judge: compressed logs in a bucket, two nodes, the audit in the bucket."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    cluster.tell("add")
    door = served()
    next(door)
    try:
        fs = fsspec.filesystem("s3")
        for path in sorted(logs.glob("*.jsonl")):
            fs.pipe(f"bucket/rollouts/{path.name}.zst", zstandard.compress(path.read_bytes()))
        with running() as server:
            told = command("s3://bucket/rollouts/**/*.jsonl.zst", "s3://bucket/audit/", server.url, cluster)
            assert "480 episodes, 0 rejects" in auditor(*told[1:]).stderr
            sent = server.counts()
            auditor(*told[1:])
            assert server.counts()["requests"] == sent["requests"]
            assert sent["repeated"] == 0
        assert rows("s3://bucket/audit/")[1:] == expected[1:]
        assert {name.rpartition("/")[2] for name in fs.ls("bucket/audit/replies")} > {"secret"}
        auditor("report", "s3://bucket/audit/", "-o", "report.html")
        assert "480 episodes" in (tmp_path / "report.html").read_text()
        auditor("merge", "s3://bucket/audit/", "-o", "here")
        assert rows(tmp_path / "here")[1:] == expected[1:]
        assert len(list((tmp_path / "here" / "replies").iterdir())) == 1 + len(fs.ls("bucket/audit/commits"))
    finally:
        door.close()
        cluster.tell("remove")
