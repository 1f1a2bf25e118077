"""ShareGPT: `{conversations: [{from, value}], tools, system}`. There are no call ids: results pair with calls by order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from auditor.errors import ShapeError
from auditor.readers.base import Context, Head, Reader, arguments_of, listing, mapping, number, string, text_of
from auditor.transcript import Message, ToolCall, Transcript, content_hash

_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant", "bing": "assistant",
          "bard": "assistant", "model": "assistant", "system": "system", "observation": "tool", "tool": "tool", "function_response": "tool"}  # fmt: skip
_FIELDS = ("task", "environment", "checkpoint")


def sniff(head: Head) -> bool:
    """`conversations` of objects with `from` and `value`."""
    return any(_turns(value.get("conversations")) for value in head.objects[:3])


def _turns(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "from" in value[0]


def read(value: Any, context: Context) -> Iterator[Transcript]:
    """One conversation."""
    record = mapping(value, "record")
    messages: list[Message] = []
    if record.get("system"):
        messages.append(Message(role="system", content=text_of(record["system"])))
    waiting: list[str] = []
    for index, given in enumerate(listing(record.get("conversations"), "conversations")):
        messages.extend(_turn(mapping(given, "turn"), index, waiting))
    if not messages:
        raise ShapeError("no conversation")
    known = {"conversations", "system", "id", "model", "score", "passed", *_FIELDS}
    transcript = Transcript(
        id="",
        model=string(record.get("model")),
        task=string(record.get("task")),
        environment=string(record.get("environment")),
        checkpoint=string(record.get("checkpoint")),
        score=number(record.get("score")),
        passed=record["passed"] if isinstance(record.get("passed"), bool) else None,
        messages=tuple(messages),
        metadata={**{k: v for k, v in record.items() if k not in known}, **({"log_id": record["id"]} if "id" in record else {})},
        format=READER.name,
        reader_version=READER.version,
        source=context.source,
    )
    yield transcript.model_copy(update={"id": content_hash(transcript)})


def _turn(turn: dict[str, Any], index: int, waiting: list[str]) -> Iterator[Message]:
    who, text = str(turn.get("from")), text_of(turn.get("value"))
    if who == "function_call":
        calls = _calls(text, index)
        waiting.extend(c.id for c in calls if c.id)
        yield Message(role="assistant", tool_calls=calls)
        return
    role = _ROLES.get(who)
    if role is None:
        raise ShapeError(f"unknown speaker {who!r}")
    if role == "tool":
        yield Message(role="tool", content=text, tool_call_id=waiting.pop(0) if waiting else None)
    elif role == "assistant":
        thought, said = _thought(text)
        yield Message(role="assistant", content=said, reasoning=thought)
    else:
        yield Message.model_validate({"role": role, "content": text})


def _calls(text: str, index: int) -> tuple[ToolCall, ...]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return (ToolCall(id=f"turn_{index}", name="?", arguments={"input": text}),)
    found = []
    for i, given in enumerate(value if isinstance(value, list) else [value]):
        call = mapping(given, "function call")
        arguments = arguments_of(call.get("arguments", call.get("parameters")))
        found.append(ToolCall(id=f"turn_{index}_{i}", name=string(call.get("name")) or "?", arguments=arguments))
    return tuple(found)


def _thought(text: str) -> tuple[str | None, str]:
    """Reasoning between <think> tags at the beginning, apart from what is said."""
    if text.lstrip().startswith("<think>") and "</think>" in text:
        thought, _, said = text.lstrip().removeprefix("<think>").partition("</think>")
        return thought.strip() or None, said.strip()
    return None, text


READER = Reader("sharegpt", "ShareGPT conversations (JSON Lines, JSON)", 1, "record", sniff, read)
