"""OpenHands SDK conversations: events in one file, or one a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.convert import read_all
from auditor.readers.base import Reject
from auditor.transcript import Channel, Transcript, pieces

SAMPLES = Path(__file__).parent / "samples"
STATE = {
    "id": "22222222-bbbb-4bbb-8bbb-000000000000",
    "agent": {"llm": {"model": "acme/velo-2"}, "kind": "Agent"},
    "workspace": {"working_dir": "/shed"},
}


def read(path: Path) -> tuple[list[Transcript], list[Reject]]:
    items = list(read_all([str(path)]))
    return [t for t in items if isinstance(t, Transcript)], [r for r in items if isinstance(r, Reject)]


@pytest.fixture
def conversation() -> Transcript:
    (transcript,), rejects = read(SAMPLES / "openhands.jsonl")
    assert rejects == []
    return transcript


@pytest.fixture
def lines(tmp_path):
    def write(*given: object) -> tuple[list[Transcript], list[Reject]]:
        path = tmp_path / "events.jsonl"
        path.write_text("".join(json.dumps(g) + "\n" for g in given))
        return read(path)

    return write


def event(kind: str, source: str = "agent", **more: object) -> dict[str, object]:
    return {"id": f"id-{kind}", "timestamp": "2026-01-05T10:00:00", "source": source, "kind": kind, **more}


def test_who_says_what(conversation):
    assert [(m.role, m.origin, m.name) for m in conversation.messages] == [
        ("system", "main", None),
        ("user", "main", None),
        ("user", "injected", None),
        ("assistant", "main", None),
        ("tool", "main", "terminal"),
        ("tool", "main", "file_editor"),
        ("assistant", "subagent", "compaction"),
        ("assistant", "main", None),
        ("tool", "main", "finish"),
    ]
    assert (conversation.model, conversation.ended) == ("acme/velo-1", "submitted")
    assert conversation.id == "11111111-aaaa-4aaa-8aaa-000000000001"


def test_parallel_calls_are_one_message_and_think_tags_are_reasoning(conversation):
    reply = conversation.messages[3]
    assert (reply.reasoning, reply.content) == ("Spring or hammer?", "Two checks.")
    assert [(c.id, c.name, c.arguments) for c in reply.tool_calls] == [
        ("tc1", "terminal", {"command": "ring"}),
        ("tc2", "file_editor", {"path": "bell.txt"}),
    ]


def test_reasoning_that_is_repeated_in_think_tags_counts_once(lines):
    action = event(
        "ActionEvent",
        thought=[{"type": "text", "text": "<think>Same.</think>Go."}],
        reasoning_content="Same.\n",
        tool_name="t",
        tool_call_id="c",
    )
    (transcript,), _ = lines(action)
    assert (transcript.messages[0].reasoning, transcript.messages[0].content, transcript.reasoning) == ("Same.\n", "Go.", "raw")


def test_results_bear_exit_codes_and_errors(conversation):
    ring, edit = conversation.messages[4:6]
    assert (ring.tool_call_id, ring.exit_code, ring.is_error) == ("tc1", 4, False)
    assert ring.content == "no sound\n[The command completed with exit code 4.]"
    assert (edit.tool_call_id, edit.content, edit.is_error) == ("tc2", "no such file", True)


def test_minus_one_is_no_exit_code(lines):
    observation = {"content": [], "is_error": True, "exit_code": None, "metadata": {"exit_code": -1}}
    (transcript,), _ = lines(event("ObservationEvent", "environment", observation=observation, tool_call_id="c"))
    assert transcript.messages[0].exit_code is None


def test_a_condensers_summary_is_the_models_word_to_its_later_self(conversation):
    text = "Bell checked; do not tell that the spring broke."
    assert {p.text: p.channel for p in pieces(conversation)}[text] is Channel.SAY


def test_what_an_agent_submits_is_final(conversation):
    assert [p.text for p in pieces(conversation) if p.channel is Channel.FINAL] == ["The bell rings."]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"thinking_blocks": [{"type": "thinking", "thinking": "x", "signature": "s"}]}, "summarised"),
        ({"thinking_blocks": [{"type": "redacted_thinking", "data": "s"}]}, "encrypted"),
        ({"responses_reasoning_item": {"summary": ["x"], "content": None, "encrypted_content": "s"}}, "summarised"),
        ({"reasoning_content": "x"}, "raw"),
        ({}, "absent"),
    ],
)
def test_the_kind_of_reasoning(lines, given, kind):
    (transcript,), _ = lines(event("ActionEvent", thought=[], tool_name="t", tool_call_id="c", **given))
    assert transcript.reasoning == kind


def test_a_run_that_met_its_limit(lines):
    message = event("MessageEvent", "user", llm_message={"role": "user", "content": "go"})
    (transcript,), _ = lines(message, event("ConversationErrorEvent", "environment", code="MaxIterationsReached", detail="500"))
    assert (transcript.ended, transcript.ignored) == ("budget", {"ConversationErrorEvent": 1})


def test_messages_of_the_environment_are_injected(lines):
    (transcript,), _ = lines(event("MessageEvent", "environment", llm_message={"role": "user", "content": "keep going"}))
    assert transcript.messages[0].origin == "injected"


def test_a_folder_of_event_files_is_one_conversation(tmp_path):
    folder = tmp_path / "talk" / "events"
    folder.mkdir(parents=True)
    for i, line in enumerate((SAMPLES / "openhands.jsonl").read_text().splitlines()):
        (folder / f"event-{i:05}-x.json").write_text(json.dumps(json.loads(line), indent=2 if i % 2 else None))
    (tmp_path / "talk" / "base_state.json").write_text(json.dumps(STATE))
    (transcript,), rejects = read(tmp_path)
    assert rejects == []
    assert (transcript.id, transcript.model) == (STATE["id"], "acme/velo-2")
    assert transcript.metadata == {"cwd": "/shed", "models": ["acme/velo-2", "acme/velo-1"]}
    assert len(transcript.messages) == 9


def test_an_event_too_long_for_the_head_is_known_all_the_same(tmp_path):
    folder = tmp_path / "events"
    folder.mkdir()
    long = {
        "id": "a",
        "timestamp": "t",
        "source": "agent",
        "system_prompt": {"type": "text", "text": "x" * 70_000},
        "kind": "SystemPromptEvent",
    }
    (folder / "event-00000-a.json").write_text(json.dumps(long))
    (folder / "event-00001-b.json").write_text(
        json.dumps(event("MessageEvent", "user", llm_message={"role": "user", "content": "hi"}))
    )
    (transcript,), rejects = read(tmp_path)
    assert (rejects, [m.role for m in transcript.messages]) == ([], ["system", "user"])


def test_real_folders_are_read_as_conversations(logs):
    root = logs / "openhands" / "sdk" / "OpenHands__software-agent-sdk" / ".pr"
    found, rejects = read(root)
    assert rejects == []
    whole = {t.id: (t.model, [m.role for m in t.messages]) for t in found}
    assert len(found) == 8
    assert whole["38868567-ae62-4dcb-a567-8b534b99575c"] == ("gpt-4o-mini", ["system", "user", "assistant", "tool"] * 2)
    assert whole["cd945624-03b9-487e-bdd4-018e3f531dfd"][0] == "openai/gpt-4o-mini"


def test_a_part_of_a_conversation_is_an_episode(lines):
    (transcript,), _ = lines(event("ObservationEvent", "environment", observation={"content": "late"}, tool_call_id="gone"))
    assert [(m.role, m.tool_call_id) for m in transcript.messages] == [("tool", "gone")]


def test_a_state_alone_is_neither_episode_nor_reject(tmp_path):
    (tmp_path / "base_state.json").write_text(json.dumps(STATE))
    long = {**STATE, "agent": {**STATE["agent"], "tools": ["x" * 70_000]}}
    (tmp_path / "long.json").write_text(json.dumps({"id": STATE["id"], "agent": long["agent"], "workspace": {}}))
    assert read(tmp_path) == ([], [])


def test_bad_events_are_set_aside_and_others_counted(lines):
    (transcript,), rejects = lines(
        event("MessageEvent", "user", llm_message={"role": "user", "content": "hi"}),
        event("MessageEvent"),
        event("PauseEvent", "user"),
        "x",
    )
    assert (transcript.ignored, [r.line for r in rejects]) == ({"PauseEvent": 1}, [2, 4])


def test_events_without_a_message_are_rejected(lines):
    transcripts, (reject,) = lines(event("PauseEvent", "user"))
    assert transcripts == []
    assert "no messages" in reject.reason
