"""mini-swe-agent: tool calls, blocks in plain text, and Responses items."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.convert import read_all
from auditor.readers.base import Reject
from auditor.transcript import Transcript, pieces

SAMPLES = Path(__file__).parent / "samples"


def read(path: Path) -> tuple[list[Transcript], list[Reject]]:
    items = list(read_all([str(path)]))
    return [t for t in items if isinstance(t, Transcript)], [r for r in items if isinstance(r, Reject)]


def one(name: str) -> Transcript:
    (transcript,), rejects = read(SAMPLES / name)
    assert (rejects, transcript.format) == ([], "mini_swe_agent")
    return transcript


@pytest.fixture
def tools() -> Transcript:
    return one("mini_swe_agent.json")


def test_model_task_and_end(tools):
    assert (tools.model, tools.task, tools.ended) == ("acme/velo-1", "lamp__lamp-3", "submitted")
    assert (tools.metadata["exit_status"], tools.metadata["submission"]) == ("Submitted", "diff --lamp")


def test_calls_are_paired_and_exit_codes_read(tools):
    results = [m for m in tools.messages if m.role == "tool"]
    assert [(m.tool_call_id, m.exit_code, m.is_error) for m in results] == [
        ("c1", 2, None), ("c2", None, True), ("c3", None, None)
    ]  # fmt: skip


def test_reasoning_and_time(tools):
    assert tools.messages[2].reasoning == "The wire may be loose."
    assert tools.messages[2].timestamp == "2023-11-14T22:13:20+00:00"


def test_a_refused_reply_is_kept_where_the_log_has_it(tools):
    said, refusal = tools.messages[5:7]
    assert (said.role, said.content) == ("assistant", "I think it is done.")
    assert (refusal.role, refusal.origin) == ("user", "injected")


def test_the_patch_that_ends_a_run_is_no_observation(tools):
    assert tools.messages[-1].content == "diff --lamp"
    assert "diff --lamp" not in [p.text for p in pieces(tools)]


def test_text_mode_cuts_the_command_out_and_pairs_the_next_turn():
    text = one("mini_swe_agent_text.json")
    asked, answered = text.messages[2:4]
    assert (asked.content, asked.tool_calls[0].arguments) == ("Which files?", {"command": "ls lamp"})
    assert (answered.role, answered.tool_call_id, answered.exit_code) == ("tool", asked.tool_calls[0].id, 1)
    assert (text.ended, text.model) == ("submitted", None)


def test_two_blocks_run_nothing():
    said, refusal = one("mini_swe_agent_text.json").messages[4:6]
    assert said.tool_calls == ()
    assert (refusal.role, refusal.origin) == ("user", "injected")


def test_responses_mode():
    run = one("mini_swe_agent_responses.json")
    reply, result = run.messages[2:4]
    assert (reply.reasoning, reply.content, reply.tool_calls[0].name) == ("Look at the wire.", "I look.", "bash")
    assert (result.tool_call_id, result.exit_code) == ("f1", 0)
    assert (run.reasoning, run.ended) == ("summarised", "budget")


def test_a_run_without_messages_is_set_aside(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"trajectory_format": "mini-swe-agent-1", "info": {}, "messages": []}))
    transcripts, rejects = read(tmp_path / "a.json")
    assert (transcripts, [r.reason for r in rejects]) == ([], ["run: no messages"])
