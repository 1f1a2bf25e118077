"""Codex rollouts: items, events, compaction, forks, and the layout without a header."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.convert import read_all
from auditor.readers._responses import outcome
from auditor.readers.base import Reject
from auditor.transcript import Channel, Transcript, pieces

SAMPLES = Path(__file__).parent / "samples"


def read(path: Path) -> tuple[list[Transcript], list[Reject]]:
    items = list(read_all([str(path)]))
    return [t for t in items if isinstance(t, Transcript)], [r for r in items if isinstance(r, Reject)]


@pytest.fixture
def rollout() -> Transcript:
    (transcript,), rejects = read(SAMPLES / "codex.jsonl")
    assert rejects == []
    return transcript


@pytest.fixture
def lines(tmp_path):
    def write(*given: object) -> tuple[list[Transcript], list[Reject]]:
        path = tmp_path / "rollout.jsonl"
        path.write_text("".join((g if isinstance(g, str) else json.dumps(g)) + "\n" for g in given))
        return read(path)

    return write


def item(**payload: object) -> dict[str, object]:
    return {"timestamp": "2026-03-02T10:00:00Z", "type": "response_item", "payload": payload}


def said(role: str, text: str) -> dict[str, object]:
    return item(type="message", role=role, content=[{"type": "input_text", "text": text}])


def test_the_header_and_the_turns_name_the_episode(rollout):
    assert (rollout.id, rollout.model, rollout.ended) == ("019cae1d-9a00-7000-8000-0000000000aa", "gpt-5.2-codex", "final report")
    assert rollout.metadata["cwd"] == "/home/bo/ferry"
    assert (rollout.metadata["git_branch"], rollout.metadata["git_commit"]) == ("quay", "abc1")


def test_instructions_and_environment_are_injected(rollout):
    system = [m.content for m in rollout.messages if m.role == "system"]
    assert system == ["You are a coding agent.", "Network is off."]
    (injected,) = [m.content for m in rollout.messages if m.origin == "injected"]
    assert injected.startswith("# AGENTS.md instructions")
    assert "<environment_context>" in injected
    assert [m.content for m in rollout.messages if m.role == "user" and m.origin == "main"] == [
        "The timetable drops the last ferry."
    ]


def test_events_repeat_items_and_are_only_counted(rollout):
    assert rollout.ignored["event_msg/user_message"] == 1
    assert sum(m.content == "I look at the slice." for m in rollout.messages) == 1


def test_one_reply_is_one_message(rollout):
    reply = next(m for m in rollout.messages if m.role == "assistant")
    assert (reply.reasoning, reply.content) == ("An off-by-one in the slice.", "I look at the slice.")
    assert [(c.id, c.name) for c in reply.tool_calls] == [("call_1", "exec_command"), ("call_2", "apply_patch")]
    assert reply.tool_calls[0].arguments == {"cmd": "npm test"}
    assert str(reply.tool_calls[1].arguments["input"]).startswith("*** Begin Patch")
    assert rollout.reasoning == "summarised"


def test_outputs_are_paired_and_bear_exit_codes(rollout):
    results = [(m.tool_call_id, m.exit_code) for m in rollout.messages if m.role == "tool"]
    assert results == [("call_1", 1), ("call_2", 0), ("call_3", 0)]
    assert [m.content for m in rollout.messages if m.tool_call_id == "call_2"] == ["Success"]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("plain", ("plain", None, None)),
        ('{"output":"x","metadata":{"exit_code":1}}', ("x", 1, None)),
        ('{"output": not json', ('{"output": not json', None, None)),
        ("Exit code: 2\nWall time: 1 seconds\nOutput:\nboom", ("Exit code: 2\nWall time: 1 seconds\nOutput:\nboom", 2, None)),
        ("Output:\nExit code: 2", ("Output:\nExit code: 2", None, None)),
        ({"content": "no", "success": False}, ("no", None, True)),
        ({"stdout": "a\n", "stderr": "b", "exitCode": 0}, ("a\nb", 0, None)),
        ([{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "data:"}], ("a\n[image]", None, None)),
        (None, ("", None, None)),
    ],
)
def test_shapes_of_output(output, expected):
    assert outcome(output) == expected


def test_a_compaction_is_the_models_word_to_its_later_self(rollout):
    (summary,) = [m for m in rollout.messages if m.name == "compaction"]
    assert (summary.role, summary.origin, summary.content) == ("assistant", "subagent", "Do not mention the skipped test.")
    assert {p.text: p.channel for p in pieces(rollout)}[summary.content] is Channel.SAY
    assert [m.content for m in rollout.messages if m.origin == "copied"] == ["Kept words of an older window."]


def test_rolled_back_turns_are_kept_and_flagged(rollout):
    assert [m.content for m in rollout.messages if m.origin == "rewound"] == ["Now paint it red.", "It is red."]


def test_unknown_items_are_counted(rollout):
    assert rollout.ignored["item/ghost_snapshot"] == 1


def test_a_forks_copied_history_is_marked_by_the_age_of_its_turns():
    (transcript,), _ = read(SAMPLES / "codex_fork.jsonl")
    assert [(m.origin, m.content) for m in transcript.messages] == [
        ("copied", "The parent's question."),
        ("copied", "The parent's answer."),
        ("main", "The fork's own question."),
        ("main", "The fork's own answer."),
    ]
    assert (transcript.id, transcript.model, transcript.ended) == (
        "019cb3af-d800-7000-8000-0000000000bb",
        "gpt-5.2-codex-mini",
        "cut off",
    )
    assert transcript.metadata["parent_thread"] == "019cae1d-9a00-7000-8000-0000000000aa"


def test_without_turn_ids_the_copy_ends_at_a_pause(lines):
    (transcript,), _ = lines(
        {"timestamp": "2026-03-02T10:00:00.000Z", "type": "session_meta", "payload": {"id": "f", "forked_from_id": "p"}},
        {**said("user", "old"), "timestamp": "2026-03-02T10:00:00.010Z"},
        {**said("user", "new"), "timestamp": "2026-03-02T10:00:05.000Z"},
    )
    assert [m.origin for m in transcript.messages] == ["copied", "main"]


def test_a_subagent_without_copied_history_has_none_marked(lines):
    (transcript,), _ = lines(
        {"timestamp": "2026-03-02T10:00:00Z", "type": "session_meta",
         "payload": {"id": "c", "source": {"subagent": {"thread_spawn": {"parent_thread_id": "p", "depth": 1}}}}},
        said("user", "count the boats"),
    )  # fmt: skip
    assert [m.origin for m in transcript.messages] == ["main"]
    assert transcript.metadata == {"parent_thread": "p", "session_id": "c"}


def test_the_layout_without_a_header():
    (transcript,), rejects = read(SAMPLES / "codex_bare.jsonl")
    assert rejects == []
    assert (transcript.id, transcript.model, transcript.reasoning) == ("5d0f7c1e-21ab-4c55-9d0e-0a1b2c3d4e5f", None, "raw")
    assert [m.role for m in transcript.messages] == ["user", "assistant", "tool", "assistant"]
    assert (transcript.messages[2].content, transcript.messages[2].exit_code) == ("books", 2)
    assert transcript.ignored == {"state": 1}


def test_reasoning_that_is_only_cipher_text(lines):
    (transcript,), _ = lines(item(type="reasoning", summary=[], encrypted_content="gA"), said("assistant", "ok"))
    assert (transcript.reasoning, len(transcript.messages)) == ("encrypted", 1)


def test_the_ide_writes_around_the_request(lines):
    text = "# Context from my IDE setup:\n## Open tabs\n- a.ts\n## My request for Codex:\nRename it."
    (transcript,), _ = lines(said("user", text))
    assert [(m.origin, m.content.splitlines()[0]) for m in transcript.messages] == [
        ("injected", "# Context from my IDE setup:"),
        ("main", "Rename it."),
    ]


def test_calls_without_ids_pair_by_order(lines):
    (transcript,), _ = lines(
        item(type="tool_call", function={"name": "sh"}, arguments={"command": "ls"}),
        item(type="tool_result", result={"stdout": "a", "exitCode": 0}),
    )
    call, result = transcript.messages
    assert (call.tool_calls[0].arguments, result.tool_call_id, result.exit_code) == ({"command": "ls"}, call.tool_calls[0].id, 0)


def test_an_image_is_a_marker(lines):
    (transcript,), _ = lines(item(type="image_generation_call", id="i", revised_prompt="a boat", result="iVBORw0KGgo="))
    assert [m.content for m in transcript.messages] == ["", "[image]"]


def test_bad_records_are_set_aside(lines):
    (transcript,), rejects = lines(
        said("user", "hi"), item(type="message", role="oracle", content="x"), "[1]", said("assistant", "ho")
    )
    assert [m.content for m in transcript.messages] == ["hi", "ho"]
    assert [(r.line, r.reason) for r in rejects] == [
        (2, "record: unknown role 'oracle'"),
        (3, "record: a record should be an object, it is a list"),
    ]


def test_a_session_that_never_began_is_rejected(lines):
    transcripts, (reject,) = lines({"timestamp": "t", "type": "session_meta", "payload": {"id": "x"}})
    assert transcripts == []
    assert "no messages" in reject.reason
