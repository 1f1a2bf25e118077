"""Claude Code: session files (`<session>.jsonl`), a subagent's own file, and `--output-format stream-json`.

One transcript a session id. A message that was split over lines is one again (by `message.id`), doubled lines count
once. Subagents within a session's file have the origin `subagent`; a file that holds nothing else is the subagent's
own episode. A compaction summary is the model's word to its later self: an assistant message named `compaction`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from auditor.errors import ShapeError
from auditor.readers._claude_session import NAME, VERSION, Session
from auditor.readers.base import Context, Head, Reader, Record, string
from auditor.transcript import Transcript

_OWN_KINDS = {"permission-mode", "mode", "queue-operation", "custom-title", "ai-title", "agent-name", "last-prompt", "progress"}


def sniff(head: Head) -> bool:
    """Lines with a session id beside a uuid, or one of the kinds of line that only this log has."""
    return head.container in ("lines", "document") and any(_ours(value) for value in head.objects)


def _ours(line: dict[str, Any]) -> bool:
    kind = line.get("type")
    if kind == "summary":
        return "leafUuid" in line
    if kind == "file-history-snapshot":
        return "snapshot" in line
    if kind == "system" and line.get("subtype") == "init":
        return "session_id" in line
    if kind in ("user", "assistant") and not isinstance(line.get("message"), dict):
        return False
    session = "sessionId" in line or "session_id" in line
    return session and isinstance(kind, str) and ("uuid" in line or "parentUuid" in line or kind in _OWN_KINDS)


def read(records: Iterable[Record], context: Context) -> Iterator[Transcript]:
    """All sessions of a file. Lines without a session id belong to the session before them, else to the first."""
    sessions: dict[str, Session] = {}
    early: list[Record] = []
    session: Session | None = None
    for record in records:
        value = record.value if isinstance(record.value, dict) else {}
        name = string(value.get("sessionId")) or string(value.get("session_id"))
        if name is not None:
            session = sessions.setdefault(name, Session(name))
        if session is None:
            early.append(record)
            continue
        for line in [*early, record]:
            session.add(line, context)
        early.clear()
    if not sessions and early:
        sessions[""] = Session("")
        for line in early:
            sessions[""].add(line, context)
    spoken = [s for s in sessions.values() if s.drafts]
    if not spoken:
        raise ShapeError("no messages, only the lines of a session that never began")
    for empty in sessions.values():
        if not empty.drafts:
            spoken[0].ignored.update(empty.ignored)
            spoken[0].ignored["session without a message"] += 1
    yield from (s.transcript(context) for s in spoken)


# Ids and times that bind lines together, what the program keeps for itself, and what a message repeats or only frames.
_IGNORES = (
    "uuid", "parentUuid", "requestId", "messageId", "leafUuid", "isSidechain", "timestamp", "slug", "userType", "operation",
    "isSnapshotUpdate", "snapshot.*", "data.*", "content", "compactMetadata.*", "toolUseID", "parentToolUseID", "parent_tool_use_id",
    "toolUseResult", "toolUseResult.*", "sourceToolAssistantUUID", "message.id", "message.type", "message.role", "message.stop_reason", "message.stop_sequence",
    "message.usage.*", "message.content[].type", "message.content[].content[].type", "message.content[].signature",
    "message.content[].data", "message.content[].source.*", "model", "tools[]", "is_error", "num_turns",
)  # fmt: skip

READER = Reader(NAME, "Claude Code sessions (JSON Lines)", VERSION, "session", sniff, read, ignores=_IGNORES)
