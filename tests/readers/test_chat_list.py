"""A bare list of chat messages is one conversation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.convert import read_all
from auditor.readers.base import Reject
from auditor.transcript import Transcript

SAMPLES = Path(__file__).parent / "samples"


def test_an_array_is_one_episode():
    (transcript,) = read_all([str(SAMPLES / "chat_list.json")])
    assert isinstance(transcript, Transcript)
    assert (transcript.format, transcript.model) == ("chat_list", None)
    assert [m.role for m in transcript.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert transcript.messages[2].reasoning == "Look outside."
    assert transcript.messages[2].tool_calls[0].id == transcript.messages[3].tool_call_id


def test_one_message_a_line_is_one_episode_too(tmp_path):
    path = tmp_path / "chat.jsonl"
    path.write_text("".join(json.dumps(m) + "\n" for m in json.loads((SAMPLES / "chat_list.json").read_text())))
    (transcript,) = read_all([str(path)])
    assert isinstance(transcript, Transcript)
    assert len(transcript.messages) == 5


def test_a_bad_message_is_set_aside(tmp_path):
    path = tmp_path / "chat.jsonl"
    path.write_text('{"role": "user", "content": "a"}\n{"role": "user", "content": 5}\n{"role": "assistant", "content": "b"}\n')
    transcript, reject = read_all([str(path)])
    assert isinstance(transcript, Transcript)
    assert [m.content for m in transcript.messages] == ["a", "b"]
    assert isinstance(reject, Reject)
    assert reject.line == 2


@pytest.mark.parametrize(
    "record", [{"role": "user", "parts": []}, {"role": "user", "content": [{"type": "tool_result"}]}, {"messages": []}]
)
def test_other_lists_are_not_taken(tmp_path, record):
    path = tmp_path / "list.json"
    path.write_text(json.dumps([record, record]))
    assert not any(isinstance(item, Transcript) and item.format == "chat_list" for item in read_all([str(path)]))
