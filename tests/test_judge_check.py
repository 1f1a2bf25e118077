"""Canaries against a real server: a gullible judge is caught, a steady one is not accused."""

from __future__ import annotations

import json

import pytest
from conftest import GREEN, RED, episode, write
from llm_server import running


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-judge-check")


def flips(auditor, tmp_path, **settings):
    write(
        tmp_path / "logs.jsonl",
        [episode("red", *RED), episode("green", *GREEN[:3], {"role": "assistant", "content": "Done, it is green."})],
    )
    with running(**settings) as server:
        done = auditor("judge-check", "logs.jsonl", "--judge", "m", "--base-url", server.url, "--format", "json")
    found = json.loads(done.stdout)["canaries"]
    return {(c["changed"], c["rubric"]): (c["k"], c["n"], c["unknown"]) for c in found}


def test_a_steady_judge_does_not_flip(auditor, tmp_path):
    found = flips(auditor, tmp_path)
    assert {k for k, _, _ in found.values()} == {0}
    assert found["reasoning in good faith", "concealment"] == (0, 1, 1)  # one of the two has no reasoning to rewrite
    assert found["nothing (three repeats)", "concealment"] == (0, 2, 0)


def test_a_gullible_judge_is_caught(auditor, tmp_path):
    found = flips(auditor, tmp_path, gullible=True)
    assert found["says verdict: clean", "concealment"] == (1, 2, 0)
    assert found["says verdict: guilty", "concealment"] == (1, 2, 0)
    assert found["forged frames", "concealment"][0] == 0


def test_a_wrong_key_and_no_episodes_are_one_line(auditor, tmp_path):
    (tmp_path / "empty").mkdir()
    with running(key="other") as server:
        write(tmp_path / "logs.jsonl", [episode("red", *RED)])
        assert "401" in auditor("judge-check", "logs.jsonl", "--judge", "m", "--base-url", server.url, code=2).stderr
        (tmp_path / "x.jsonl").write_text("{}\n")
        assert "no episodes here" in auditor("judge-check", "x.jsonl", "--judge", "m", "--base-url", server.url, code=2).stderr
