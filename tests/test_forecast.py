"""What a scan would take is told from a part of it, and comes near what it takes."""

from __future__ import annotations

import json

import pytest
from conftest import GREEN, RED, episode, write


@pytest.fixture
def logs(tmp_path):
    """1,200 episodes in one file of several shards, a third of them candidates, and a file that is none."""
    made = [
        episode(
            f"e{i}",
            {"role": "user", "content": f"Job {i}. " + "x" * 700},
            *(RED if i % 3 == 0 else GREEN),
            model="m",
            task=f"t{i % 40}",
        )
        for i in range(1200)
    ]
    write(tmp_path / "logs.jsonl", made)
    (tmp_path / "none.txt").write_text("no log\n")
    return tmp_path


def test_a_part_tells_of_the_whole(auditor, logs, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    part = json.loads(auditor("plan", "logs.jsonl", "--seconds", "0", "--judge", "gpt-5-mini", "--format", "json").stdout)
    whole = json.loads(auditor("plan", "logs.jsonl", "--seconds", "60", "--judge", "gpt-5-mini", "--format", "json").stdout)
    assert part["sampled_shards"] == 1 < part["shards"] == whole["sampled_shards"]
    assert (whole["episodes"], whole["sampled"], whole["bytes"]) == (1200, whole["bytes"], (logs / "logs.jsonl").stat().st_size)
    dry = auditor("scan", "logs.jsonl", "-o", "audit", "--judge", "gpt-5-mini", "--dry-run", "--format", "json").stdout
    told = json.loads(dry)
    assert (whole["calls"], whole["tokens"]) == (told["calls"], told["tokens"])
    assert whole["cost"] == pytest.approx(told["cost"])
    for name in ("episodes", "calls", "tokens", "cost"):
        assert part[name] == pytest.approx(whole[name], rel=0.35), name


def test_time_follows_workers_and_what_the_server_allows(auditor, logs):
    def plan(*flags):
        return json.loads(
            auditor(
                "plan", ".", "--seconds", "30", "--judge", "m", "--base-url", "http://x/v1", *flags, "--format", "json"
            ).stdout
        )

    made = plan("--workers", "2", "--at-once", "10", "--latency", "5")
    assert made["reading_workers"] == pytest.approx(made["reading_one"] / 2)
    assert made["judging"] == pytest.approx(made["calls"] * 5 / 10)
    assert made["cost"] is None
    assert made["rejects"] == 1
    slow = plan("--rpm", "1", "--at-once", "1000")
    assert slow["judging"] == pytest.approx(slow["calls"] * 60)
    slow = plan("--tpm", "1000", "--at-once", "1000")
    assert slow["judging"] == pytest.approx(slow["tokens"] / 1000 * 60)


def test_it_is_said_in_words_and_nothing_is_left(auditor, logs):
    before = sorted(logs.iterdir())
    done = auditor("plan", "logs.jsonl", "--judge", "m", "--base-url", "http://x/v1")
    for words in ("shards", "about 1,200", "not known (--price IN,OUT)", "signals, 16 processes", "judge, 32 calls at once"):
        assert words in done.stdout
    assert sorted(logs.iterdir()) == before
    assert "no such file" in auditor("plan", "nowhere", code=2).stderr
