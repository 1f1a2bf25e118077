"""LLM call logs of litellm and OpenHands: one call a record, the messages that were sent and the response that came back.

Each is a snapshot of a conversation up to that call.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditor.readers._chat import called, is_call
from auditor.readers.base import Context, Head, Reader, mapping
from auditor.transcript import Transcript


def sniff(head: Head) -> bool:
    """A `messages` list beside a `response` with `choices`; or beside `tools` and `kwargs`, where the head is cut."""
    return any(is_call(v) or ("response" not in v and {"messages", "tools", "kwargs"} <= set(v)) for v in head.objects[:3])


def read(value: Any, context: Context) -> Iterator[Transcript]:
    """One call. Tools, request settings and token counts are not read."""
    yield called(mapping(value, "record"), context, READER.name, READER.version)


# The request's settings, and the chat as text where the chat itself is there.
_IGNORES = (
    "kwargs.*", "tools[].*", "messages[].*", "raw_messages[].content[].type", "raw_messages[].tool_calls[].type",
    "response.created", "response.object", "response.usage.*", "response.choices[].index",
)  # fmt: skip

READER = Reader(
    "litellm_log", "LLM call logs of litellm and OpenHands (JSON, JSON Lines)", 1, "record", sniff, read, ignores=_IGNORES
)
