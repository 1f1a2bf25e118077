"""The project's own JSON Lines: one transcript a line, exactly as `auditor.transcript.Transcript` has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from auditor.readers.base import Context, Head, Reader
from auditor.transcript import Transcript, content_hash

_OWN = {"environment", "elicitation", "reasoning_kind", "checkpoint", "format", "epoch", "task"}


def sniff(head: Head) -> bool:
    """A transcript of our own: messages with our own call shape, and at least one key only we use."""
    return any(_ours(value) for value in head.objects[:3])


def companion(head: Head) -> bool:
    """Labels: lines that name an episode and hold no messages."""
    return bool(head.objects) and all("episode_id" in value and "messages" not in value for value in head.objects[:3])


def _ours(value: dict[str, Any]) -> bool:
    messages = value.get("messages")
    if "id" not in value or not isinstance(messages, list) or not set(value) <= set(Transcript.model_fields):
        return False
    return bool(_OWN & set(value)) and not any(_foreign(m) for m in messages if isinstance(m, dict))


def _foreign(message: dict[str, Any]) -> bool:
    calls = message.get("tool_calls") or []
    return not isinstance(message.get("content", ""), str) or any("function" in c for c in calls if isinstance(c, dict))


def read(raw: bytes, context: Context) -> Iterator[Transcript]:
    """One line. The source becomes this file; what the line said of its source is kept in `metadata.source`."""
    transcript = Transcript.model_validate_json(raw)
    update: dict[str, Any] = {"source": context.source}
    if transcript.source is not None:
        update["metadata"] = {**transcript.metadata, "source": transcript.source.model_dump(exclude_none=True)}
    if not transcript.id:
        update["id"] = content_hash(transcript)
    yield transcript.model_copy(update=update)


def write(transcript: Transcript) -> bytes:
    """One line of JSON without what is empty; `read` gives the same transcript back.

    `format` stands before the messages, so that a long line is known for ours by its beginning.
    """
    told = transcript.model_dump(mode="json", exclude_defaults=True)
    return orjson.dumps({"id": transcript.id, "format": transcript.format, **told}) + b"\n"


READER = Reader("auditor", "auditor's own JSON Lines", 1, "raw", sniff, read, companion=companion)
