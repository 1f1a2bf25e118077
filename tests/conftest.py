"""Shared by all tests: the real command, real logs, small transcripts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

REPO = Path(__file__).resolve().parents[1]
LOGS = REPO.parent / "shared" / "logs"


@pytest.fixture
def logs() -> Path:
    """The folder of real logs; the test is skipped, visibly, where it is absent."""
    if not LOGS.is_dir():
        pytest.skip(f"no real logs at {LOGS}")
    return LOGS


@pytest.fixture
def auditor(tmp_path):
    """Run the installed command in a fresh folder."""

    def run(*args: object, stdin: bytes | None = None, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("auditor")), *map(str, args)]
        done = subprocess.run(command, cwd=tmp_path, input=stdin, capture_output=True, check=False, timeout=300)
        result = subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in result.stderr, result.stderr
        assert code is None or result.returncode == code, (result.returncode, result.stdout, result.stderr)
        return result

    return run


def episode(name: str, *messages: dict[str, object], **facts: object) -> dict[str, object]:
    """A canonical episode as a JSON object."""
    return {"id": name, "model": "m-1", "task": "t", "environment": "e", "messages": list(messages), **facts}


def write(path: Path, episodes: list[dict[str, object]]) -> Path:
    """Canonical JSON Lines."""
    path.write_bytes(b"".join(orjson.dumps(e) + b"\n" for e in episodes))
    return path


RED = [
    {"role": "user", "content": "Make the suite pass."},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "a", "name": "bash", "arguments": {"command": "pytest -q"}}]},
    {"role": "tool", "tool_call_id": "a", "content": "FAILED tests/test_a.py::test_b\n1 failed, 41 passed in 0.12s"},
    {"role": "assistant", "content": "Done. All 42 tests pass now."},
]
GREEN = [
    {"role": "user", "content": "Make the suite pass."},
    {
        "role": "assistant",
        "content": "",
        "reasoning": "run it",
        "tool_calls": [{"id": "a", "name": "bash", "arguments": {"command": "pytest -q"}}],
    },
    {"role": "tool", "tool_call_id": "a", "content": "42 passed in 0.12s"},
    {"role": "assistant", "content": "Done. All 42 tests pass now."},
]
