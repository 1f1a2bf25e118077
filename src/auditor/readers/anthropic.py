"""Anthropic Messages: one conversation a record (`{model, system, messages}`), and lines of batch results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditor.errors import ShapeError
from auditor.readers._anthropic import Blocks, blocks, kind_of, result
from auditor.readers.base import Context, Head, Reader, integer, listing, mapping, number, string, text_of
from auditor.transcript import Message, Transcript, content_hash

_FIELDS = ("task", "environment", "epoch", "checkpoint", "elicitation", "score", "passed")
_BLOCKS = frozenset(("tool_use", "tool_result", "thinking", "redacted_thinking"))


def sniff(head: Head) -> bool:
    """Messages with a `system` beside them or with Anthropic's blocks; or a batch result line."""
    return any(_chat(value) or _batch(value) for value in head.objects[:3])


def _chat(value: dict[str, Any]) -> bool:
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[0], dict) or "role" not in messages[0]:
        return False
    if isinstance(value.get("system"), (str, list)):
        return True
    parts = [p for m in messages if isinstance(m, dict) and isinstance(m.get("content"), list) for p in m["content"]]
    return any(isinstance(p, dict) and p.get("type") in _BLOCKS for p in parts)


def _batch(value: dict[str, Any]) -> bool:
    answer = value.get("result")
    return (
        "custom_id" in value
        and isinstance(answer, dict)
        and answer.get("type") in ("succeeded", "errored", "canceled", "expired")
    )


def read(value: Any, context: Context) -> Iterator[Transcript]:
    """One record. A batch line gives its reply alone; `metadata` may name task, environment, score and so on."""
    record = mapping(value, "record")
    if _batch(record):
        reply = mapping(record["result"], "result").get("message")
        if reply is None:
            raise ShapeError(f"the request {record['result'].get('type')}; there is no reply")
        reply = mapping(reply, "result.message")
        record = {"id": record["custom_id"], "model": reply.get("model"), "messages": [reply]}
    told = record.get("metadata")
    extra: dict[str, Any] = told if isinstance(told, dict) else {}
    facts = {key: record.get(key, extra.get(key)) for key in _FIELDS}
    model = string(record.get("model")) or string(extra.get("model"))
    seen: list[Blocks] = []
    messages: list[Message] = []
    if record.get("system"):
        messages.append(Message(role="system", content=text_of(record["system"])))
    for given in listing(record.get("messages"), "messages"):
        messages.extend(_messages(mapping(given, "message"), seen))
    if not messages:
        raise ShapeError("no messages")
    known = {"messages", "system", "metadata", "id", "model", *_FIELDS}
    transcript = Transcript(
        id=string(record.get("id")) or "",
        model=model,
        task=string(facts["task"]),
        environment=string(facts["environment"]),
        epoch=integer(facts["epoch"]),
        checkpoint=string(facts["checkpoint"]),
        elicitation=facts["elicitation"],
        reasoning_kind=kind_of(model, seen),
        score=number(facts["score"]),
        passed=facts["passed"] if isinstance(facts["passed"], bool) else None,
        messages=tuple(messages),
        metadata={**{k: v for k, v in record.items() if k not in known}, **extra},
        format=READER.name,
        reader_version=READER.version,
        source=context.source,
    )
    yield transcript if transcript.id else transcript.model_copy(update={"id": content_hash(transcript)})


def _messages(given: dict[str, Any], seen: list[Blocks]) -> Iterator[Message]:
    """The messages of one turn: a user turn may hold several tool results beside its text."""
    content = given.get("content")
    if given.get("role") == "assistant":
        said = blocks(content)
        seen.append(said)
        yield Message(role="assistant", content=said.text, reasoning=said.reasoning, tool_calls=said.calls)
        yield from said.results
        return
    if given.get("role") not in ("user", "system"):
        raise ShapeError(f"unknown role {given.get('role')!r}")
    parts = content if isinstance(content, list) else [content]
    for part in parts:
        if isinstance(part, dict) and part.get("type") == "tool_result":
            yield result(part)
    text = text_of([p for p in parts if p is not None and not (isinstance(p, dict) and p.get("type") == "tool_result")])
    if text:
        yield Message(role="system" if given["role"] == "system" else "user", content=text)


READER = Reader("anthropic", "Anthropic Messages (JSON Lines, JSON, batch results)", 1, "record", sniff, read)
