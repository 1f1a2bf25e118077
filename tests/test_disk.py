"""An audit on object storage: the same commands, a real S3 server, and one that refuses for a while."""

from __future__ import annotations

import subprocess
import time

import fsspec
import pytest
from conftest import GREEN, RED, episode, write
from llm_server import running
from s3_door import BIN, free_port, served

from auditor.disk import Folder, Remote, disk
from auditor.errors import StoreError
from auditor.query import connect, run
from auditor.store import Audit

pytest.importorskip("moto", reason="no S3 server here: pip install 'moto[s3]' flask flask-cors s3fs")
pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def s3():
    """The door."""
    yield from served()


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    for f in range(6):
        write(
            folder / f"{f}.jsonl",
            [episode(f"{f}-{i}", *(RED if i % 3 else GREEN), model=f"m{i % 2}", task=f"t{i}") for i in range(300)],
        )
    return folder


def rows(path):
    con = connect(Audit.open(path))
    return [run(con, f"SELECT * FROM {view} ORDER BY ALL")[1] for view in ("episodes", "verdicts", "evidence", "answers")]


def test_the_same_commands_on_a_bucket(auditor, tmp_path, logs, s3):
    auditor("scan", "logs", "-o", "local")
    assert "1,800 episodes" in auditor("scan", "logs", "-o", "s3://bucket/one", "--jobs", "2").stderr
    assert rows("s3://bucket/one") == rows(tmp_path / "local")
    stamps = {
        name: Remote("s3://bucket/one").filesystem.modified(f"bucket/one/commits/{name}")
        for name in Remote("s3://bucket/one").names("commits")
    }
    auditor("scan", "logs", "-o", "s3://bucket/one")
    assert stamps == {name: Remote("s3://bucket/one").filesystem.modified(f"bucket/one/commits/{name}") for name in stamps}, (
        "nothing is done again"
    )
    auditor("report", "s3://bucket/one")
    assert "1,800 episodes" in (tmp_path / "report.html").read_text()
    assert auditor("query", "s3://bucket/one", "--format", "csv").stdout == auditor("query", "local", "--format", "csv").stdout
    told = auditor(
        "query", "s3://bucket/one", "--sql", "SELECT * FROM read_parquet('s3://bucket/other/x.parquet')", code=2
    ).stderr
    assert "file system operations are disabled" in told


def test_logs_on_a_bucket(auditor, tmp_path, logs, s3):
    fsspec.filesystem("s3").put(str(logs), "bucket/rollouts/", recursive=True)
    assert "1,800 episodes" in auditor("scan", "s3://bucket/rollouts/**/*.jsonl", "-o", "s3://bucket/two").stderr
    auditor("show", "s3://bucket/two", "3-1")


@pytest.mark.slow
def test_a_large_log_on_a_bucket_is_read_in_parts(auditor, tmp_path, logs, s3):
    whole = b"".join(path.read_bytes() for path in sorted(logs.glob("*.jsonl")))
    (tmp_path / "large.jsonl").write_bytes(whole)
    fsspec.filesystem("s3").pipe("bucket/large/large.jsonl", whole)
    auditor("scan", "large.jsonl", "-o", "here")
    auditor("scan", "s3://bucket/large/*.jsonl", "-o", "there")
    parts = [len(list((tmp_path / name / "commits").iterdir())) for name in ("here", "there")]
    assert parts[0] == parts[1] > 1
    told = "(SELECT * EXCLUDE (source) FROM episodes)"
    found = [run(connect(Audit.open(tmp_path / name)), f"SELECT * FROM {told} ORDER BY ALL")[1] for name in ("here", "there")]
    assert found[0] == found[1]
    assert rows(tmp_path / "here")[1:] == rows(tmp_path / "there")[1:]


@pytest.mark.slow
def test_a_server_that_refuses_for_a_while_costs_nothing_but_time(auditor, tmp_path, logs, s3):
    auditor("scan", "logs", "-o", "local")
    command = [BIN / "auditor", "scan", "logs", "-o", "s3://bucket/three", "--jobs", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    place = Remote("s3://bucket/three")
    while not place.names("commits"):
        assert process.poll() is None
        time.sleep(0.05)
    s3.shut = True
    time.sleep(8)
    s3.shut = False
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert s3.refused > 0
    assert rows("s3://bucket/three") == rows(tmp_path / "local")


def test_a_writer_that_was_killed_is_taken_up(auditor, tmp_path, logs, s3):
    auditor("scan", "logs", "-o", "local")
    process = subprocess.Popen(
        [BIN / "auditor", "scan", "logs", "-o", "s3://bucket/four", "--jobs", "2"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    place = Remote("s3://bucket/four")
    while not place.names("commits"):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    auditor("scan", "logs", "-o", "s3://bucket/four")
    assert rows("s3://bucket/four") == rows(tmp_path / "local")


def test_two_writers_at_once_leave_one_audit(auditor, tmp_path, logs, s3):
    """There is no lock on a bucket: both do the work, and it counts once."""
    auditor("scan", "logs", "-o", "one")
    command = [BIN / "auditor", "scan", "logs", "-o", "s3://bucket/twice", "--jobs", "1"]
    both = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert "1,800 episodes, 0 rejects" in err
    assert rows("s3://bucket/twice")[1:] == rows(tmp_path / "one")[1:]


def test_replies_travel_with_the_audit(auditor, tmp_path, s3, monkeypatch):
    """Half of it is paid for on one machine; another, without its cache, pays for the other half."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    made = []
    for i in range(40):
        first, *rest = RED if i % 2 else GREEN
        made.append(episode(f"e-{i}", {**first, "content": f"{first['content']} Ticket {i}."}, *rest))
    write(tmp_path / "logs.jsonl", made)
    with running() as server:
        judge = ("--judge", "m", "--base-url", server.url, "--judge-on", "all", "--price", "1,1")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
        auditor("scan", "logs.jsonl", "-o", "s3://bucket/audit", *judge, "--max-cost", "0.2")
        assert 0 < (half := server.counts()["requests"]) < 100
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
        done = auditor("scan", "logs.jsonl", "-o", "s3://bucket/audit", *judge)
        assert f"{half} replies kept from before" in done.stderr
        assert server.counts()["repeated"] == 0


def test_what_is_wrong_is_one_line(auditor, tmp_path, s3, monkeypatch):
    write(tmp_path / "logs.jsonl", [episode("e", *GREEN)])
    assert "bucket does not exist" in auditor("scan", "logs.jsonl", "-o", "s3://nobody/a", code=2).stderr
    assert "no audit here" in auditor("report", "s3://bucket/nothing", code=2).stderr
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    assert "AWS_ENDPOINT_URL" in auditor("report", "s3://bucket/one", code=2).stderr


def test_a_disk_is_told_by_its_name(tmp_path):
    assert isinstance(disk(tmp_path), Folder)
    assert isinstance(disk("memory://audit"), Remote)
    with pytest.raises(StoreError, match="nowhere"):
        disk("nowhere://x")
