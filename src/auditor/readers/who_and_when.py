"""Who&When: logs of several agents at one task, `{history: [{role, content}], question, ground_truth, mistake_agent …}`.

The orchestrator's thoughts are reasoning, what it hands out is said; the other agents are subagents.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditor.errors import ShapeError
from auditor.readers.base import Context, Head, Reader, listing, mapping, string, text_of
from auditor.transcript import Message, Transcript, content_hash


def sniff(head: Head) -> bool:
    """One object with a `history` of roles and contents that name agents."""
    for value in head.objects[:1]:
        history = value.get("history")
        if head.container == "document" and isinstance(history, list) and history and isinstance(history[0], dict):
            agents = {str(m.get("role")) for m in history if isinstance(m, dict)}
            return bool(agents & {"human", "Orchestrator (thought)"}) and "content" in history[0]
    return False


def read(value: Any, context: Context) -> Iterator[Transcript]:
    """One log. What it knows of the mistake stays in `metadata`."""
    record = mapping(value, "log")
    messages = tuple(_message(mapping(m, "message")) for m in listing(record.get("history"), "history"))
    if not messages:
        raise ShapeError("an empty history")
    transcript = Transcript(
        id="",
        model=string(record.get("model")),
        task=string(record.get("question_ID")),
        passed=record["is_correct"] if isinstance(record.get("is_correct"), bool) else None,
        messages=messages,
        metadata={k: v for k, v in record.items() if k not in ("history", "model", "question_ID", "is_correct")},
        format=READER.name,
        reader_version=READER.version,
        source=context.source,
    )
    yield transcript.model_copy(update={"id": content_hash(transcript)})


def _message(given: dict[str, Any]) -> Message:
    who, text = string(given.get("role")) or "?", text_of(given.get("content"))
    if who in ("human", "user"):
        return Message(role="user", content=text)
    if who.endswith("(thought)"):
        return Message(role="assistant", reasoning=text, name=who.removesuffix(" (thought)"))
    return Message(role="assistant", content=text, name=who, origin="main" if who.startswith("Orchestrator") else "subagent")


READER = Reader("who_and_when", "Who&When multi-agent logs (JSON)", 1, "record", sniff, read)
