"""The main job as a user runs it: resume, kill -9, changed sources and rubrics, duplicates, hostile files."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
from conftest import GREEN, RED, REPO, episode, write

from auditor import query
from auditor.store import Audit


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    con = query.connect(Audit.open(path))
    return query.run(con, sql)[1]


VERDICTS = "SELECT episode_id, rubric, status, flagged, attributes, rationale FROM verdicts ORDER BY ALL"
EVIDENCE = 'SELECT episode_id, rubric, signal, message, channel, "start", "end", quote FROM evidence ORDER BY ALL'


def test_a_scan_gives_a_verdict_for_every_episode_and_rubric(auditor, tmp_path):
    write(tmp_path / "logs.jsonl", [episode("red", *RED), episode("green", *GREEN), episode("cut", *RED[:2])])
    auditor("scan", "logs.jsonl", "-o", "audit")
    found = {(e, r): (s, f) for e, r, s, f, *_ in rows(tmp_path / "audit", VERDICTS)}
    assert len(found) == 3 * 4
    assert found["red", "concealment"] == ("ok", True)
    assert found["green", "concealment"] == ("ok", False)
    assert found["cut", "concealment"] == ("no_report", None), "no chance to report is not clean"
    assert found["red", "grader_gaming"] == ("no_reasoning", None), "nothing visible is not clean"
    assert found["green", "admission"] == ("not_asked", None)


def test_every_quote_is_verbatim_where_it_says(auditor, tmp_path):
    auditor("scan", REPO / "transcripts", "-o", "audit")
    audit = Audit.open(tmp_path / "audit")
    con = query.connect(audit)
    from auditor.transcript import pieces

    checked = 0
    for (name,) in query.run(con, "SELECT DISTINCT episode_id FROM evidence")[1]:
        _, transcript = query.find_transcript(audit, con, name)
        asked = query.run(con, "SELECT min(question) FROM answers WHERE episode_id = ?", [name])[1][0][0]
        texts = {(p.message, p.channel.value): p.text for p in pieces(transcript, asked)}
        for message, channel, start, end, quote in query.run(
            con, 'SELECT message, channel, "start", "end", quote FROM evidence WHERE episode_id = ?', [name]
        )[1]:
            assert texts[message, channel][start:end] == quote
            checked += 1
    assert checked > 10


def test_the_same_scan_again_does_nothing_and_changes_nothing(auditor, tmp_path):
    write(tmp_path / "logs.jsonl", [episode("red", *RED), episode("green", *GREEN)])
    auditor("scan", "logs.jsonl", "-o", "audit")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "audit").rglob("*.parquet")}
    first = rows(tmp_path / "audit", VERDICTS)
    auditor("scan", "logs.jsonl", "-o", "audit")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "audit").rglob("*.parquet")} == before
    assert rows(tmp_path / "audit", VERDICTS) == first


def test_new_and_changed_files_are_taken_up(auditor, tmp_path):
    write(tmp_path / "one.jsonl", [episode("one", *GREEN)])
    auditor("scan", "*.jsonl", "-o", "audit")
    write(tmp_path / "two.jsonl", [episode("two", *GREEN)])
    write(tmp_path / "one.jsonl", [episode("one", *RED), episode("three", *GREEN)])
    auditor("scan", "*.jsonl", "-o", "audit")
    found = dict(rows(tmp_path / "audit", "SELECT episode_id, flagged FROM verdicts WHERE rubric = 'concealment'"))
    assert found == {"one": True, "two": False, "three": False}


def test_a_changed_rubric_redoes_only_its_own_verdicts(auditor, tmp_path):
    shutil.copytree(REPO / "rubrics", tmp_path / "rubrics")
    write(tmp_path / "logs.jsonl", [episode("red", *RED), episode("green", *GREEN)])
    auditor("scan", "logs.jsonl", "-o", "audit", "--rubrics", "rubrics")
    before = dict(rows(tmp_path / "audit", "SELECT DISTINCT rubric, rubric_hash FROM verdicts"))
    path = tmp_path / "rubrics" / "concealment.yaml"
    text = path.read_text()
    start = text.index("signals:\n") + len("signals:\n")
    added = "  - {id: says-done, title: 'Says that it is done', why: 'only for this test', weight: 3, then: {channel: final, any: ['^done']}}\n"
    path.write_text(text[:start] + added + text[start:])
    auditor("scan", "logs.jsonl", "-o", "audit", "--rubrics", "rubrics")
    after = rows(tmp_path / "audit", "SELECT rubric, rubric_hash, count(*) FROM verdicts GROUP BY ALL")
    assert len(after) == 4
    assert all(n == 2 for _, _, n in after), "no verdict twice, none lost"
    assert {r for r, h, _ in after if before[r] != h} == {"concealment"}
    assert dict(rows(tmp_path / "audit", "SELECT episode_id, flagged FROM verdicts WHERE rubric = 'concealment'")) == {
        "red": True,
        "green": True,
    }
    auditor("show", "audit", "green")  # newly flagged, so it is kept now
    path.write_text(text)
    auditor("scan", "logs.jsonl", "-o", "audit", "--rubrics", "rubrics")
    back = dict(rows(tmp_path / "audit", "SELECT episode_id, flagged FROM verdicts WHERE rubric = 'concealment'"))
    assert back == {"red": True, "green": False}


def test_an_episode_in_two_files_counts_once_and_a_shared_id_loses_nothing(auditor, tmp_path):
    write(tmp_path / "a.jsonl", [episode("same", *RED), episode("x", *GREEN)])
    write(tmp_path / "b.jsonl", [episode("same", *RED), episode("x", *RED)])
    out = auditor("scan", "a.jsonl", "b.jsonl", "-o", "audit").stderr
    assert "1 duplicates" in out
    assert "1 renamed" in out
    names = [n for (n,) in rows(tmp_path / "audit", "SELECT episode_id FROM episodes ORDER BY 1")]
    assert len(names) == 3
    assert names[0] == "same"
    assert names[1] == "x"
    assert names[2].startswith("x~")
    assert rows(tmp_path / "audit", "SELECT count(*) FROM verdicts") == [(12,)]


def test_duplicates_are_looked_for_again_where_episodes_changed_alone(auditor, tmp_path, monkeypatch):
    import duckdb

    from auditor import pipeline, plan

    def scan() -> dict[str, int]:
        options = plan.Options((str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")), str(tmp_path / "audit"))
        return pipeline.scan(options).about().summary

    write(tmp_path / "a.jsonl", [episode("one", *RED), episode("two", *GREEN)])
    write(tmp_path / "b.jsonl", [episode("one", *RED)])
    first = scan()
    assert first["duplicates"] == 1
    with monkeypatch.context() as patched:
        patched.setattr(duckdb, "connect", None)
        assert scan() == first, "without a look at the episodes"
    (tmp_path / "audit" / "duplicates.parquet").unlink()
    assert scan() == first
    assert (tmp_path / "audit" / "duplicates.parquet").exists(), "a file that is lost is made again"
    write(tmp_path / "b.jsonl", [episode("one", *RED), episode("two", *GREEN), episode("one", *GREEN)])
    changed = scan()
    assert (changed["duplicates"], changed["renamed"], changed["episodes"]) == (2, 1, 3)
    write(tmp_path / "b.jsonl", [episode("three", *RED)])
    assert scan()["duplicates"] == 0
    assert not (tmp_path / "audit" / "duplicates.parquet").exists()


def make(path: Path, count: int) -> Path:
    rng = random.Random(7)
    episodes = []
    for i in range(count):
        base = RED if rng.random() < 0.2 else GREEN
        pad = {"role": "user", "content": "context " * rng.randint(1, 400)}
        episodes.append(episode(f"ep-{i}", pad, *base))
    return write(path, episodes)


@pytest.mark.slow
def test_killed_at_any_moment_the_final_verdicts_are_the_same(tmp_path):
    """kill -9 at 20 random moments, then one run to the end: equal to an undisturbed run, row for row."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for i in range(12):
        make(folder / f"{i}.jsonl", 250)
        # Names differ, so ids must: one episode a name.
        text = (folder / f"{i}.jsonl").read_bytes().replace(b'"id":"ep-', f'"id":"f{i}-'.encode())
        (folder / f"{i}.jsonl").write_bytes(text)
    code = (
        "import sys; from auditor import plan, pipeline; plan.SHARD_FILES = 1;"
        "pipeline.scan(plan.Options((sys.argv[1],), sys.argv[2], jobs=int(sys.argv[3])))"
    )
    command = [sys.executable, "-c", code, str(folder)]
    subprocess.run([*command, str(tmp_path / "calm"), "1"], check=True)
    rng = random.Random(20261120)
    killed = 0
    for turn in range(200):
        process = subprocess.Popen([*command, str(tmp_path / "stormy"), "1"], start_new_session=True)
        time.sleep(0.35 + rng.random() * 0.5)
        done = process.poll()
        os.killpg(process.pid, signal.SIGKILL) if done is None else None
        process.wait()
        killed += done is None
        if killed >= 20 or (done == 0 and turn > 60):
            break
        if done == 0:  # it was through: take some of it away again, as a kill before would have
            commits = sorted((tmp_path / "stormy" / "commits").glob("*.json"))
            for path in rng.sample(commits, len(commits) // 2):
                path.unlink()
    assert killed >= 20
    subprocess.run([*command, str(tmp_path / "stormy"), "1"], check=True)
    for sql in (VERDICTS, EVIDENCE, "SELECT episode_id, content_hash, messages FROM episodes ORDER BY ALL"):
        assert rows(tmp_path / "stormy", sql) == rows(tmp_path / "calm", sql)
    left = [p.name for p in (tmp_path / "stormy").rglob("*.tmp")]
    assert left == []


def test_interrupted_it_says_so_and_goes_on(auditor, tmp_path):
    for i in range(40):
        make(tmp_path / f"{i}.jsonl", 200)
    command = [str(Path(sys.executable).with_name("auditor")), "scan", "*.jsonl", "-o", "audit", "--jobs", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    time.sleep(2.0)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err, err.decode()
    if process.returncode != 0:
        assert process.returncode == 130
        assert b"run the same command again" in err
    auditor("scan", "*.jsonl", "-o", "audit")


def test_what_cannot_be_read_is_set_aside_with_reason_and_hint(auditor, tmp_path):
    good = orjson.dumps(episode("good", *GREEN))
    (tmp_path / "lines.jsonl").write_bytes(
        good
        + b"\n{broken\n"
        + b'{"id":"x","model":"m","task":"t","messages":"no"}\n'
        + b"\x00\x00\n"
        + b'{"id": "\xff"}\n'
        + b"[" * 10_000
        + b"\n"
    )
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress((good + b"\n") * 2000)[:-40])
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "strange.json").write_bytes(b'{"foo": 1, "bar": []}')
    (tmp_path / "notes.txt").write_text("shopping list")
    done = auditor(
        "scan", "lines.jsonl", "cut.jsonl.gz", "empty.jsonl", "strange.json", "notes.txt", "-o", "audit", "--strict", code=3
    )
    assert "rejects.jsonl" in done.stderr
    rejects = [orjson.loads(line) for line in (tmp_path / "audit" / "rejects.jsonl").read_bytes().splitlines()]
    by_file: dict[str, list[dict[str, object]]] = {}
    for reject in rejects:
        assert reject["reason"]
        by_file.setdefault(str(reject["file"]), []).append(reject)
    assert [r["line"] for r in by_file["lines.jsonl"]] == [2, 3, 4, 5, 6]
    assert "foo" in str(by_file["strange.json"][0]["reason"])
    assert "mapping" in str(by_file["strange.json"][0]["reason"])
    assert by_file["empty.jsonl"][0]["reason"] == "empty file"
    assert by_file["cut.jsonl.gz"]
    assert by_file["notes.txt"]
    assert rows(tmp_path / "audit", "SELECT count(*) FROM episodes") == [(1,)]


