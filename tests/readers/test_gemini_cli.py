"""Gemini CLI chats: the old JSON, the patch log, and API history."""

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


@pytest.fixture
def chat() -> Transcript:
    (transcript,), rejects = read(SAMPLES / "gemini_cli.json")
    assert rejects == []
    return transcript


@pytest.fixture
def patched() -> Transcript:
    (transcript,), rejects = read(SAMPLES / "gemini_cli.jsonl")
    assert rejects == []
    return transcript


@pytest.fixture
def lines(tmp_path):
    def write(*given: object) -> tuple[list[Transcript], list[Reject]]:
        path = tmp_path / "session.jsonl"
        path.write_text("".join(json.dumps(g) + "\n" for g in given))
        return read(path)

    return write


HEADER = {"sessionId": "s", "projectHash": "h"}


def said(name: str, kind: str, text: str) -> dict[str, object]:
    return {"id": name, "type": kind, "timestamp": "t", "content": text}


def test_the_session_names_the_episode(chat):
    assert (chat.id, chat.model, chat.ended) == ("3c9f1c1e-77aa-4a0e-8f57-5a1d2c3b4e5f", "gemini-3-pro", "final report")
    assert [(m.role, m.origin) for m in chat.messages] == [
        ("system", "injected"),
        ("user", "main"),
        ("assistant", "main"),
        ("tool", "main"),
        ("tool", "main"),
        ("assistant", "main"),
        ("user", "injected"),
        ("system", "injected"),
    ]


def test_thoughts_are_summarised_reasoning(chat):
    assert (chat.messages[2].reasoning, chat.reasoning) == ("Tap: It may be dry.", "summarised")


def test_tool_calls_have_their_results_beside_them(chat):
    shell, other = chat.messages[2].tool_calls
    assert (shell.id, shell.name, shell.arguments) == ("tap-1", "run_shell_command", {"command": "./tap on"})
    first, second = chat.messages[3:5]
    assert (first.tool_call_id, first.exit_code, first.is_error) == ("tap-1", 3, False)
    assert (second.tool_call_id, second.content, second.is_error) == (other.id, "no such file", True)


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("Output: x\nExit Code: 0\nProcess Group PGID: 1", 0),
        ("Output: x\nError: (none)\nExit Code: (none)\nSignal: 9", None),
        ("Output: Exit Code: 5\nProcess Group PGID: 1", None),
        ("Exit Code: 5\nsaid the program", None),
    ],
)
def test_only_the_shell_tools_own_line_tells_the_exit_code(lines, output, code):
    call = {
        "id": "c",
        "name": "run_shell_command",
        "args": {},
        "status": "success",
        "result": [{"functionResponse": {"response": {"output": output}}}],
    }
    (transcript,), _ = lines(HEADER, {**said("a", "gemini", ""), "toolCalls": [call]})
    assert transcript.messages[-1].exit_code == code


def test_media_are_markers(chat):
    assert chat.messages[1].content == "Water the plants.\n[image]"


def test_notices_keep_their_kind(chat):
    assert [(m.name, m.content) for m in chat.messages if m.role == "system"] == [
        ("info", "A newer version is there."),
        ("error", "Quota exceeded."),
    ]


def test_a_record_with_a_known_id_replaces_it_and_updates_are_applied(patched):
    (answer,) = [m for m in patched.messages if m.content.startswith("The Danub")]
    assert (answer.content, answer.reasoning) == ("The Danube.", "Rivers: One in Europe.")


def test_a_rewind_keeps_what_was_taken_back(patched):
    assert [m.content for m in patched.messages if m.origin == "rewound"] == ["Shorter.", "Po."]


def test_compression_restates_the_history_without_losing_it(patched):
    assert [m.content for m in patched.messages if m.origin == "copied"] == ["(history so far, compressed)"]
    assert [m.content for m in patched.messages if m.origin == "main"] == [
        "Name a river.",
        "The Danube.",
        "In Asia, please.",
        "The Amur.",
    ]
    assert patched.ignored == {"messages left out of a restated history": 3}


def test_a_rewind_to_an_unknown_message_takes_back_everything(lines):
    (transcript,), _ = lines(HEADER, said("a", "user", "x"), {"$rewindTo": "?"}, said("b", "user", "y"))
    assert [m.origin for m in transcript.messages] == ["rewound", "main"]


def test_an_id_said_again_after_a_rewind_is_a_new_message(lines):
    (transcript,), _ = lines(HEADER, said("a", "user", "first"), {"$rewindTo": "a"}, said("a", "user", "second"))
    assert [(m.origin, m.content) for m in transcript.messages] == [("rewound", "first"), ("main", "second")]


def test_a_history_stated_whole_again_and_again_only_grows(lines):
    one, two = said("a", "user", "x"), said("b", "gemini", "y")
    (transcript,), _ = lines(
        HEADER, {"$set": {"messages": [one]}}, {"$set": {"messages": [one, two]}}, {"$set": {"messages": [one]}}
    )
    assert [(m.origin, m.content) for m in transcript.messages] == [("main", "x"), ("rewound", "y")]


def test_api_history_pairs_by_order():
    (transcript,), _ = read(SAMPLES / "gemini_cli_history.json")
    ask, call, result = transcript.messages
    assert (transcript.model, ask.content, call.reasoning) == ("gemini-2.5-pro", "Open the gate.", "They want it open.")
    assert (result.tool_call_id, result.content, result.is_error) == (call.tool_calls[0].id, "stuck", True)


def test_unknown_kinds_are_counted_and_bad_records_set_aside(lines):
    (transcript,), rejects = lines(
        HEADER, said("a", "user", "x"), said("b", "oracle", "y"), {"novel": 1}, [], {"type": "message_update", "id": "?"}
    )
    assert transcript.ignored == {"message/oracle": 1, "novel": 1}
    assert [r.line for r in rejects] == [5, 6]


def test_a_session_in_which_nothing_was_said_is_rejected(lines):
    transcripts, (reject,) = lines(HEADER)
    assert transcripts == []
    assert "no messages" in reject.reason
