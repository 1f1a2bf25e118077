"""Progress: what the judge has done, what went wrong by kind, what is left; a line in a pipe, a bar in a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

from conftest import GREEN, episode, write
from llm_server import running

from auditor.llm import LLM, Stats
from auditor.watch import judging_line


def test_the_line_says_it_all():
    door = LLM.__new__(LLM)
    door.stats = Stats(
        sent=120, outcomes=Counter({"ok": 100, "429": 15, "500": 5}), prompt_tokens=9_000, completion_tokens=1_000, cost=1.5
    )
    stage = SimpleNamespace(counts=Counter(judged=50, episodes=200), stats=door.stats)
    told = judging_line(stage, 60.0)
    for words in (
        "judged 50 of 200 episodes",
        "120 calls (15 429, 5 500)",
        "2.0/s",
        "10,000 tokens",
        "$1.50",
        "about 3 min left",
    ):
        assert words in told, told


def test_in_a_terminal_it_is_drawn_and_gone_at_the_end(tmp_path):
    write(tmp_path / "logs.jsonl", [episode(f"e{i}", {**GREEN[0], "content": f"Task {i}."}, *GREEN[1:]) for i in range(12)])
    env = {**os.environ, "OPENAI_API_KEY": "sk-watch", "TERM": "xterm", "COLUMNS": "120"}
    with running(latency=0.3) as server:
        command = [
            str(Path(sys.executable).with_name("auditor")),
            "scan",
            "logs.jsonl",
            "-o",
            "audit",
            "--judge",
            "m",
            "--base-url",
            server.url,
        ]
        main, side = pty.openpty()
        process = subprocess.Popen(
            [*command, "--judge-on", "all", "--concurrency", "4"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=side, env=env
        )
        os.close(side)
        drawn = b""
        while True:
            try:
                data = os.read(main, 65536)
            except OSError:  # the other side of a pseudo terminal was closed
                break
            if not data:
                break
            drawn += data
        os.close(main)
        out, _ = process.communicate()
    assert process.returncode == 0
    assert b"judged" in drawn
    assert b"calls" in drawn
    assert b"judged" not in out
