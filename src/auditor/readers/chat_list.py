"""A bare list of chat messages: the whole file, a JSON array or one message a line, is one conversation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from auditor.errors import ShapeError
from auditor.readers._chat import ROLES, message
from auditor.readers.base import Context, Head, Reader, Record, aside
from auditor.transcript import Message, Transcript, content_hash

_CONTENT = {"content", "tool_calls", "function_call"}
_BLOCKS = {"tool_use", "tool_result", "thinking", "redacted_thinking"}


def sniff(head: Head) -> bool:
    """Nothing but objects with a chat role and content, and no Anthropic blocks within."""
    if head.container not in ("array", "lines") or not head.objects or len(head.objects) != len(head.values):
        return False
    return all(
        v.get("role") in ROLES and _CONTENT & set(v) and not _blocks(v.get("content")) for v in head.objects[:-1] or head.objects
    )


def _blocks(content: object) -> bool:
    return isinstance(content, list) and any(isinstance(part, dict) and part.get("type") in _BLOCKS for part in content)


def read(records: Iterable[Record], context: Context) -> Iterator[Transcript]:
    """One conversation. The list names no model."""
    messages: list[Message] = []
    for record in records:
        with aside(context, record, "message"):
            messages.append(message(record.value))
    if not messages:
        raise ShapeError("no messages")
    transcript = Transcript(
        id="", messages=tuple(messages), format=READER.name, reader_version=READER.version, source=context.source
    )
    yield transcript.model_copy(update={"id": content_hash(transcript)})


READER = Reader("chat_list", "a bare list of chat messages (JSON, JSON Lines)", 1, "session", sniff, read, generic=True)
