"""Inspect logs, written here by inspect_ai itself and read back."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from auditor.convert import read_all
from auditor.readers import _inspect_zip
from auditor.readers.base import Reject
from auditor.transcript import Transcript

pytest.importorskip("inspect_ai")

CHAT = [
    {"role": "system", "content": "You mend lamps."},
    {"role": "user", "content": "Mend it.", "source": "input"},
    {
        "role": "assistant", "source": "generate",
        "content": [{"type": "reasoning", "reasoning": "The wire?"}, {"type": "text", "text": "I look."}, {"type": "image", "image": "x"}],
        "tool_calls": [{"id": "c1", "function": "bash", "arguments": {"cmd": "ls"}, "type": "function"}],
    },
    {"role": "tool", "content": "", "tool_call_id": "c1", "function": "bash", "error": {"type": "timeout", "message": "it took too long"}},
    {"role": "user", "content": "[usage] 3 of 9 tokens"},
    {"role": "assistant", "content": "It is mended.", "source": "generate"},
]  # fmt: skip
SPAN = "s1"
EVENTS = [
    {"event": "span_begin", "id": SPAN, "span_id": SPAN, "name": "bash", "type": "tool", "timestamp": "2026-01-05T10:00:00Z"},
    {"event": "tool", "id": "c1", "function": "bash", "arguments": {"cmd": "ls"}, "events": [], "timestamp": "2026-01-05T10:00:01Z"},
    {
        "event": "sandbox", "action": "exec", "span_id": SPAN, "cmd": "bash -c ls", "result": 2, "timestamp": "2026-01-05T10:00:02Z",
    },
    {"event": "span_end", "id": SPAN, "span_id": SPAN, "timestamp": "2026-01-05T10:00:03Z"},
]  # fmt: skip


def sample(number: int = 1, **more: object) -> dict[str, object]:
    score = {"match": {"value": "C", "answer": "mended"}}
    return {
        "id": number,
        "epoch": 2,
        "input": "Mend it.",
        "target": "mended",
        "messages": CHAT,
        "scores": score,
        "uuid": f"u{number}",
        **more,
    }


def log(*samples: dict[str, object]) -> dict[str, object]:
    spec = {
        "created": "2026-01-05T10:00:00+00:00", "task": "lamps", "dataset": {}, "model": "acme/velo-1", "config": {},
        "run_id": "r1", "task_id": "t1", "eval_id": "e1",
    }  # fmt: skip
    return {"version": 2, "status": "success", "eval": spec, "plan": {}, "results": None, "stats": {}, "samples": list(samples)}


def read(path: Path) -> tuple[list[Transcript], list[Reject]]:
    items = list(read_all([str(path)]))
    return [t for t in items if isinstance(t, Transcript)], [r for r in items if isinstance(r, Reject)]


@pytest.fixture
def lines(tmp_path):
    def write(*samples: dict[str, object]) -> Path:
        (tmp_path / "log.json").write_text(json.dumps(log(*samples)))
        return tmp_path / "log.json"

    return write


@pytest.fixture
def found(lines) -> Transcript:
    (transcript,), rejects = read(lines(sample(events=EVENTS)))
    assert (rejects, transcript.format) == ([], "inspect")
    return transcript


def test_what_the_header_and_the_sample_tell(found):
    assert (found.id, found.model, found.task, found.environment, found.epoch) == ("u1", "acme/velo-1", "lamps/1", "lamps", 2)
    assert (found.score, found.passed, found.ended) == (1.0, True, "final report")
    assert found.metadata["scores"]["match"]["answer"] == "mended"


def test_who_says_what(found):
    assert [(m.role, m.origin) for m in found.messages] == [
        ("system", "main"), ("user", "main"), ("assistant", "main"), ("tool", "main"), ("user", "injected"), ("assistant", "main"),
    ]  # fmt: skip


def test_reasoning_text_and_media(found):
    assert (found.messages[2].reasoning, found.messages[2].content, found.reasoning) == ("The wire?", "I look.\n[image]", "raw")


def test_a_tools_error_and_exit_code(found):
    result = found.messages[3]
    assert (result.tool_call_id, result.content, result.is_error, result.exit_code) == ("c1", "it took too long", True, 2)


def test_events_are_counted(found):
    assert found.ignored == {"event/span_begin": 1, "event/tool": 1, "event/sandbox": 1, "event/span_end": 1}


@pytest.mark.parametrize(
    ("part", "kind", "text"),
    [
        ({"reasoning": "gAAAcipher", "redacted": True}, "encrypted", None),
        ({"reasoning": "gAAAcipher", "redacted": True, "summary": "About wires."}, "summarised", "About wires."),
        ({"reasoning": "About wires.", "signature": "s"}, "summarised", "About wires."),
    ],
)
def test_reasoning_that_is_not_whole(lines, part, kind, text):
    chat = [{"role": "assistant", "content": [{"type": "reasoning", **part}, {"type": "text", "text": "Done."}]}]
    (transcript,), _ = read(lines(sample(messages=chat)))
    assert (transcript.reasoning, transcript.messages[0].reasoning) == (kind, text)


def test_an_answer_in_the_input_is_not_the_models(lines):
    chat = [
        {"role": "assistant", "content": "Sure:", "source": "input"},
        {"role": "assistant", "content": "Done.", "source": "generate"},
    ]
    (transcript,), _ = read(lines(sample(messages=chat)))
    assert [m.origin for m in transcript.messages] == ["prefilled", "main"]


def test_attachments_are_resolved(lines):
    chat = [{"role": "user", "content": "attachment://abc"}]
    (transcript,), _ = read(lines(sample(messages=chat, attachments={"abc": "a long text"})))
    assert transcript.messages[0].content == "a long text"


def test_a_limit_ends_a_run(lines):
    (transcript,), _ = read(lines(sample(limit={"type": "token", "limit": 9})))
    assert transcript.ended == "budget"


def test_a_sample_that_says_nothing_is_set_aside(lines):
    transcripts, rejects = read(lines(sample(1, messages=[]), sample(2)))
    assert [t.id for t in transcripts] == ["u2"]
    assert [r.reason for r in rejects] == ["sample 1 epoch 2: no messages"]


def test_an_eval_file_is_read_whatever_its_name(lines, tmp_path):
    from inspect_ai.log import read_eval_log, write_eval_log

    write_eval_log(read_eval_log(str(lines(sample(1), sample(2)))), str(tmp_path / "log.eval"), format="eval")
    target = tmp_path / "strange.bin"
    (tmp_path / "log.eval").rename(target)
    transcripts, rejects = read(target)
    assert (sorted(t.id for t in transcripts), rejects) == (["u1", "u2"], [])
    assert transcripts[0].messages[3].tool_call_id == "c1"


def test_the_targets_timeline_is_the_episode(lines):
    def call(ident: str, said: str, heard: str) -> dict[str, object]:
        answer = {"model": "acme/target", "choices": [{"message": {"role": "assistant", "content": said}, "stop_reason": "stop"}]}
        return {
            "event": "model", "uuid": ident, "model": "acme/target", "input": [{"role": "user", "content": heard}], "tools": [],
            "tool_choice": "auto", "config": {}, "output": answer, "timestamp": "2026-01-05T10:00:00Z",
        }  # fmt: skip

    branch = {"type": "span", "id": "b", "name": "b", "content": [{"type": "event", "event": "e2"}]}
    root = {"type": "span", "id": "r", "name": "r", "content": [{"type": "event", "event": "e1"}], "branches": [branch]}
    line = {"name": "target", "description": "", "root": root}
    given = sample(events=[call("e2", "Yes.", "Lit?"), call("e1", "No.", "Lit?")], timelines=[line])
    (transcript,), rejects = read(lines(given))
    assert rejects == []
    assert (transcript.model, [(m.content, m.origin) for m in transcript.messages]) == (
        "acme/target", [("Lit?", "main"), ("Yes.", "rewound"), ("No.", "main")],
    )  # fmt: skip


def test_a_log_that_unpacks_to_an_absurd_size_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("header.json", b" " * 3_000_000)
    monkeypatch.setattr(_inspect_zip, "MAX_MEMBER", 2_000_000)
    assert "unpacks to" in read(path)[1][0].reason


def test_a_member_that_is_all_air_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("samples/1_epoch_1.json", b" " * 3_000_000)
    monkeypatch.setattr(_inspect_zip, "BOMB", (200, 1_000_000))
    assert "a zip bomb?" in read(path)[1][0].reason


def test_a_cut_off_zip_is_set_aside(tmp_path):
    (tmp_path / "log.eval").write_bytes(b"PK\x03\x04" + b"\0" * 22 + b"\x0b\0\0\0header.json")
    assert "damaged zip" in read(tmp_path / "log.eval")[1][0].reason
