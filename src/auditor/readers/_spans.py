"""Spans of OpenTelemetry in every shape they are exported in, and the chat messages that GenAI conventions put on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from pydantic import JsonValue

from auditor.errors import ShapeError
from auditor.readers._chat import ROLES
from auditor.readers.base import arguments_of, string, text_of
from auditor.transcript import Message, ToolCall

_MARKS = (
    "spanContext",
    "context",
    "traceId",
    "trace_id",
    "startTime",
    "start_time",
    "startTimeUnixNano",
    "parentSpanId",
    "parent_id",
)
_FLAT = ("gen_ai.", "llm.", "openinference.", "ai.operationId")


class Span(NamedTuple):
    """One span: its attributes as dotted keys, and its events as (name, attributes)."""

    name: str
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    trace: str | None
    start: float | None

    @property
    def time(self) -> str | None:
        """When it began, as ISO 8601 in UTC."""
        return None if self.start is None else datetime.fromtimestamp(self.start, UTC).isoformat()


def is_span(value: Any) -> bool:
    """An exported span: named, with attributes and some mark of a span."""
    return isinstance(value, dict) and "name" in value and "attributes" in value and any(mark in value for mark in _MARKS)


def is_flat(value: Any) -> bool:
    """The bare attributes of one span."""
    return isinstance(value, dict) and "attributes" not in value and any(key.startswith(_FLAT) for key in value)


def spans_in(value: Any) -> Iterator[Span]:
    """All spans of one record: OTLP (spans and logs), a span, its bare attributes, or lists of spans by any key."""
    if not isinstance(value, dict):
        return
    if "resourceSpans" in value or "resourceLogs" in value:
        for group, scope, leaf in (("resourceSpans", "scopeSpans", "spans"), ("resourceLogs", "scopeLogs", "logRecords")):
            for resource in value.get(group) or []:
                for scoped in resource.get(scope) or []:
                    yield from map(_span if leaf == "spans" else _logged, scoped.get(leaf) or [])
    elif is_span(value):
        yield _span(value)
    elif is_flat(value):
        yield Span(str(value.get("name", "")), value, [], string(value.get("trace_id")), None)
    else:
        for spans in value.values():
            yield from (_span(s) for s in spans if is_span(s)) if isinstance(spans, list) else ()


def _span(value: dict[str, Any]) -> Span:
    context = next((value[k] for k in ("spanContext", "context", "_spanContext") if isinstance(value.get(k), dict)), value)
    start = next((value[k] for k in ("startTimeUnixNano", "startTime", "start_time") if value.get(k) is not None), None)
    events = [(str(e.get("name")), _attributes(e.get("attributes"))) for e in value.get("events") or [] if isinstance(e, dict)]
    trace = string(context.get("traceId")) or string(context.get("trace_id"))
    return Span(str(value.get("name")), _attributes(value.get("attributes")), events, trace, _seconds(start))


def _logged(value: dict[str, Any]) -> Span:
    """A log record: the event that carries a call's messages stands for its span."""
    attributes = _attributes(value.get("attributes"))
    body = _value(value.get("body"))
    if isinstance(body, dict):
        attributes = {**attributes, **_attributes(body)}
    name = str(value.get("eventName") or attributes.get("event.name") or "log record")
    return Span(name, attributes, [(name, attributes)], string(value.get("traceId")), _seconds(value.get("timeUnixNano")))


def _seconds(value: Any) -> float | None:
    if isinstance(value, list) and len(value) == 2:
        return float(value[0]) + float(value[1]) / 1e9
    if isinstance(value, str) and not value.isdigit():
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            return None
    if isinstance(value, (str, int, float)) and float(value) > 0:
        # Nanoseconds, milliseconds or seconds since 1970, told apart by their size.
        number = float(value)
        return number / 1e9 if number > 1e17 else number / 1e3 if number > 1e11 else number
    return None


