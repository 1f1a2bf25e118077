"""Anthropic Messages: blocks, results in user turns, kinds of reasoning, batch results."""

from __future__ import annotations

import json

import pytest

from auditor.convert import read_all
from auditor.readers.base import Reject
from auditor.transcript import Transcript

RUN = {
    "id": "run-8",
    "model": "claude-sonnet-4-5",
    "system": [{"type": "text", "text": "You mend clocks."}],
    "metadata": {"task": "clock", "score": 1, "passed": True, "bench": "oak"},
    "messages": [
        {"role": "user", "content": "It runs slow."},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Weigh the bob.", "signature": "c2ln"},
                {"type": "text", "text": "I measure it."},
                {"type": "tool_use", "id": "t1", "name": "bash", "input": {"command": "tick --rate"}},
                {"type": "tool_use", "id": "t2", "name": "look", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "no such clock", "is_error": True},
                {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "dust"}, {"type": "image"}]},
                {"type": "text", "text": "Mind the glass."},
            ],
        },
        {"role": "assistant", "content": "The bob hangs too low."},
    ],
}


@pytest.fixture
def lines(tmp_path):
    def write(*given: object) -> tuple[list[Transcript], list[Reject]]:
        path = tmp_path / "runs.jsonl"
        path.write_text("".join(json.dumps(g) + "\n" for g in given))
        items = list(read_all([str(path)]))
        return [t for t in items if isinstance(t, Transcript)], [r for r in items if isinstance(r, Reject)]

    return write


def said(*blocks: object) -> dict[str, object]:
    return {**RUN, "messages": [{"role": "user", "content": "Go."}, {"role": "assistant", "content": list(blocks)}]}


def test_who_says_what(lines):
    (run,), rejects = lines(RUN)
    assert (rejects, run.format, run.id, run.model) == ([], "anthropic", "run-8", "claude-sonnet-4-5")
    assert [m.role for m in run.messages] == ["system", "user", "assistant", "tool", "tool", "user", "assistant"]
    assert run.messages[0].content == "You mend clocks."


def test_metadata_names_task_and_score(lines):
    (run,), _ = lines(RUN)
    assert (run.task, run.score, run.passed, run.metadata["bench"]) == ("clock", 1.0, True, "oak")


def test_calls_pair_with_the_results_in_the_next_user_turn(lines):
    (run,), _ = lines(RUN)
    assert [(c.id, c.name, c.arguments) for c in run.messages[2].tool_calls] == [
        ("t1", "bash", {"command": "tick --rate"}),
        ("t2", "look", {}),
    ]
    first, second = run.messages[3:5]
    assert (first.tool_call_id, first.content, first.is_error) == ("t1", "no such clock", True)
    assert (second.tool_call_id, second.content, second.is_error) == ("t2", "dust\n[image]", None)


def test_signed_reasoning_is_a_summary(lines):
    (run,), _ = lines(RUN)
    assert (run.messages[2].reasoning, run.messages[2].content, run.reasoning) == (
        "Weigh the bob.",
        "I measure it.",
        "summarised",
    )


def test_what_can_be_read_of_the_reasoning(lines):
    redacted = said({"type": "redacted_thinking", "data": "EmwKAhgB"}, {"type": "text", "text": "Done."})
    bare = said({"type": "text", "text": "Done."})
    old = {**said({"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}), "model": "claude-3-7-sonnet"}
    runs, _ = lines(redacted, bare, old)
    assert [t.reasoning for t in runs] == ["encrypted", "absent", "raw"]


def test_a_batch_line_gives_its_reply_and_an_error_is_a_reject(lines):
    reply = {"role": "assistant", "model": "claude-haiku", "content": [{"type": "text", "text": "Tock."}]}
    runs, (reject,) = lines(
        {"custom_id": "q1", "result": {"type": "succeeded", "message": reply}},
        {"custom_id": "q2", "result": {"type": "errored", "error": {"type": "overloaded"}}},
    )
    assert [(t.id, t.model, [m.content for m in t.messages]) for t in runs] == [("q1", "claude-haiku", ["Tock."])]
    assert (reject.line, reject.reason) == (2, "the request errored; there is no reply")


def test_an_unknown_role_is_a_reject_and_the_rest_goes_on(lines):
    runs, (reject,) = lines(RUN, {**RUN, "messages": [{"role": "cuckoo", "content": "Hoo."}]}, {**RUN, "id": "run-9"})
    assert [t.id for t in runs] == ["run-8", "run-9"]
    assert (reject.line, reject.reason) == (2, "unknown role 'cuckoo'")
