"""OpenAI Responses API: instructions and input, output items, batch lines."""

from __future__ import annotations

import json

import pytest

from auditor.convert import read_all
from auditor.readers.base import Reject
from auditor.transcript import Transcript

REPLY = {
    "id": "resp_ab12",
    "object": "response",
    "model": "o9-mini",
    "status": "completed",
    "instructions": "You sort seeds.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "How many jars?"}]},
        {"type": "function_call", "call_id": "c1", "name": "shelf", "arguments": '{"row": 3}'},
        {"type": "function_call_output", "call_id": "c1", "output": "4 jars"},
    ],
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Row three has four."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Four."}]},
        {"type": "function_call", "call_id": "c2", "name": "label", "arguments": "{}"},
    ],
    "metadata": {"task": "seeds", "score": 0},
}


@pytest.fixture
def lines(tmp_path):
    def write(*given: object) -> tuple[list[Transcript], list[Reject]]:
        path = tmp_path / "replies.jsonl"
        path.write_text("".join(json.dumps(g) + "\n" for g in given))
        items = list(read_all([str(path)]))
        return [t for t in items if isinstance(t, Transcript)], [r for r in items if isinstance(r, Reject)]

    return write


def test_instructions_and_input_stand_before_the_output(lines):
    (reply,), rejects = lines(REPLY)
    assert (rejects, reply.format, reply.id, reply.model) == ([], "openai_responses", "resp_ab12", "o9-mini")
    assert [m.role for m in reply.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert [m.content for m in reply.messages] == ["You sort seeds.", "How many jars?", "", "4 jars", "Four."]
    assert (reply.task, reply.score) == ("seeds", 0.0)


def test_a_call_pairs_with_its_output(lines):
    (reply,), _ = lines(REPLY)
    (call,) = reply.messages[2].tool_calls
    assert (call.id, call.name, call.arguments, reply.messages[3].tool_call_id) == ("c1", "shelf", {"row": 3}, "c1")


def test_reasoning_text_and_calls_of_one_reply_are_one_message(lines):
    (reply,), _ = lines(REPLY)
    last = reply.messages[-1]
    assert (last.reasoning, [c.id for c in last.tool_calls]) == ("Row three has four.", ["c2"])


@pytest.mark.parametrize(
    ("reasoning", "kind"),
    [
        ({"summary": [{"type": "summary_text", "text": "Short."}]}, "summarised"),
        ({"summary": [], "content": [{"type": "reasoning_text", "text": "At length."}]}, "raw"),
        ({"summary": [], "encrypted_content": "gAAAA"}, "encrypted"),
    ],
)
def test_what_can_be_read_of_the_reasoning(lines, reasoning, kind):
    (reply,), _ = lines({**REPLY, "output": [{"type": "reasoning", **reasoning}, REPLY["output"][1]]})
    assert reply.reasoning == kind


def test_a_batch_line_holds_a_response(lines):
    body = {key: value for key, value in REPLY.items() if key not in ("input", "instructions")}
    (reply,), rejects = lines({"id": "b1", "custom_id": "jar-1", "response": {"status_code": 200, "body": body}, "error": None})
    assert (rejects, reply.format, reply.id, [m.role for m in reply.messages]) == ([], "openai_responses", "jar-1", ["assistant"])


def test_an_unknown_item_is_counted(lines):
    (reply,), _ = lines({**REPLY, "output": [*REPLY["output"], {"type": "seed_packet"}]})
    assert reply.ignored == {"item/seed_packet": 1}


def test_a_reply_that_was_cut_is_over_its_budget(lines):
    (reply,), _ = lines({**REPLY, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}})
    assert reply.ended == "budget"


def test_an_empty_response_is_a_reject_and_the_rest_goes_on(lines):
    replies, (reject,) = lines(REPLY, {"id": "r", "object": "response", "model": "o9", "output": []}, {**REPLY, "id": "resp_cd"})
    assert [t.id for t in replies] == ["resp_ab12", "resp_cd"]
    assert (reject.line, reject.reason) == (2, "a response without items")