def _attributes(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        value = {str(pair["key"]): _value(pair.get("value")) for pair in value if isinstance(pair, dict) and "key" in pair}
    return dict(_dotted(value, "")) if isinstance(value, dict) else {}


def _dotted(value: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield from _dotted(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def _value(value: Any) -> Any:
    """A value of OTLP JSON as a plain one."""
    if not isinstance(value, dict) or len(value) != 1:
        return value
    kind, inner = next(iter(value.items()))
    if kind == "arrayValue":
        return [_value(v) for v in (inner or {}).get("values") or []]
    if kind == "kvlistValue":
        return {str(pair["key"]): _value(pair.get("value")) for pair in (inner or {}).get("values") or []}
    if kind == "intValue":
        return int(inner)
    return inner if kind in ("stringValue", "doubleValue", "boolValue", "bytesValue") else value


# ---- messages --------------------------------------------------------------------------------------------


def under(attributes: dict[str, Any], prefix: str) -> Any:
    """What lies under a prefix: the value itself (JSON in a string is parsed), or dotted keys put together again."""
    if prefix in attributes:
        return parsed(attributes[prefix])
    tree: dict[str, Any] = {}
    for key, value in attributes.items():
        if key.startswith(f"{prefix}."):
            at = tree
            *path, last = key[len(prefix) + 1 :].split(".")
            for part in path:
                at = at.setdefault(part, {})
                if not isinstance(at, dict):
                    raise ShapeError(f"{key} stands both for a value and for more")
            at[last] = value
    return _lists(tree) if tree else None


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _lists(item) for key, item in value.items()}


def parsed(value: Any) -> Any:
    """JSON in a string as what it is; anything else as it stands."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def messages(value: Any, role: str, time: str | None = None) -> list[Message]:
    """A list of messages in any of the conventions; what names no role has `role`."""
    if value in (None, "", []):
        return []
    if isinstance(value, dict):
        for key in ("messages", "choices", "prompt"):
            if key in value:
                return messages(parsed(value[key]), role, time)
    items = value if isinstance(value, list) else [value]
    if items and all(
        isinstance(item, dict) and "role" not in item and "message" not in item and "type" in item for item in items
    ):
        items = [{"role": role, "parts": items}]
    return [made for item in items for made in _messages(item, role, time)]


def _messages(value: Any, role: str, time: str | None) -> Iterator[Message]:
    if isinstance(value, str):
        value = {"content": value}
    if not isinstance(value, dict):
        raise ShapeError("a message of a span is neither text nor an object")
    inner = value["message"] if isinstance(value.get("message"), dict) else value
    known = ROLES.get(str(inner.get("role") or role), "assistant" if inner.get("role") == "model" else None)
    if known is None:
        raise ShapeError(f"unknown role {inner.get('role')!r}")
    content = next((inner[k] for k in ("parts", "contents", "content", "text") if inner.get(k) not in (None, "")), None)
    texts: list[str] = []
    thoughts = [text_of(inner.get("reasoning_content") or inner.get("reasoning"))]
    calls = [_call(call) for call in parsed(inner.get("tool_calls")) or []]
    results: list[Message] = []
    for part in _parts(parsed(content) if isinstance(content, str) and content.startswith('[{"type"') else content):
        kind = str(part.get("type", "text")).replace("-", "_")
        if kind in ("text", "input_text", "output_text"):
            texts.append(_text(part.get("content", part.get("text"))))
        elif kind in ("reasoning", "thinking"):
            thoughts.append(_text(next((part[k] for k in ("content", "text", "thinking", "reasoning") if part.get(k)), None)))
        elif kind in ("tool_call", "tool_use"):
            calls.append(_call(part))
        elif kind in ("tool_call_response", "tool_result"):
            results.append(_result(part, time))
        else:
            texts.append(f"[{kind[:40]}]")
    text = "\n".join(t for t in texts if t)
    name, call_id = string(inner.get("name")), string(inner.get("tool_call_id"))
    if known == "tool" and (text or not results):
        yield Message(role="tool", content=text, name=name, tool_call_id=call_id or string(inner.get("id")), timestamp=time)
    elif text or calls or any(thoughts):
        reasoning = "\n".join(t for t in thoughts if t) or None if known == "assistant" else None
        yield Message(role=known, content=text, name=name, reasoning=reasoning, tool_calls=tuple(calls), timestamp=time)
    yield from results


def _parts(content: Any) -> Iterable[dict[str, Any]]:
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, dict) and isinstance(part.get("message_content"), dict):
            yield part["message_content"]
        elif isinstance(part, dict) and "type" in part:
            yield part
        elif part is not None:
            yield {"type": "text", "content": part}


def _call(value: Any) -> ToolCall:
    call = value["tool_call"] if isinstance(value.get("tool_call"), dict) else value
    inner = call["function"] if isinstance(call.get("function"), dict) else call
    given = next((inner[k] for k in ("arguments", "args", "input") if k in inner), None)
    name = string(inner.get("name")) or string(inner.get("toolName")) or "?"
    return ToolCall(id=string(call.get("id")) or string(call.get("toolCallId")), name=name, arguments=arguments_of(given))


def _result(part: dict[str, Any], time: str | None) -> Message:
    given = next((part[k] for k in ("response", "result", "output", "content") if part.get(k) is not None), None)
    failed: bool | None = next((part[k] for k in ("isError", "is_error") if isinstance(part.get(k), bool)), None)
    if isinstance(given, dict) and set(given) == {"type", "value"}:
        failed = True if str(given["type"]).startswith("error") else failed
        given = given["value"]
    call_id = next((string(part[k]) for k in ("id", "toolCallId", "tool_use_id", "tool_call_id") if part.get(k)), None)
    name = string(part.get("name")) or string(part.get("toolName"))
    return Message(role="tool", content=_text(given), tool_call_id=call_id, name=name, is_error=failed, timestamp=time)


def _text(value: JsonValue) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return text_of(value) if isinstance(value, list) else orjson.dumps(value).decode()
    except ShapeError:
        return orjson.dumps(value).decode()
