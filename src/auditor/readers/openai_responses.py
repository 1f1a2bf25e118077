"""OpenAI Responses API: one response object a record, with its input where it was logged, and batch lines of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditor.errors import ShapeError
from auditor.readers._responses import Items
from auditor.readers.base import Context, Head, Reader, listing, mapping, number, string, text_of
from auditor.transcript import Transcript, content_hash

_FIELDS = ("task", "environment", "checkpoint", "elicitation", "score", "passed")


def sniff(head: Head) -> bool:
    """`output` items beside an object kind, an input or a usage; or a batch line whose body is such a response."""
    return any(_response(_body(value)) for value in head.objects[:3])


def _body(value: dict[str, Any]) -> dict[str, Any]:
    response = value.get("response")
    if isinstance(response, dict):
        return response["body"] if isinstance(response.get("body"), dict) else response
    return value


def _response(value: dict[str, Any]) -> bool:
    output = value.get("output")
    return value.get("object") == "response" or (
        isinstance(output, list)
        and bool(output)
        and all(isinstance(i, dict) and "type" in i for i in output)
        and "model" in value
    )


def read(value: Any, context: Context) -> Iterator[Transcript]:
    """One response. `instructions` and `input` come first where the record, or the request beside it, has them."""
    record = mapping(value, "record")
    body = _body(record)
    request = next((record[k] for k in ("request", "body") if isinstance(record.get(k), dict)), record)
    items = Items()
    instructions = body.get("instructions") or request.get("instructions")
    given = body.get("input") or request.get("input")
    if instructions:
        items.take({"type": "message", "role": "system", "content": text_of(instructions)})
    for item in [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else listing(given, "input"):
        items.take(mapping(item, "input item"))
    for item in listing(body.get("output"), "output"):
        items.take(mapping(item, "output item"))
    if not items.messages:
        raise ShapeError("a response without items")
    told = body.get("metadata") or record.get("metadata")
    extra: dict[str, Any] = told if isinstance(told, dict) else {}
    facts = {key: record.get(key, extra.get(key)) for key in _FIELDS}
    passed = facts["passed"]
    known = {"output", "input", "instructions", "metadata", "id", "model", "response", "request", "body", "custom_id", *_FIELDS}
    transcript = Transcript(
        id=string(record.get("custom_id")) or string(body.get("id")) or "",
        model=string(body.get("model")),
        task=string(facts["task"]),
        environment=string(facts["environment"]),
        checkpoint=string(facts["checkpoint"]),
        elicitation=facts["elicitation"],
        score=number(facts["score"]),
        passed=passed if isinstance(passed, bool) else None,
        reasoning_kind=items.reasoning_kind,
        ended="budget" if body.get("status") == "incomplete" else None,
        messages=tuple(items.messages),
        metadata={**{k: v for k, v in body.items() if k not in known}, **extra},
        ignored=dict(items.ignored),
        format=READER.name,
        reader_version=READER.version,
        source=context.source,
    )
    yield transcript if transcript.id else transcript.model_copy(update={"id": content_hash(transcript)})


READER = Reader("openai_responses", "OpenAI Responses API (JSON Lines, JSON, batch output)", 1, "record", sniff, read)
