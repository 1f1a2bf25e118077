"""A judged scan as a user runs it: every row is there, nothing is paid for twice, no key is anywhere, failures are one line."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import GREEN, RED, episode, write
from llm_server import running

from auditor.query import connect
from auditor.store import Audit

KEY = "sk-not-to-be-seen-anywhere-42"
AUDITOR = str(Path(sys.executable).with_name("auditor"))


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("AUDITOR_ENDPOINTS", raising=False)


def many(path, count, **facts):
    """`count` episodes, half of them candidates; each differs from all others."""
    made = []
    for i in range(count):
        first, *rest = RED if i % 2 else GREEN
        made.append(episode(f"e-{i}", {**first, "content": f"{first['content']} Ticket {i}."}, *rest, **facts))
    return write(path, made)


def rows(audit, sql):
    con = connect(Audit.open(audit))
    try:
        return con.execute(sql).fetchall()
    finally:
        con.close()


def test_candidates_and_a_known_sample_of_the_rest_are_judged(auditor, tmp_path):
    many(tmp_path / "logs.jsonl", 60)
    with running() as server:
        done = auditor(
            "scan", "logs.jsonl", "-o", "audit", "--judge", "m", "--base-url", server.url, "--sample-rest", "0.3", "--seed", "5"
        )
        asked = server.counts()["requests"]
        again = auditor(
            "scan", "logs.jsonl", "-o", "audit", "--judge", "m", "--base-url", server.url, "--sample-rest", "0.3", "--seed", "5"
        )
        assert server.counts()["requests"] == asked
    assert "Judged, by judge m; candidates and the sampled rest are no prevalence" in done.stdout
    assert "not drawn" in done.stdout
    assert done.stdout == again.stdout
    audit = tmp_path / "audit"
    assert rows(
        audit, "SELECT count(*), count(DISTINCT (episode_id, rubric, view, detector)) FROM verdicts WHERE tier = 'judged'"
    ) == [(240, 240)]
    strata = rows(
        audit,
        "SELECT json_extract_string(attributes, '$.stratum') s, weight, status = 'skipped', count(*) FROM verdicts"
        " WHERE rubric = 'concealment' AND tier = 'judged' GROUP BY ALL ORDER BY ALL",
    )
    assert [(s, round(w, 2), skipped) for s, w, skipped, _ in strata] == [
        ("candidate", 1, False),
        ("rest", 0, True),
        ("rest", 3.33, False),
    ]
    assert strata[0][3] == 30
    assert "judge:m" in auditor("query", "audit", "--min-level", "2").stdout
    shown = auditor("show", "audit", "e-1").stdout
    assert "It says what the pattern looks for." in shown


def test_dry_run_sends_nothing_and_says_what_it_would(auditor, tmp_path):
    many(tmp_path / "logs.jsonl", 4)
    with running() as server:
        options = ("--judge", "m", "--base-url", server.url, "--judge-on", "all", "--price", "1,2")
        told = json.loads(auditor("scan", "logs.jsonl", "-o", "audit", *options, "--dry-run", "--format", "json").stdout)
        assert server.counts()["requests"] == 0
        assert not rows(tmp_path / "audit", "SELECT * FROM verdicts WHERE tier = 'judged'")
        auditor("scan", "logs.jsonl", "-o", "audit", *options)
        assert server.counts()["requests"] == told["calls"] == 12
        after = json.loads(auditor("scan", "logs.jsonl", "-o", "audit2", *options, "--dry-run", "--format", "json").stdout)
        assert after["calls"] == 12
    assert told["cost"] > 0


@pytest.mark.slow
def test_a_thousand_episodes_with_a_fifth_of_all_calls_failing(auditor, tmp_path):
    many(tmp_path / "logs.jsonl", 1000)
    with running(faults=0.2, seed=11, retry_after=0.05) as server:
        options = ("--judge", "m", "--base-url", server.url, "--judge-on", "all", "--views", "all,actions,reasoning")
        done = auditor(
            "scan",
            "logs.jsonl",
            "-o",
            "audit",
            *options,
            "--concurrency",
            "64",
            "--timeout",
            "1.5",
            "--header",
            "X-Extra: hidden-header-value",
        )
        time.sleep(0.3)
        counts = server.counts()
    audit = tmp_path / "audit"
    cells = {"concealment": 3, "grader_gaming": 2, "reward_hacking": 2, "admission": 1}
    found = rows(
        audit,
        "SELECT rubric, view, status, count(*), count(flagged) FROM verdicts WHERE tier = 'judged' GROUP BY ALL ORDER BY ALL",
    )
    assert Counter({r: sum(n for rubric, _, _, n, _ in found if rubric == r) for r in cells}) == {
        r: 1000 * n for r, n in cells.items()
    }
    assert {status for _, _, status, _, _ in found} <= {"ok", "refused", "truncated", "unparseable", "no_reasoning", "not_asked"}
    assert all(flags == 0 for _, _, status, _, flags in found if status != "ok")
    called = sum(n for rubric, _, status, n, _ in found if status not in ("no_reasoning", "not_asked"))
    ok = sum(n for _, _, status, n, _ in found if status == "ok")
    assert ok > 0.9 * called
    unparseable = sum(n for _, _, status, n, _ in found if status == "unparseable")
    assert unparseable < 0.005 * called
    used = json.loads((audit / "audit.json").read_text())["judge"]["usage"]
    assert used["sent"] == counts["requests"]
    theirs, ours = counts["outcomes"], used["outcomes"]
    assert ours["ok"] == theirs["ok"] + theirs["broken"] + theirs["schema"] + theirs["fenced"]
    assert ours["truncated"] == theirs["length"]
    assert ours["refused"] == theirs["refusal"] + theirs["filter"]
    assert (ours["429"], ours["500"], ours["503"]) == (theirs["429"], theirs["500"], theirs["503"])
    assert ours["timeout"] + ours["disconnected"] == theirs["gone"] + theirs["closed"]
    assert f"{used['sent']:,} calls sent" in done.stderr
    auditor("report", "audit")
    for path in [p for p in audit.rglob("*") if p.is_file()]:
        data = path.read_bytes()
        assert KEY.encode() not in data, path
        assert b"hidden-header-value" not in data, path
    assert KEY not in done.stdout + done.stderr


@pytest.mark.slow
def test_killed_twenty_times_nothing_is_asked_twice_but_what_was_in_flight(tmp_path):
    many(tmp_path / "logs.jsonl", 400)
    rng = random.Random(4)
    with running(latency=0.05) as server, (tmp_path / "errors.txt").open("w") as errors:
        command = [
            AUDITOR,
            "scan",
            "logs.jsonl",
            "-o",
            "audit",
            "--judge",
            "m",
            "--base-url",
            server.url,
            "--judge-on",
            "all",
            "--concurrency",
            "8",
        ]
        kills = 0
        for _ in range(60):
            process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
            if kills == 20:
                assert process.wait(timeout=120) == 0
                break
            time.sleep(rng.uniform(1.0, 2.6))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
            assert process.wait() in (0, -signal.SIGKILL), (tmp_path / "errors.txt").read_text()
        bodies = server.counts(bodies=True)["bodies"]
    assert kills == 20
    # A request may come again only if its answer never arrived: at most the 8 in flight at each kill.
    repeated = sum(len(seen) - 1 for seen in bodies.values())
    assert repeated <= 8 * kills
    db = sqlite3.connect(tmp_path / "audit" / "llm.sqlite")
    assert db.execute("SELECT count(*) FROM replies").fetchone()[0] == len(bodies)
    db.close()
    assert rows(
        tmp_path / "audit",
        "SELECT status, count(*) FROM verdicts WHERE tier = 'judged' AND rubric <> 'admission' GROUP BY 1 ORDER BY 1",
    ) == [("ok", 1200)]


@pytest.mark.parametrize(
    ("settings", "flags", "words"),
    [
        ({"key": "other"}, (), "401 Incorrect API key provided: …."),
        ({"model": "other"}, (), "is the model named 'm'"),
        ({"html": True}, (), "HTML"),
        ({}, ("--max-cost", "1"), "--price IN,OUT"),
        ({}, ("--price", "cheap"), "--price 'cheap'"),
        ({}, ("--views", "all,thoughts"), "--views: 'thoughts'"),
        ({}, ("--judge", "m"), "given twice"),
        ({}, ("--endpoints", "none.yaml"), "none.yaml: cannot be read"),
    ],
)
def test_bad_input_is_one_line(auditor, tmp_path, settings, flags, words):
    many(tmp_path / "logs.jsonl", 2)
    with running(**settings) as server:
        done = auditor("scan", "logs.jsonl", "-o", "audit", "--judge", "m", "--base-url", server.url, *flags, code=2)
    lines = [line for line in done.stderr.splitlines() if line.startswith("auditor: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert KEY not in done.stderr + done.stdout


def test_no_key_and_no_server(auditor, tmp_path, monkeypatch):
    many(tmp_path / "logs.jsonl", 2)
    done = auditor("scan", "logs.jsonl", "-o", "audit", "--judge", "m", "--base-url", "http://127.0.0.1:9/v1", code=2)
    assert "is the server running" in done.stderr
    monkeypatch.delenv("OPENAI_API_KEY")
    done = auditor("scan", "logs.jsonl", "-o", "audit2", "--judge", "gpt-5-mini", code=2)
    assert "no API key: set OPENAI_API_KEY" in done.stderr
    assert not (tmp_path / "audit2").exists()


def test_what_failed_is_asked_again_by_the_next_run(auditor, tmp_path):
    many(tmp_path / "logs.jsonl", 6)
    with running(faults=1.0, fault_kinds="500") as server:
        options = ("--judge", "m", "--base-url", server.url, "--judge-on", "all")
        process = subprocess.Popen(
            [AUDITOR, "scan", "logs.jsonl", "-o", "audit", *options], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
        assert process.returncode == 130, told
        assert b"run the same command again" in told
        server.set(faults=0.0)
        auditor("scan", "logs.jsonl", "-o", "audit", *options)
    assert rows(tmp_path / "audit", "SELECT count(*) FROM verdicts WHERE tier = 'judged' AND status = 'ok'") == [(18,)]


def test_the_budget_leaves_rows_that_say_so_and_the_next_run_goes_on(auditor, tmp_path):
    many(tmp_path / "logs.jsonl", 30)
    with running() as server:
        options = ("--judge", "m", "--base-url", server.url, "--judge-on", "all", "--price", "1,1")
        done = auditor("scan", "logs.jsonl", "-o", "audit", *options, "--max-cost", "0.08")
        assert "budget" in done.stdout
        first = server.counts()["requests"]
        auditor("scan", "logs.jsonl", "-o", "audit", *options)
        assert 0 < first < server.counts()["requests"] == 90
    assert rows(tmp_path / "audit", "SELECT count(*) FROM verdicts WHERE status = 'skipped'") == [(0,)]


def test_a_changed_rubric_redoes_its_own_verdicts_and_a_changed_signal_buys_nothing(auditor, tmp_path):
    import shutil

    from conftest import REPO

    many(tmp_path / "logs.jsonl", 4)
    shutil.copytree(REPO / "rubrics", tmp_path / "rubrics")
    with running() as server:
        options = ("--rubrics", "rubrics", "--judge", "m", "--base-url", server.url, "--judge-on", "all")
        auditor("scan", "logs.jsonl", "-o", "audit", *options)
        base = server.counts()["requests"]
        path = tmp_path / "rubrics" / "concealment.yaml"
        path.write_text(path.read_text().replace("weight: 3", "weight: 2", 1))
        auditor("scan", "logs.jsonl", "-o", "audit", *options)
        assert server.counts()["requests"] == base
        path.write_text(
            path.read_text()
            .replace("Would a user act otherwise if told?", "x")
            .replace("who relies on the result act otherwise", "act otherwise")
        )
        auditor("scan", "logs.jsonl", "-o", "audit", *options)
        assert server.counts()["requests"] == base + 4
    assert rows(tmp_path / "audit", "SELECT count(*) FROM verdicts WHERE tier = 'judged'") == [(16,)]