def test_a_line_of_200_megabytes_is_refused_and_its_neighbours_are_read(auditor, tmp_path):
    with (tmp_path / "huge.jsonl").open("wb") as file:
        file.write(orjson.dumps(episode("before", *GREEN)) + b"\n")
        file.write(b'{"id":"huge","model":"m","task":"t","messages":[{"role":"user","content":"')
        for _ in range(200):
            file.write(b"x" * 1_000_000)
        file.write(b'"}]}\n' + orjson.dumps(episode("after", *GREEN)) + b"\n")
    auditor("scan", "huge.jsonl", "-o", "audit")
    assert rows(tmp_path / "audit", "SELECT episode_id FROM episodes ORDER BY 1") == [("after",), ("before",)]
    (reject,) = [orjson.loads(line) for line in (tmp_path / "audit" / "rejects.jsonl").read_bytes().splitlines()]
    assert reject["line"] == 2


def test_standard_input_and_compression(auditor, tmp_path):
    data = orjson.dumps(episode("one", *RED)) + b"\n"
    auditor("scan", "-", "-o", "audit", stdin=data)
    auditor("scan", "-", "-o", "audit", stdin=data)
    assert rows(tmp_path / "audit", "SELECT count(*) FROM episodes") == [(1,)]
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(orjson.dumps(episode("two", *RED)) + b"\n"))
    auditor("scan", "x.jsonl.gz", "-o", "audit")
    assert rows(tmp_path / "audit", "SELECT count(*) FROM verdicts WHERE rubric = 'concealment' AND flagged") == [(2,)]


