"""OpenAI chat messages: one conversation a record, with vendors' reasoning fields, batch output and fine-tuning lines.

Also takes tool calls written flat (`{name, arguments}` without `function`) and the older `function_call`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditor.readers._chat import ROLES, called, is_call, message
from auditor.readers.base import Context, Head, Reader, integer, listing, mapping, number, string
from auditor.transcript import Transcript, content_hash

_FIELDS = ("task", "environment", "epoch", "checkpoint", "elicitation", "score", "passed", "reasoning_kind", "ended")


def sniff(head: Head) -> bool:
    """`messages` of objects with a role, whose content has no Anthropic blocks; or a batch line of the API."""
    return any(_chat(value) or _batch(value) for value in head.objects[:3])


def _chat(value: dict[str, Any]) -> bool:
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[0], dict) or "trajectory_format" in value:
        return False
    return (
        messages[0].get("role") in ROLES
        and "system" not in value
        and all(m.get("role") in ROLES and not _blocks(m) for m in messages[:-1] if isinstance(m, dict))
    )


def _blocks(message: dict[str, Any]) -> bool:
    content = message.get("content")
    kinds = {part.get("type") for part in content if isinstance(part, dict)} if isinstance(content, list) else set()
    return bool(kinds & {"tool_use", "tool_result", "thinking", "redacted_thinking"})


def _batch(value: dict[str, Any]) -> bool:
    return "custom_id" in value and isinstance(value.get("response"), dict)


def read(value: Any, context: Context) -> Iterator[Transcript]:
    """One record. A batch line gives its reply alone; metadata may name task, environment, score and so on."""
    record = mapping(value, "record")
    if is_call(record):
        # A log of a call whose prompt is so long that the head showed nothing else.
        yield called(record, context, READER.name, READER.version)
        return
    given = record
    if _batch(record):
        body = mapping(mapping(record["response"], "response").get("body"), "response.body")
        choices = listing(body.get("choices"), "choices")
        record = {**body, "id": record["custom_id"], "messages": [mapping(c, "choice")["message"] for c in choices[:1]]}
    messages = tuple(message(m) for m in listing(record.get("messages"), "messages"))
    if not messages:
        from auditor.errors import ShapeError

        raise ShapeError("no messages")
    told = record.get("metadata")
    extra: dict[str, Any] = told if isinstance(told, dict) else {}
    facts = {key: record.get(key, extra.get(key)) for key in _FIELDS}
    known = {"messages", "metadata", "id", "model", *_FIELDS}
    transcript = Transcript(
        id=string(record.get("id")) or "",
        model=string(record.get("model")) or string(extra.get("model")),
        task=string(facts["task"]),
        environment=string(facts["environment"]),
        epoch=integer(facts["epoch"]),
        checkpoint=string(facts["checkpoint"]),
        elicitation=facts["elicitation"],
        reasoning_kind=facts["reasoning_kind"],
        ended=facts["ended"],
        score=number(facts["score"]),
        passed=facts["passed"] if isinstance(facts["passed"], bool) else None,
        messages=messages,
        metadata={**{k: v for k, v in given.items() if k not in known and k != "response"}, **extra},
        format=READER.name,
        reader_version=READER.version,
        source=context.source,
    )
    yield transcript if transcript.id else transcript.model_copy(update={"id": content_hash(transcript)})


READER = Reader("openai_chat", "OpenAI chat messages (JSON Lines, JSON, batch output)", 1, "record", sniff, read, generic=True)
