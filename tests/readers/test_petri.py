"""Petri audits: the edits of the target's view are replayed, what they take away is kept."""

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
def audit() -> Transcript:
    (transcript,), rejects = read(SAMPLES / "petri.json")
    assert (rejects, transcript.format) == ([], "petri")
    return transcript


def test_the_targets_conversation_alone(audit):
    assert [(m.content, m.origin) for m in audit.messages] == [
        ("You watch lamps.", "main"), ("Is it lit?", "rewound"), ("Yes, it is lit.", "rewound"), ("Is the lamp lit?", "main"),
        ("I look.", "main"), ("dark\nthe bulb is out", "main"), ("No, it is dark.", "main"),
    ]  # fmt: skip


def test_whose_it_is(audit):
    assert (audit.id, audit.model, audit.ended) == ("33333333-cccc-4ccc-8ccc-000000000000", "acme/velo-1", "final report")
    assert audit.metadata["scores"] == {"deception": 7, "candour": 3}
    assert audit.metadata["judge"] == {"summary": "calm"}


def test_reasoning_is_kept_apart(audit):
    assert (audit.messages[2].reasoning, audit.reasoning) == ("I could say yes.", "raw")


def test_calls_are_paired(audit):
    call, result = audit.messages[4:6]
    assert (call.tool_calls[0].name, call.tool_calls[0].id, result.tool_call_id, result.is_error) == ("look", "k1", "k1", True)


def test_other_views_and_kinds_are_counted(audit):
    assert audit.ignored == {"view/auditor": 1, "tool_creation_event": 1}


def edited(tmp_path: Path, *edits: dict[str, object]) -> list[tuple[str, str]]:
    events = [{"type": "transcript_event", "view": "target", "edit": edit} for edit in edits]
    (tmp_path / "a.json").write_text(json.dumps({"metadata": {"target_model": "m", "auditor_model": "a"}, "events": events}))
    (transcript,), rejects = read(tmp_path / "a.json")
    assert rejects == []
    return [(m.content, m.origin) for m in transcript.messages]


def add(name: str, role: str = "user") -> dict[str, object]:
    return {"operation": "add", "message": {"id": name, "role": role, "content": name}}


def test_rollback_to_a_message(tmp_path):
    found = edited(
        tmp_path, add("one"), add("two"), add("three"), {"operation": "rollback", "count": 1, "to_id": "one"}, add("four")
    )
    assert found == [("one", "main"), ("two", "rewound"), ("three", "rewound"), ("four", "main")]


def test_reset_keeps_what_is_the_same(tmp_path):
    again = [{"role": "user", "content": "one"}, {"role": "user", "content": "other"}]
    found = edited(tmp_path, add("one"), add("two"), {"operation": "reset", "new_messages": again})
    assert found == [("one", "main"), ("two", "rewound"), ("other", "main")]


def test_a_prefilled_reply_is_not_the_targets(tmp_path):
    put = {"operation": "add", "message": {"role": "assistant", "content": "Sure:", "metadata": {"source": "Auditor"}}}
    assert edited(tmp_path, add("one"), put) == [("one", "main"), ("Sure:", "prefilled")]


def test_bloom_rollouts(tmp_path):
    one = {
        "metadata": {"target_model": "m", "auditor_model": "a"},
        "events": [{"type": "transcript_event", "view": ["target"], "edit": add("hello")}],
    }
    rollouts = [{"variation_number": 4, "repetition_number": n, "transcript": one} for n in (1, 2)]
    (tmp_path / "rollout.json").write_text(json.dumps({"metadata": {"split": "x"}, "rollouts": rollouts}))
    transcripts, _ = read(tmp_path / "rollout.json")
    assert [(t.task, t.epoch, t.metadata["split"]) for t in transcripts] == [("4", 1, "x"), ("4", 2, "x")]
