"""What `codex exec --json` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.convert import read_all
from auditor.readers.base import Reject
from auditor.transcript import Transcript

SAMPLES = Path(__file__).parent / "samples"


@pytest.fixture
def run() -> Transcript:
    (transcript,) = read_all([str(SAMPLES / "codex_exec.jsonl")])
    assert isinstance(transcript, Transcript)
    return transcript


def test_the_thread_names_the_episode_and_no_model_is_known(run):
    assert (run.id, run.model, run.ended, run.reasoning) == (
        "019cc001-0000-7000-8000-0000000000cc",
        None,
        "final report",
        "summarised",
    )


def test_each_item_counts_in_its_last_state(run):
    calls = [(c.name, c.arguments) for m in run.messages for c in m.tool_calls]
    assert calls == [
        ("shell", {"command": "bash -lc 'make lamp'"}),
        ("apply_patch", {"changes": [{"path": "lamp.mk", "kind": "add"}]}),
        ("docs.find", {"q": "lamp"}),
        ("todo_list", {"items": [{"text": "wire it", "completed": False}]}),
        ("shell", {"command": "sleep 9"}),
    ]


def test_results_are_paired_and_a_running_command_has_none(run):
    ids = [c.id for m in run.messages for c in m.tool_calls]
    results = [(m.tool_call_id, m.content, m.exit_code, m.is_error) for m in run.messages if m.role == "tool"]
    assert results == [(ids[0], "no rule", 2, True), (ids[1], "completed", None, False), (ids[2], "page 3", None, False)]


def test_reasoning_goes_with_what_follows_it(run):
    assert run.messages[0].reasoning == "**Look** for the lamp."
    assert run.messages[-1].content == "The lamp is wired, untested."


def test_unknown_items_are_counted(run):
    assert run.ignored == {"thread.started": 1, "turn.started": 1, "turn.completed": 1, "item/hologram": 1}


def test_a_failed_turn_is_cut_off_and_its_error_is_told(tmp_path):
    path = tmp_path / "out.jsonl"
    events = [
        {"type": "thread.started", "thread_id": "x"},
        {"type": "turn.started"},
        {"type": "turn.failed", "error": {"message": "no quota"}},
        7,
    ]
    path.write_text("".join(json.dumps(e) + "\n" for e in events))
    transcript, reject = read_all([str(path)])
    assert isinstance(transcript, Transcript)
    assert (transcript.ended, transcript.messages[0].origin, transcript.messages[0].content) == (
        "cut off",
        "injected",
        "no quota",
    )
    assert isinstance(reject, Reject)
    assert reject.line == 4
