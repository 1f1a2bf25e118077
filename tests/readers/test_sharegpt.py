"""ShareGPT conversations: speakers, calls that pair by order, reasoning in tags."""

from __future__ import annotations

import json

import pytest

from auditor.convert import read_all
from auditor.readers.base import Reject
from auditor.transcript import Transcript

TALK = {
    "id": 7,
    "model": "wren-1",
    "system": "You tend a harbour.",
    "tools": '[{"name": "tide"}]',
    "score": 0.5,
    "conversations": [
        {"from": "human", "value": "When is high water at both piers?"},
        {"from": "function_call", "value": '[{"name": "tide", "arguments": {"pier": 1}}, {"name": "tide", "arguments": {"pier": 2}}]'},
        {"from": "observation", "value": "06:10"},
        {"from": "observation", "value": "06:40"},
        {"from": "gpt", "value": "<think>Half an hour apart.</think>\nAt 06:10 and 06:40."},
    ],
}  # fmt: skip


@pytest.fixture
def lines(tmp_path):
    def write(*given: object) -> tuple[list[Transcript], list[Reject]]:
        path = tmp_path / "talks.jsonl"
        path.write_text("".join(json.dumps(g) + "\n" for g in given))
        items = list(read_all([str(path)]))
        return [t for t in items if isinstance(t, Transcript)], [r for r in items if isinstance(r, Reject)]

    return write


def test_who_says_what(lines):
    (talk,), rejects = lines(TALK)
    assert (rejects, talk.format, talk.model, talk.score, talk.passed) == ([], "sharegpt", "wren-1", 0.5, None)
    assert [m.role for m in talk.messages] == ["system", "user", "assistant", "tool", "tool", "assistant"]
    assert talk.metadata["log_id"] == 7


def test_results_pair_with_calls_by_order(lines):
    (talk,), _ = lines(TALK)
    first, second = talk.messages[2].tool_calls
    assert (first.name, first.arguments, second.arguments) == ("tide", {"pier": 1}, {"pier": 2})
    assert [(m.tool_call_id, m.content) for m in talk.messages if m.role == "tool"] == [(first.id, "06:10"), (second.id, "06:40")]


def test_reasoning_in_tags_is_no_part_of_what_is_said(lines):
    (talk,), _ = lines(TALK)
    assert (talk.messages[-1].reasoning, talk.messages[-1].content) == ("Half an hour apart.", "At 06:10 and 06:40.")
    assert talk.reasoning == "raw"


def test_an_unknown_speaker_is_a_reject_and_the_rest_goes_on(lines):
    talks, (reject,) = lines(TALK, {"conversations": [{"from": "gull", "value": "kree"}]}, {**TALK, "model": "wren-2"})
    assert [t.model for t in talks] == ["wren-1", "wren-2"]
    assert (reject.line, reject.reason) == (2, "unknown speaker 'gull'")


def test_a_result_without_a_call_stays_unpaired(lines):
    (talk,), _ = lines({"conversations": [{"from": "tool", "value": "06:10"}, {"from": "gpt", "value": "Early."}]})
    assert talk.messages[0].tool_call_id is None
