"""What `codex exec --json` prints: the events of a run, its items each in their last state.

The stream holds neither the prompt nor the model; a join file may give both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

from auditor.errors import ShapeError
from auditor.readers.base import Context, Head, Reader, Record, aside, integer, listing, mapping, string, text_of, unique_id
from auditor.transcript import Ended, Message, ToolCall, Transcript, content_hash

_EVENTS = {"thread.started", "turn.started", "turn.completed", "turn.failed", "item.started", "item.updated", "item.completed"}


def sniff(head: Head) -> bool:
    """Events of a thread, its turns and items."""
    return head.container in ("lines", "document") and any(
        value.get("type") in _EVENTS and ({"thread_id", "item", "usage", "error"} & set(value) or len(value) == 1)
        for value in head.objects[:5]
    )


def read(records: Iterable[Record], context: Context) -> Iterator[Transcript]:
    """One run, or several that were resumed into one stream."""
    items: dict[tuple[int, str], dict[str, Any]] = {}
    ignored: Counter[str] = Counter()
    thread: str | None = None
    ended: Ended | None = None
    turn = 0
    for record in records:
        with aside(context, record, "event"):
            event = mapping(record.value, "an event")
            kind = string(event.get("type")) or "event without a type"
            if kind.startswith("item.") and kind in _EVENTS:
                item = mapping(event.get("item"), "item")
                items[turn, string(item.get("id")) or f"item without an id {len(items)}"] = item
                continue
            ignored[kind] += 1
            if kind == "thread.started":
                thread = thread or string(event.get("thread_id"))
                # Item ids begin anew with each run of the program.
                turn += 1
            elif kind in ("turn.started", "turn.completed", "turn.failed", "error"):
                ended = None if kind == "turn.started" else "final report" if kind == "turn.completed" else "cut off"
            if kind in ("turn.failed", "error"):
                text = text_of(mapping(event.get("error", event), "error").get("message"))
                items[turn, f"error {len(items)}"] = {"type": "error", "message": text}
    messages = list(_messages(items, ignored))
    if not messages:
        raise ShapeError("no messages, only the events of a run that never began")
    name = unique_id(thread)
    transcript = Transcript(
        id=name or "",
        reasoning_kind="summarised" if any(m.reasoning for m in messages) else None,
        ended=ended,
        messages=tuple(messages),
        metadata={"session_id": thread} if thread and not name else {},
        ignored=dict(ignored),
        format=READER.name,
        reader_version=READER.version,
        source=context.source,
    )
    yield transcript if transcript.id else transcript.model_copy(update={"id": content_hash(transcript)})


def _messages(items: dict[tuple[int, str], dict[str, Any]], ignored: Counter[str]) -> Iterator[Message]:
    thought: list[str] = []
    for (turn, name), item in items.items():
        kind = string(item.get("type")) or string(item.get("item_type")) or "item without a type"
        reasoning = "\n".join(thought) or None
        if kind == "reasoning":
            thought.append(text_of(item.get("text")))
            continue
        if kind in ("agent_message", "assistant_message"):
            yield Message(role="assistant", content=text_of(item.get("text")), reasoning=reasoning)
        elif kind in _TOOLS:
            tool, given, answer = _TOOLS[kind](item)
            call = ToolCall(id=f"{turn}-{name}", name=tool, arguments=given)
            yield Message(role="assistant", reasoning=reasoning, tool_calls=(call,))
            if answer is not None:
                yield answer.model_copy(update={"tool_call_id": call.id, "name": tool})
        elif kind == "error":
            yield Message(role="system", content=text_of(item.get("message")), name="error", origin="injected")
            continue
        else:
            ignored[f"item/{kind}"] += 1
            continue
        thought.clear()
    if thought:
        yield Message(role="assistant", reasoning="\n".join(thought))


_Tool = tuple[str, dict[str, Any], Message | None]


def _command(item: dict[str, Any]) -> _Tool:
    code = integer(item.get("exit_code"))
    answer = Message(role="tool", content=text_of(item.get("aggregated_output")), exit_code=code, is_error=_failed(item))
    return "shell", {"command": item.get("command")}, answer if _over(item) else None


def _change(item: dict[str, Any]) -> _Tool:
    answer = Message(role="tool", content=str(item.get("status")), is_error=_failed(item)) if _over(item) else None
    return "apply_patch", {"changes": listing(item.get("changes"), "changes")}, answer


def _mcp(item: dict[str, Any]) -> _Tool:
    given = item.get("arguments")
    result, error = item.get("result"), item.get("error")
    content = result.get("content") if isinstance(result, dict) else result
    text = text_of(error.get("message") if isinstance(error, dict) else error) or text_of(content)
    answer = Message(role="tool", content=text, is_error=True if error else _failed(item)) if _over(item) else None
    return f"{item.get('server')}.{item.get('tool')}", given if isinstance(given, dict) else {"input": given}, answer


def _other(item: dict[str, Any]) -> _Tool:
    kind = str(item.get("type") or item.get("item_type"))
    given = {k: v for k, v in item.items() if k not in ("id", "type", "item_type", "status")}
    answer = (
        Message(role="tool", content=orjson.dumps(given).decode(), is_error=_failed(item)) if kind == "collab_tool_call" else None
    )
    return kind, given, answer


def _over(item: dict[str, Any]) -> bool:
    return item.get("status") != "in_progress"


def _failed(item: dict[str, Any]) -> bool | None:
    return {"completed": False, "failed": True, "declined": True}.get(str(item.get("status")))


_TOOLS: dict[str, Callable[[dict[str, Any]], _Tool]] = {
    "command_execution": _command, "file_change": _change, "mcp_tool_call": _mcp,
    "web_search": _other, "todo_list": _other, "collab_tool_call": _other,
}  # fmt: skip

# Token counts, and what `item.started` says that `item.completed` says again.
_IGNORES = (
    "usage.*", "item.id", "item.type", "item.command", "item.aggregated_output", "item.exit_code", "item.status",
    "item.result.content[].type",
)  # fmt: skip

READER = Reader("codex_exec", "codex exec --json (JSON Lines)", 1, "session", sniff, read, ignores=_IGNORES)
