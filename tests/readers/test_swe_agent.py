"""SWE-agent trajectories, with and without function calling."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.convert import read_all
from auditor.readers.base import Reject
from auditor.transcript import Transcript

SAMPLES = Path(__file__).parent / "samples"


def read(path: Path) -> tuple[list[Transcript], list[Reject]]:
    items = list(read_all([str(path)]))
    return [t for t in items if isinstance(t, Transcript)], [r for r in items if isinstance(r, Reject)]


def one(path: Path) -> Transcript:
    (transcript,), rejects = read(path)
    assert (rejects, transcript.format) == ([], "swe_agent")
    return transcript


@pytest.fixture
def text() -> Transcript:
    return one(SAMPLES / "swe_agent.json")


@pytest.fixture
def tools() -> Transcript:
    return one(SAMPLES / "swe_agent_tools.json")


def test_who_says_what(text):
    assert [(m.role, m.origin) for m in text.messages] == [
        ("system", "main"), ("user", "injected"), ("user", "main"), ("assistant", "main"), ("tool", "main"),
        ("assistant", "main"), ("assistant", "main"), ("tool", "main"),
    ]  # fmt: skip


def test_an_action_in_text_is_a_call(text):
    said, seen = text.messages[3:5]
    assert (said.content, said.tool_calls[0].name, said.tool_calls[0].arguments) == (
        "Let me look.",
        "bash",
        {"command": "ls lamp"},
    )
    assert seen.tool_call_id == said.tool_calls[0].id


def test_a_refused_action_is_put_back_in_its_place(text):
    assert (text.messages[5].content, text.messages[5].tool_calls[0].arguments) == ("I open it.", {"command": "vim lamp"})


def test_the_submission(text):
    assert (text.messages[6].submits, text.messages[7].content, text.ended) == (True, "diff --lamp", "submitted")


def test_task_is_the_name_of_a_traj_file(tmp_path):
    path = tmp_path / "lamp-3.traj"
    path.write_bytes((SAMPLES / "swe_agent.json").read_bytes())
    assert one(path).task == "lamp-3"


def test_function_calling(tools):
    said, seen = tools.messages[2:4]
    assert (said.tool_calls[0].id, seen.role, seen.tool_call_id) == ("t1", "tool", "t1")
    assert (said.reasoning, tools.reasoning) == ("A loose wire, perhaps.", "summarised")
    assert (tools.model, tools.task, tools.ended) == ("acme/velo-1", "lamp-3", "budget")


def test_the_harness_speaks_where_a_step_has_no_response(tools):
    assert (tools.messages[-1].content, tools.messages[-1].origin) == ("Exit due to cost limit", "injected")


def test_each_attempt_is_an_episode(tmp_path):
    attempt = json.loads((SAMPLES / "swe_agent_tools.json").read_text())
    (tmp_path / "a.traj").write_text(json.dumps({"info": {"best_attempt_idx": 1}, "attempts": [attempt, attempt]}))
    transcripts, _ = read(tmp_path / "a.traj")
    assert [t.metadata["attempt"] for t in transcripts] == [0, 1]
