"""Gemini CLI chats: one JSON object (older), or JSON Lines that are a log of patches (newer), and `history` of API turns.

The patches are replayed: a record with a known id replaces the earlier one, `$rewindTo` takes back a message and all
after it (they stay, as `rewound`), `$set.messages` states the history anew. Thoughts are summaries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import JsonValue

from auditor.errors import ShapeError
from auditor.readers._gemini import asked, spoken
from auditor.readers.base import Context, Head, Reader, Record, aside, listing, mapping, one_or_all, string, text_of, unique_id
from auditor.transcript import Ended, Message, Origin, ToolCall, Transcript, content_hash

_FACTS = ("kind", "projectHash", "summary", "directories", "activeExtensionName", "startTime")
_ROLES = ("user", "gemini", "model", "info", "error", "warning")


def sniff(head: Head) -> bool:
    """A session id beside a project hash; `history` of API turns; or messages of type `gemini` with an id."""
    return head.container in ("lines", "document") and any(_ours(value) for value in head.objects[:20])


def _ours(value: dict[str, Any]) -> bool:
    if "sessionId" in value and "projectHash" in value:
        return True
    history = value.get("history")
    if isinstance(history, list) and history and isinstance(history[0], dict):
        return "parts" in history[0] and history[0].get("role") in ("user", "model", "gemini")
    messages = value.get("messages")
    first = messages[0] if isinstance(messages, list) and messages else value
    if not isinstance(first, dict) or first is value:
        return "$rewindTo" in value or (value.get("type") == "gemini" and {"id", "timestamp"} <= set(value))
    return first.get("type") in _ROLES and {"id", "timestamp"} <= set(first) and "role" not in first


def read(records: Iterable[Record], context: Context) -> Iterator[Transcript]:
    """One session."""
    chat = _Chat()
    for record in records:
        with aside(context, record, "record"):
            chat.take(mapping(record.value, "a record"))
    yield chat.transcript(context)


class _Chat:
    """The history as it stands after the patches so far."""

    def __init__(self) -> None:
        self.said: dict[str, dict[str, Any]] = {}
        self.origins: dict[str, Origin] = {}
        self.live: list[str] = []
        self.facts: dict[str, list[JsonValue]] = {}
        self.ignored: Counter[str] = Counter()
        self.waiting: list[ToolCall] = []

    def take(self, record: dict[str, Any]) -> None:
        """Replay one record."""
        if "$rewindTo" in record:
            self._rewind(str(record["$rewindTo"]))
        elif isinstance(record.get("$set"), dict):
            self._facts(record["$set"])
            if "messages" in record["$set"]:
                self._restate([_named(m, 0, "") for m in listing(record["$set"]["messages"], "messages")])
        elif record.get("type") == "message_update":
            self._update(record)
        elif "type" in record or ("role" in record and "parts" in record):
            self._add(_named(record, len(self.said), "m"))
        elif set(record) & {"sessionId", "messages", "history"}:
            self._facts(record)
            for message in listing(record.get("messages", record.get("history")), "messages"):
                self._add(_named(message, len(self.said), "m"))
        else:
            self.ignored[", ".join(sorted(record))[:60] or "empty record"] += 1

    def _facts(self, given: dict[str, Any]) -> None:
        meta = given["meta"] if isinstance(given.get("meta"), dict) else {}
        for key in ("sessionId", *_FACTS):
            self.facts.setdefault(key, []).append(given.get(key))
        self.facts.setdefault("startTime", []).append(given.get("start_time"))
        self.facts.setdefault("model", []).append(meta.get("model"))

    def _add(self, message: dict[str, Any]) -> None:
        name = message["id"]
        if name not in self.said:
            self.live.append(name)
        elif name not in self.live:
            # Said again after it was taken back: the taken back one stays, under another name.
            old = f"{name} (taken back {len(self.said)})"
            self.said = {old if key == name else key: value for key, value in self.said.items()}
            self.origins[old] = self.origins.pop(name, "main")
            self.live.append(name)
        self.said[name] = message

    def _update(self, patch: dict[str, Any]) -> None:
        name = str(patch.get("id"))
        if name not in self.said:
            raise ShapeError(f"updates message {name!r}, which was never said")
        given = patch.get("message", patch.get("updates", patch.get("$set")))
        given = given if isinstance(given, dict) else {k: v for k, v in patch.items() if k != "type"}
        self.said[name] = {**self.said[name], **given}

    def _rewind(self, target: str) -> None:
        # As the CLI does: the target goes too, and an unknown target takes everything back.
        at = self.live.index(target) if target in self.live else 0
        for name in self.live[at:]:
            self.origins[name] = "rewound"
        del self.live[at:]

    def _restate(self, messages: list[dict[str, Any]]) -> None:
        """The history anew: grown, cut short at its end (taken back), or rewritten by compression."""
        names = [message["id"] for message in messages]
        fresh = [name for name in names if name not in self.said]
        gone = [name for name in self.live if name not in names]
        if gone and not fresh and self.live[-len(gone) :] == gone:
            self._rewind(gone[0])
        elif gone:
            self.ignored["messages left out of a restated history"] += len(gone)
            self.origins.update(dict.fromkeys(fresh, "copied"))
        for message in messages:
            self._add(message)

    def transcript(self, context: Context) -> Transcript:
        """The session, what was taken back included."""
        messages: list[Message] = []
        models: Counter[str] = Counter()
        for name, said in self.said.items():
            with aside(context, Record(None, 0, None), f"message {name}"):
                messages += self._messages(said, self.origins.get(name, "main"))
                models.update(m for m in [string(said.get("model"))] if m)
        if not messages:
            seen = ", ".join(f"{n} {kind}" for kind, n in self.ignored.items())
            raise ShapeError(f"no messages{', only ' + seen if seen else ''}; a session in which nothing was said")
        facts: dict[str, Any] = {
            key: one_or_all(values) for key, values in self.facts.items() if key not in ("sessionId", "model")
        }
        session = next((string(s) for s in self.facts.get("sessionId", []) if s), None)
        given = next((string(m) for m in self.facts.get("model", []) if m), None)
        if len(models) > 1:
            facts["models"] = dict(models)
        if not unique_id(session):
            facts["session_id"] = session
        transcript = Transcript(
            id=unique_id(session) or "",
            model=models.most_common(1)[0][0] if models else given,
            reasoning_kind="summarised" if any(m.reasoning for m in messages) else None,
            ended=_ended(messages),
            messages=tuple(messages),
            metadata={key: value for key, value in facts.items() if value is not None},
            ignored=dict(self.ignored),
            format=READER.name,
            reader_version=READER.version,
            source=context.source,
        )
        return transcript if transcript.id else transcript.model_copy(update={"id": content_hash(transcript)})

    def _messages(self, said: dict[str, Any], origin: Origin) -> Iterator[Message]:
        kind = string(said.get("type")) or string(said.get("role"))
        time = string(said.get("timestamp")) or string(said.get("ts"))
        parts = said.get("content") if said.get("content") is not None else said.get("parts")
        if kind not in _ROLES:
            self.ignored[f"message/{kind}"] += 1
        elif kind in ("gemini", "model"):
            for message in spoken(said, parts, time, origin):
                self.waiting += message.tool_calls
                yield message
        elif kind == "user":
            yield from asked(parts, self.waiting, time, origin)
        else:
            kept: Origin = "injected" if origin == "main" else origin
            yield Message(role="system", content=text_of(parts), name=kind, timestamp=time, origin=kept)


def _named(value: Any, index: int, prefix: str) -> dict[str, Any]:
    message = mapping(value, "a message")
    name = string(message.get("id")) or (f"{prefix}{index}" if prefix else None)
    if name is None:
        raise ShapeError("a message without an id in a restated history")
    return {**message, "id": name}


def _ended(messages: list[Message]) -> Ended | None:
    for m in reversed(messages):
        if m.origin == "injected" and m.name == "info" and "cancelled" in m.content.lower():
            return "cut off"
        if m.origin == "main":
            if m.role == "tool" or m.tool_calls:
                return "cut off"
            return "final report" if m.role == "assistant" and m.content.strip() else None
    return None


# Ids, media, token counts, what only the screen shows, and what a later record with the same id replaces.
_IGNORES = (
    "lastUpdated", "$set.lastUpdated", "$set.messages[].id", "id", "type", "content", "model", "timestamp", "messages[].id",
    "messages[].content[].inlineData.*", "messages[].thoughts[].timestamp", "messages[].tokens.*", "messages[].toolCalls[].displayName",
    "messages[].toolCalls[].resultDisplay", "messages[].toolCalls[].result[].functionResponse.id",
)  # fmt: skip

READER = Reader("gemini_cli", "Gemini CLI chats (JSON, JSON Lines)", 1, "session", sniff, read, ignores=_IGNORES)
