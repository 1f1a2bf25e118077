"""Batches: files that the API takes, results in any order, taken up after a kill."""

from __future__ import annotations

import json
import random
import subprocess
import time

import pytest
from llm_server import running
from test_judging import AUDITOR, many, rows

from auditor.judging.batches import Writer
from auditor.llm import endpoint


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-in-no-file-at-all")


def answer(requests, url, path, *, leave=0):
    """Answer request files through a server's chat completions, shuffled, as a batch would."""
    import httpx

    lines = [json.loads(line) for file in requests for line in file.read_text().splitlines()]
    random.Random(1).shuffle(lines)
    with httpx.Client(timeout=30) as client, path.open("w") as out:
        for line in lines[leave:]:
            body = client.post(f"{url}/chat/completions", json=line["body"])
            result = {"status_code": body.status_code, "body": body.json()}
            out.write(json.dumps({"custom_id": line["custom_id"], "response": result, "error": None}) + "\n")
    return lines


def test_export_answer_collect(auditor, tmp_path):
    many(tmp_path / "logs.jsonl", 8)
    auditor("scan", "logs.jsonl", "-o", "audit")
    auditor("batch", "export", "audit", "-o", "requests", "--judge", "m", "--judge-on", "all")
    files = sorted((tmp_path / "requests").glob("*.jsonl"))
    with running() as server:
        lines = answer(files, server.url, tmp_path / "results.jsonl", leave=3)
        assert len(lines) == len({line["custom_id"] for line in lines}) == 24
        assert all(
            line["body"]["response_format"]["type"] == "json_schema" and line["url"] == "/v1/chat/completions" for line in lines
        )
        assert "sk-in-no-file" not in files[0].read_text()
        done = auditor("batch", "collect", "audit", "results.jsonl")
        assert "21 replies kept" in done.stderr
        assert "3 calls still lack a reply" in done.stderr
        assert (
            rows(
                tmp_path / "audit",
                "SELECT status, count(*) FROM verdicts WHERE tier = 'judged' AND status IN ('ok', 'skipped') GROUP BY 1 ORDER BY 1",
            )[-1][1]
            <= 3
        )
        auditor("batch", "export", "audit", "-o", "more")
        answer(sorted((tmp_path / "more").glob("*.jsonl")), server.url, tmp_path / "more.jsonl")
        done = auditor("batch", "collect", "audit", "results.jsonl", "more.jsonl")
        assert "3 replies kept, 21 known before" in done.stderr
        assert "all calls have their reply" in done.stderr
    assert rows(tmp_path / "audit", "SELECT count(*) FROM verdicts WHERE status = 'skipped'") == [(0,)]


def test_bad_results_are_one_line(auditor, tmp_path):
    many(tmp_path / "logs.jsonl", 2)
    auditor("scan", "logs.jsonl", "-o", "audit")
    assert "no judge was ever set up" in auditor("batch", "collect", "audit", "x.jsonl", code=2).stderr
    auditor("batch", "export", "audit", "-o", "requests", "--judge", "m", "--judge-on", "all")
    assert "x.jsonl: no such file" in auditor("batch", "collect", "audit", "x.jsonl", code=2).stderr
    (tmp_path / "x.jsonl").write_text('{"some": "thing"}\nnot json\n')
    assert "no batch results here" in auditor("batch", "collect", "audit", "x.jsonl", code=2).stderr
    assert "holds m-001.jsonl already" in auditor("batch", "export", "audit", "-o", "requests", code=2).stderr


def test_files_stay_within_the_limits(tmp_path):
    writer = Writer(tmp_path / "r", max_requests=10, max_bytes=2_000)
    to = endpoint("../org/m", base_url="http://h/v1")
    for i in range(35):
        writer.write(f"{i:040d}", to, {"model": "m", "messages": [{"role": "user", "content": "x" * (20 if i < 30 else 900)}]})
    writer.close()
    sizes = [(path.stat().st_size, len(path.read_text().splitlines())) for path in writer.files]
    assert all(size <= 2_000 and 1 <= count <= 10 for size, count in sizes)
    assert sum(count for _, count in sizes) == 35
    assert {path.parent for path in writer.files} == {tmp_path / "r"}


def test_batch_mode_submits_waits_and_is_taken_up_after_a_kill(auditor, tmp_path):
    many(tmp_path / "logs.jsonl", 6)
    with running(batch_seconds=3.0) as server:
        options = ("--judge", "m", "--base-url", server.url, "--judge-on", "all", "--batch")
        process = subprocess.Popen(
            [AUDITOR, "scan", "logs.jsonl", "-o", "audit", *options],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        for line in process.stderr:
            if b"requests sent" in line:
                break
        process.kill()
        process.wait()
        process.stderr.close()
        time.sleep(0.1)
        done = auditor("scan", "logs.jsonl", "-o", "audit", *options, "--batch-pause", "0.5")
        assert "18 replies kept" in done.stderr
        assert server.counts()["requests"] == 18
    assert rows(tmp_path / "audit", "SELECT count(*) FROM verdicts WHERE tier = 'judged' AND status = 'ok'") == [(18,)]
