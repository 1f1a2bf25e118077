"""OpenAI chat messages: one conversation a record, with vendors' reasoning fields, batch output and fine-tuning lines.

Also takes tool calls written flat (`{name, arguments}` without `function`) and the older `function_call`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditor.readers.base import Context, Head, Reader, arguments_of, integer, listing, mapping, number, string, text_of
from auditor.transcript import Message, Role, ToolCall, Transcript, content_hash

_ROLES: dict[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "human": "user",
    "assistant": "assistant", "tool": "tool", "function": "tool",
}  # fmt: skip
_FIELDS = ("task", "environment", "epoch", "checkpoint", "elicitation", "score", "passed", "reasoning_kind", "ended")


def sniff(head: Head) -> bool:
    """`messages` of objects with a role, whose content has no Anthropic blocks; or a batch line of the API."""
    return any(_chat(value) or _batch(value) for value in head.objects[:3])


def _chat(value: dict[str, Any]) -> bool:
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[0], dict) or "trajectory_format" in value:
        return False
    return messages[0].get("role") in _ROLES and "system" not in value and all(m.get("role") in _ROLES and not _blocks(m) for m in messages[:-1] if isinstance(m, dict))


def _blocks(message: dict[str, Any]) -> bool:
    content = message.get("content")
    kinds = {part.get("type") for part in content if isinstance(part, dict)} if isinstance(content, list) else set()
    return bool(kinds & {"tool_use", "tool_result", "thinking", "redacted_thinking"})


def _batch(value: dict[str, Any]) -> bool:
    return "custom_id" in value and isinstance(value.get("response"), dict)


def read(value: Any, context: Context) -> Iterator[Transcript]:
    """One record. A batch line gives its reply alone; metadata may name task, environment, score and so on."""
    record = mapping(value, "record")
    given = record
    if _batch(record):
        body = mapping(mapping(record["response"], "response").get("body"), "response.body")
        choices = listing(body.get("choices"), "choices")
        record = {**body, "id": record["custom_id"], "messages": [mapping(c, "choice")["message"] for c in choices[:1]]}
    messages = tuple(message(m) for m in listing(record.get("messages"), "messages"))
    if not messages:
        from auditor.errors import ShapeError

        raise ShapeError("no messages")
    extra = record.get("metadata") if isinstance(record.get("metadata"), dict) else {}
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


def message(value: Any) -> Message:
    """One chat message."""
    m = mapping(value, "message")
    role = _ROLES.get(str(m.get("role")))
    if role is None:
        from auditor.errors import ShapeError

        raise ShapeError(f"unknown role {m.get('role')!r}")
    calls = [call(c) for c in listing(m.get("tool_calls"), "tool_calls")]
    if isinstance(m.get("function_call"), dict):
        calls.append(call(m["function_call"]))
    reasoning = m.get("reasoning_content") or m.get("reasoning") or m.get("thinking")
    return Message(
        role=role,
        content=text_of(m.get("content")) or text_of(m.get("refusal")),
        reasoning=text_of(reasoning) or None,
        tool_calls=tuple(calls),
        tool_call_id=string(m.get("tool_call_id")),
        name=string(m.get("name")),
        exit_code=integer(m.get("exit_code")),
        is_error=m["is_error"] if isinstance(m.get("is_error"), bool) else None,
        timestamp=string(m.get("timestamp")),
    )


def call(value: Any) -> ToolCall:
    """One tool call, nested under `function` (or `custom`) as the API has it, or flat."""
    c = mapping(value, "tool call")
    inner = next((c[key] for key in ("function", "custom") if isinstance(c.get(key), dict)), c)
    given = inner.get("arguments", inner.get("input"))
    return ToolCall(id=string(c.get("id")), name=string(inner.get("name")) or "?", arguments=arguments_of(given))


READER = Reader("openai_chat", "OpenAI chat messages (JSON Lines, JSON, batch output)", 1, "record", sniff, read, generic=True)
