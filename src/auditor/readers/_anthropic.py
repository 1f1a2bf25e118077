"""Anthropic content blocks: what an assistant's list of blocks says, and a tool result as a message."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson
from pydantic import JsonValue

from auditor.readers.base import arguments_of, integer, listing, mapping, string, text_of
from auditor.transcript import Message, ReasoningKind, ToolCall

_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")


class Blocks(NamedTuple):
    """The blocks of one assistant message. `hidden`: some of its reasoning is there only as a signature or cipher text."""

    text: str
    reasoning: str | None
    calls: tuple[ToolCall, ...]
    results: tuple[Message, ...]
    signed: bool
    hidden: bool


def blocks(content: Any) -> Blocks:
    """An assistant's content, a string or blocks; results of tools that the server ran stand among its own blocks."""
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    results: list[Message] = []
    signed = hidden = False
    for block in [{"type": "text", "text": content}] if isinstance(content, str) else listing(content, "content"):
        kind = str(mapping(block, "content block").get("type"))
        if kind == "thinking":
            thought = block.get("thinking") or ""
            thoughts.append(thought)
            signed = signed or bool(thought and block.get("signature"))
            hidden = hidden or not thought
        elif kind == "redacted_thinking":
            thoughts.append(readable(block.get("data")))
            hidden = hidden or not thoughts[-1]
        elif kind in _CALLS:
            calls.append(
                ToolCall(
                    id=string(block.get("id")), name=string(block.get("name")) or "?", arguments=arguments_of(block.get("input"))
                )
            )
        elif kind.endswith("tool_result"):
            results.append(result(block))
        else:
            texts.append(text_of([block]))
    return Blocks(_joined(texts), _joined(thoughts) or None, tuple(calls), tuple(results), signed, hidden)


def result(block: dict[str, Any]) -> Message:
    """A `tool_result` block, or one of the server's own tools' (its content is an object with an outcome, or a list of hits)."""
    content = block.get("content")
    inner = content if isinstance(content, dict) else {}
    text = _joined(str(inner[key]) for key in ("stdout", "stderr", "error_code") if inner.get(key)) if inner else _hits(content)
    failed = True if str(inner.get("type", "")).endswith("_error") else block.get("is_error")
    return Message(
        role="tool",
        content=text or text_of(content),
        tool_call_id=string(block.get("tool_use_id")),
        exit_code=integer(inner.get("return_code")),
        is_error=failed if isinstance(failed, bool) else None,
    )


def kind_of(model: str | None, all_blocks: Iterable[Blocks]) -> ReasoningKind | None:
    """What sort of reasoning can be read; None where the blocks do not tell.

    A signature vouches for the whole reasoning. Since Claude 4 the text beside it is a summary; 3.7 gave the text itself.
    """
    seen = list(all_blocks)
    if any(b.reasoning for b in seen):
        return "summarised" if any(b.signed for b in seen) and "3-7" not in (model or "") else None
    return "encrypted" if any(b.hidden for b in seen) else None


def readable(data: Any) -> str:
    """Reasoning in `redacted_thinking.data`, "" for cipher text.

    Gateways put other vendors' reasoning there, as base64 of a JSON object behind a prefix and a colon.
    """
    if not isinstance(data, str) or ":" not in data[:64]:
        return ""
    try:
        value: JsonValue = orjson.loads(base64.b64decode(data.partition(":")[2], validate=True))
    except (binascii.Error, ValueError):
        return ""
    found = value if isinstance(value, dict) else {}
    return next((str(found[key]) for key in ("text", "summary", "reasoning", "thinking") if isinstance(found.get(key), str)), "")


def _hits(content: Any) -> str:
    if not isinstance(content, list) or not all(
        isinstance(c, dict) and str(c.get("type")).endswith("_search_result") for c in content
    ):
        return text_of(content)
    return "\n".join(f"{hit.get('title') or ''} {hit.get('url') or ''}".strip() for hit in content)


def _joined(parts: Iterable[str]) -> str:
    return "\n".join(part for part in parts if part)
