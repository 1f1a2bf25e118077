"""Gemini's turns as messages: API parts, the CLI's tool calls with their results, thoughts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from auditor.readers._harness import split
from auditor.readers.base import arguments_of, listing, mapping, string, text_of, whole_number
from auditor.transcript import Message, Origin, ToolCall

_FAILED = ("error", "cancelled", "canceled")
_TAGS = ("session_context", "system-reminder", "hook_context")
_SETUP = ("This is the Gemini CLI. We are setting up the context for our chat.", "System: Please continue.")
_BELOW = ("Error", "Signal", "Background PIDs", "Process Group PGID")


def asked(parts: Any, waiting: list[ToolCall], time: str | None, origin: Origin) -> Iterator[Message]:
    results = [p for p in parts if isinstance(p, dict) and "functionResponse" in p] if isinstance(parts, list) else []
    for part in results:
        given = mapping(part["functionResponse"], "functionResponse")
        call = next((c for c in waiting if given.get("id") in (None, c.id) and c.name == given.get("name")), None)
        if call is not None:
            waiting.remove(call)
        yield _result(given, call.id if call else None, failed=None, time=time, origin=origin)
    text = plain([p for p in parts if p not in results] if results else parts)
    for piece, injected in split(text, _TAGS):
        harness = (injected or piece.startswith(_SETUP)) and origin == "main"
        yield Message(role="user", content=piece, timestamp=time, origin="injected" if harness else origin)


def spoken(said: dict[str, Any], parts: Any, time: str | None, origin: Origin) -> Iterator[Message]:
    thoughts = [mapping(t, "thought") for t in listing(said.get("thoughts"), "thoughts")]
    given = parts if isinstance(parts, list) else []
    thinking = [p for p in given if isinstance(p, dict) and p.get("thought")]
    inline = [p["functionCall"] for p in given if isinstance(p, dict) and isinstance(p.get("functionCall"), dict)]
    text = plain(
        [p for p in given if p not in thinking and not (isinstance(p, dict) and "functionCall" in p)] if given else parts
    )
    reasoning = [": ".join(s for s in (string(t.get("subject")), string(t.get("description"))) if s) for t in thoughts]
    reasoning += [text_of(p) for p in thinking]
    listed = [mapping(c, "tool call") for c in listing(said.get("toolCalls"), "toolCalls")]
    calls = [_call(c, f"{said['id']}-{i}") for i, c in enumerate([*listed, *inline])]
    if text or calls or any(reasoning):
        yield Message(
            role="assistant",
            content=text,
            reasoning="\n".join(r for r in reasoning if r) or None,
            tool_calls=tuple(calls),
            timestamp=time,
            origin=origin,
        )
    for call, given_call in zip(calls, listed, strict=False):
        yield from _results(call, given_call, time, origin)


def _call(call: dict[str, Any], fallback: str) -> ToolCall:
    return ToolCall(
        id=string(call.get("id")) or fallback, name=string(call.get("name")) or "?", arguments=arguments_of(call.get("args"))
    )


def _results(call: ToolCall, given: dict[str, Any], time: str | None, origin: Origin) -> Iterator[Message]:
    """The result of a call, where it has one: what the model was given, else what the user was shown."""
    status = string(given.get("status"))
    time = string(given.get("timestamp")) or time
    failed = True if status in _FAILED else False if status == "success" else None
    result = given.get("result")
    parts = result if isinstance(result, list) else [result] if result is not None else []
    responses = [p["functionResponse"] for p in parts if isinstance(p, dict) and isinstance(p.get("functionResponse"), dict)]
    rest = plain([p for p in parts if not (isinstance(p, dict) and "functionResponse" in p)])
    if responses:
        message = _result(responses[0], call.id, failed=failed, time=time, origin=origin)
        more = [
            message.content,
            *(_result(r, call.id, failed=failed, time=time, origin=origin).content for r in responses[1:]),
            rest,
        ]
        yield message.model_copy(update={"content": "\n".join(m for m in more if m)})
    elif rest or given.get("resultDisplay") or status in _FAILED:
        shown = given.get("resultDisplay")
        text = rest or (shown if isinstance(shown, str) else orjson.dumps(shown).decode() if shown else f"[{status}]")
        yield Message(
            role="tool", content=text, tool_call_id=call.id, name=call.name, is_error=failed, timestamp=time, origin=origin
        )


def _result(response: dict[str, Any], call_id: str | None, *, failed: bool | None, time: str | None, origin: Origin) -> Message:
    inner = response.get("response")
    inner = inner if isinstance(inner, dict) else {"output": inner}
    said = next((inner[key] for key in ("output", "content", "error") if inner.get(key) is not None), inner)
    text = said if isinstance(said, str) else orjson.dumps(said).decode()
    return Message(
        role="tool",
        content=text,
        tool_call_id=call_id or string(response.get("id")),
        name=string(response.get("name")),
        exit_code=_exit(text),
        is_error=True if inner.get("error") else failed,
        timestamp=time,
        origin=origin,
    )


def _exit(text: str) -> int | None:
    """The exit code among the lines that the shell tool itself writes below the output; none of the output's own."""
    for line in reversed(text.replace("\\n", "\n").split("\n")[-6:]):
        name, _, value = line.partition(": ")
        if name == "Exit Code":
            return whole_number(value)
        if line and name not in _BELOW:
            return None
    return None


def plain(parts: Any) -> str:
    given = parts if isinstance(parts, list) else [parts]
    return "\n".join(t for t in (_part(p) for p in given) if t)


def _part(part: Any) -> str:
    for key in ("inlineData", "fileData"):
        if isinstance(part, dict) and isinstance(part.get(key), dict):
            return f"[{str(part[key].get('mimeType', 'file')).partition('/')[0]}]"
    return text_of(part)
