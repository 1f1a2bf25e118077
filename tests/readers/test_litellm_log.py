"""Logs of single LLM calls."""

from __future__ import annotations

import json
from pathlib import Path

from auditor.convert import read_all
from auditor.transcript import Transcript

SAMPLES = Path(__file__).parent / "samples"


def read(path: Path) -> Transcript:
    (transcript,) = read_all([str(path)])
    assert isinstance(transcript, Transcript)
    return transcript


def test_the_chat_and_its_reply_are_one_episode():
    log = read(SAMPLES / "litellm_log.json")
    assert (log.format, log.model, log.reasoning) == ("litellm_log", "proxy/bellringer", "raw")
    assert [(m.role, m.content.splitlines()[0]) for m in log.messages] == [
        ("user", "Ring twice."),
        ("assistant", "Once."),
        ("tool", "ding"),
        ("assistant", "Twice."),
    ]


def test_calls_are_read_from_the_chat_before_it_became_text():
    log = read(SAMPLES / "litellm_log.json")
    (call,) = log.messages[1].tool_calls
    assert (call.id, call.name, call.arguments) == ("k1", "ring", {"times": 1})
    assert (log.messages[2].tool_call_id, log.messages[2].exit_code) == ("k1", 0)


def test_a_call_that_was_logged_empty_is_still_a_call():
    log = read(SAMPLES / "litellm_log.json")
    assert [c.name for c in log.messages[-1].tool_calls] == ["?"]
    assert log.ended is None


def test_the_end_is_known_only_where_the_reply_is_the_last(tmp_path):
    path = tmp_path / "log.json"
    record = {
        "messages": [{"role": "user", "content": "x"}],
        "response": {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "y"}}]},
    }
    path.write_text(json.dumps(record))
    assert read(path).ended == "final report"
    record["response"]["choices"][0]["message"]["tool_calls"] = [{"id": "f", "function": {"name": "finish", "arguments": "{}"}}]
    path.write_text(json.dumps(record))
    assert read(path).ended == "submitted"


def test_a_prompt_too_long_for_the_head_does_not_lose_the_reply(tmp_path):
    path = tmp_path / "log.json"
    record = json.loads((SAMPLES / "litellm_log.json").read_text())
    record["messages"].insert(0, {"role": "system", "content": "x" * 70_000})
    path.write_text(json.dumps(record))
    assert read(path).messages[-1].content == "Twice."


def test_facts_of_the_call_are_kept():
    assert read(SAMPLES / "litellm_log.json").metadata == {
        "log_id": "chatcmpl-7",
        "finish_reason": "tool_calls",
        "cost": 0.5,
        "latency_sec": 2,
        "timestamp": 9,
    }
