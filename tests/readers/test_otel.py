"""OpenTelemetry spans: calls of one conversation are joined, wrappers are not read twice."""

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


def one(path: Path) -> Transcript:
    (transcript,), rejects = read(path)
    assert (rejects, transcript.format) == ([], "otel")
    return transcript


@pytest.fixture
def trace() -> Transcript:
    return one(SAMPLES / "otel.json")


def test_two_calls_are_one_conversation_in_the_order_of_time(trace):
    assert [(m.role, m.content) for m in trace.messages] == [
        ("system", "You watch lamps."), ("user", "Is the lamp lit?"), ("assistant", ""), ("tool", '{"lit":false}'),
        ("assistant", "No, it is dark."),
    ]  # fmt: skip
    assert (trace.id, trace.model, trace.ended) == ("0af7651916cd43dd8448eb211c80319c", "velo-1", "final report")


def test_the_answer_keeps_what_its_repetition_has_lost(trace):
    assert trace.messages[2].reasoning == "I must look at it."
    assert (trace.messages[2].tool_calls[0].arguments, trace.messages[3].tool_call_id) == ({"at": "lamp"}, "k1")


def test_an_evaluation_is_the_score(trace):
    assert (trace.score, trace.passed) == (1.0, True)


def test_other_spans_are_counted(trace):
    assert trace.ignored == {"span/execute_tool": 1, "span/wrapper of other spans": 1}


def test_flattened_attributes_alone():
    flat = one(SAMPLES / "otel_flat.json")
    assert (flat.model, flat.messages[0].content, flat.ended) == ("velo-2", "Is the lamp lit?", "cut off")
    assert flat.messages[1].tool_calls[0].text == "look\nat: lamp"


def test_conversations_that_do_not_go_on_from_each_other_stay_apart(tmp_path):
    def span(text: str) -> dict[str, object]:
        said = json.dumps([{"role": "user", "content": [{"type": "text", "text": text}]}])
        given = {
            "ai.operationId": "ai.generateText.doGenerate",
            "ai.model.id": "velo",
            "ai.prompt.messages": said,
            "ai.response.text": "Yes.",
        }
        return {"name": "call", "traceId": "t", "startTime": [1, 0], "attributes": given}

    (tmp_path / "a.json").write_text(json.dumps([span("Lit?"), span("Whole?")]))
    transcripts, _ = read(tmp_path / "a.json")
    assert [t.messages[0].content for t in transcripts] == ["Lit?", "Whole?"]
    assert len({t.id for t in transcripts}) == 2


def test_embeddings_are_no_conversation(tmp_path):
    span = {
        "name": "ai.embed",
        "spanContext": {"traceId": "t"},
        "attributes": {"ai.operationId": "ai.embed", "ai.value": "a lamp"},
    }
    (tmp_path / "a.json").write_text(json.dumps([span]))
    transcripts, rejects = read(tmp_path / "a.json")
    assert (transcripts, [r.reason for r in rejects]) == ([], ["no span holds a model's conversation (spans: 1 ai.embed)"])


@pytest.mark.parametrize(
    "value",
    [
        {"$defs": {"TextPart": {"type": "object"}}, "title": "InputMessages", "type": "array", "items": {}},
        {"captureDate": "2026-01-05", "results": [{"name": "call", "success": True}], "attributeSummary": {"ai": []}},
    ],
    ids=["a schema", "a summary of a capture"],
)
def test_what_only_speaks_of_spans_is_refused(tmp_path, value):
    (tmp_path / "a.json").write_text(json.dumps(value))
    transcripts, rejects = read(tmp_path / "a.json")
    assert transcripts == []
    assert "unknown format" in rejects[0].reason