def test_a_large_file_in_byte_ranges_gives_each_line_once(tmp_path):
    from auditor import pipeline, plan

    make(tmp_path / "big.jsonl", 2000)
    code = "import sys; from auditor import plan, pipeline; plan.FIRST_BYTES = 10_000; plan.SHARD_BYTES = 100_000; pipeline.scan(plan.Options((sys.argv[1],), sys.argv[2]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "big.jsonl"), str(tmp_path / "cut")], check=True)
    pipeline.scan(plan.Options((str(tmp_path / "big.jsonl"),), str(tmp_path / "whole")))
    assert len(list((tmp_path / "cut" / "commits").iterdir())) > 10
    assert rows(tmp_path / "cut", VERDICTS) == rows(tmp_path / "whole", VERDICTS)
    assert rows(tmp_path / "cut", "SELECT count(*) FROM episodes") == [(2000,)]


def test_workers_end_with_a_killed_parent(tmp_path):
    for i in range(60):
        make(tmp_path / f"{i}.jsonl", 200)
    command = [str(Path(sys.executable).with_name("auditor")), "scan", "*.jsonl", "-o", "audit", "--jobs", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    children: list[int] = []
    until = time.monotonic() + 20
    while len(children) < 2 and time.monotonic() < until and process.poll() is None:
        told = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        children = [int(pid) for pid in told.read_text().split()] if told.exists() else []
        time.sleep(0.02)
    time.sleep(1.0)
    process.kill()
    process.wait()
    until = time.monotonic() + 20
    while (left := [pid for pid in children if Path(f"/proc/{pid}/cmdline").exists()]) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left
