"""Codex rollouts (`rollout-*.jsonl`): a session header and what follows it, or the layout without one before August 2025.

Only `response_item` records make messages; `event_msg` records repeat them and are counted, but tell exit codes, how
the run ended and what was rolled back. History that a fork or a sub-agent was given is `copied`. A compaction summary
is the model's word to its later self: an assistant message named `compaction`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import JsonValue

from auditor.errors import ShapeError
from auditor.readers import _responses as responses
from auditor.readers._harness import split
from auditor.readers.base import (
    Context,
    Head,
    Reader,
    Record,
    aside,
    integer,
    listing,
    mapping,
    one_or_all,
    string,
    text_of,
    unique_id,
)
from auditor.transcript import Ended, Message, Origin, Transcript, content_hash

_TAGS = (
    "environment_context", "user_instructions", "INSTRUCTIONS", "turn_aborted", "user_shell_command", "skill", "hook_prompt",
    "subagent_notification", "permissions instructions", "collaboration_mode", "model_switch", "goal_context", "personality_spec",
    "apps_instructions", "skills_instructions", "plugins_instructions", "codex_internal_context",
)  # fmt: skip
_AGENTS_MD = "# AGENTS.md instructions"
_IDE = ("# Context from my IDE setup", "## My request for Codex:")
_HEADS = {"session_meta", "turn_context", "response_item", "event_msg", "compacted"}


def sniff(head: Head) -> bool:
    """Lines of `type` and `payload`; or a bare header with `instructions`, followed by bare items."""
    return head.container in ("lines", "document") and any(_enveloped(v) or _bare_header(v) for v in head.objects[:5])


def _enveloped(line: dict[str, Any]) -> bool:
    return line.get("type") in _HEADS and isinstance(line.get("payload"), dict)


def _bare_header(line: dict[str, Any]) -> bool:
    return {"id", "timestamp", "instructions"} <= set(line) and "type" not in line


def read(records: Iterable[Record], context: Context) -> Iterator[Transcript]:
    """One rollout."""
    rollout = _Rollout()
    lines = list(records)
    boundary = _copied([line.value if isinstance(line.value, dict) else {} for line in lines])
    for index, record in enumerate(lines):
        with aside(context, record, "record"):
            rollout.take(mapping(record.value, "a record"), "copied" if index < boundary else "main")
    yield rollout.transcript(context)


# ---- history of another thread --------------------------------------------------------------------------


def _copied(lines: list[dict[str, Any]]) -> int:
    """How many of the first records are the history of the thread that this one was forked from.

    Copies bear the time of the fork, so times do not tell. The ids of turns do: they are UUIDv7, and a copied turn is
    older than the thread. Without such ids the copy ends at the first pause of a second.
    """
    metas = [p for line in lines if line.get("type") == "session_meta" and isinstance(p := line.get("payload"), dict)]
    own = metas[0] if metas else {}
    foreign = any(meta.get("id") != own.get("id") for meta in metas)
    if not (own.get("forked_from_id") or (_parent(own) and foreign)):
        return 0
    born = _born(own.get("id"))
    turns = [(i, when) for i, line in enumerate(lines) if (when := _born(_turn_id(line))) is not None]
    if born is not None and turns:
        return next((i for i, when in turns if when >= born), len(lines))
    last: float | None = None
    for i, line in enumerate(lines):
        now = _seconds(line.get("timestamp"))
        if now is not None and last is not None and now - last >= 1:
            return i
        last = last if now is None else now
    return len(lines)


def _turn_id(line: dict[str, Any]) -> Any:
    payload = line.get("payload")
    return payload.get("turn_id") if isinstance(payload, dict) and line.get("type") in ("turn_context", "event_msg") else None


def _born(value: Any) -> int | None:
    """Milliseconds since 1970 in a UUIDv7."""
    name = unique_id(value)
    return UUID(name).int >> 80 if name and UUID(name).version == 7 else None


def _seconds(value: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _parent(meta: dict[str, Any]) -> str | None:
    """The thread that started this one as its sub-agent."""
    found: Any = meta.get("source")
    for key in ("subagent", "thread_spawn"):
        found = found.get(key) if isinstance(found, dict) else None
    return string(meta.get("parent_thread_id")) or string(found.get("parent_thread_id") if isinstance(found, dict) else None)


# ---- the records ----------------------------------------------------------------------------------------


class _Rollout:
    """The records of one rollout, taken one by one."""

    def __init__(self) -> None:
        self.items = responses.Items(_pieces)
        self.ignored: Counter[str] = Counter()
        self.facts: dict[str, list[JsonValue]] = {}
        self.thread: str | None = None
        self.models: Counter[str] = Counter()
        self.ended: Ended | None = None
        self.outcomes: dict[str, tuple[int | None, bool | None]] = {}

    def take(self, line: dict[str, Any], origin: Origin) -> None:
        """Take one record, in its envelope or bare."""
        time = string(line.get("timestamp"))
        kind = string(line.get("type")) or string(line.get("record_type")) or "record without a type"
        if "payload" not in line:
            if _bare_header(line):
                self._header(line)
            elif kind in responses.KINDS:
                self.items.take(line, time, origin)
            else:
                self.ignored[kind] += 1
            return
        payload = mapping(line["payload"], "payload")
        if kind == "response_item":
            self.items.take(payload, time, origin)
        elif kind == "session_meta":
            self._header(payload)
        elif kind == "turn_context" and origin == "main":
            self.models.update(m for m in [string(payload.get("model"))] if m)
            self._note({key: payload.get(key) for key in ("cwd", "effort", "approval_policy")})
        elif kind == "compacted":
            self._compacted(payload, time, origin)
        elif kind == "event_msg":
            self._event(payload, origin)
        else:
            self.ignored[kind] += 1

    def _header(self, meta: dict[str, Any]) -> None:
        name = string(meta.get("id"))
        if self.thread not in (None, name):
            self.ignored["session_meta of another thread"] += 1
            return
        self.thread = name
        git = meta["git"] if isinstance(meta.get("git"), dict) else {}
        source = meta.get("source")
        self._note({key: meta.get(key) for key in ("cwd", "cli_version", "originator", "model_provider")})
        self._note({"forked_from": meta.get("forked_from_id"), "parent_thread": _parent(meta)})
        self._note({"git_branch": git.get("branch"), "git_commit": git.get("commit_hash")})
        self._note({"run_source": source if isinstance(source, str) else None})
        base = meta.get("base_instructions")
        text = text_of(base.get("text") if isinstance(base, dict) else base)
        if text and not any(m.role == "system" and m.content == text for m in self.items.messages):
            self.items.put(Message(role="system", content=text))

    def _note(self, given: dict[str, Any]) -> None:
        for key, value in given.items():
            self.facts.setdefault(key, []).append(value)

    def _event(self, event: dict[str, Any], origin: Origin) -> None:
        kind = str(event.get("type"))
        self.ignored[f"event_msg/{kind}"] += 1
        call = string(event.get("call_id"))
        if kind == "exec_command_end" and call:
            self.outcomes[call] = (integer(event.get("exit_code")), None)
        elif kind == "patch_apply_end" and call and isinstance(event.get("success"), bool):
            self.outcomes[call] = (None, not event["success"])
        elif kind == "mcp_tool_call_end" and call and isinstance(event.get("result"), dict):
            done = event["result"].get("Ok")
            self.outcomes[call] = (None, bool(done.get("isError") or done.get("is_error")) if isinstance(done, dict) else True)
        elif origin == "copied":
            return
        elif kind == "thread_rolled_back":
            self._roll_back(integer(event.get("num_turns")) or 0)
        elif kind in ("task_complete", "turn_complete"):
            self.ended = "final report" if event.get("last_agent_message") else None
        elif kind == "turn_aborted":
            self.ended = "budget" if event.get("reason") == "budget_limited" else "cut off"
        elif kind in ("task_started", "turn_started"):
            self.ended = None

    def _roll_back(self, turns: int) -> None:
        messages = self.items.messages
        for i in range(len(messages) - 1, -1, -1):
            if turns > 0 and messages[i].origin in ("main", "injected") and messages[i].role != "system":
                turns -= messages[i].role == "user" and messages[i].origin == "main"
                messages[i] = messages[i].model_copy(update={"origin": "rewound"})

    def _compacted(self, payload: dict[str, Any], time: str | None, origin: Origin) -> None:
        self.ignored["compacted"] += 1
        text = text_of(payload.get("message"))
        if text:
            # Not `main`: it is written for a later self, and must not count as the report to the user.
            kept: Origin = "copied" if origin == "copied" else "subagent"
            self.items.put(Message(role="assistant", content=text, name="compaction", timestamp=time, origin=kept))
        known = {m.content for m in self.items.messages}
        for item in listing(payload.get("replacement_history"), "replacement_history"):
            said = text_of(item.get("content")) if isinstance(item, dict) and "role" in item else ""
            if not said or said in known or (text and text in said):
                self.ignored["compacted/history that is known"] += 1
            else:
                self.items.take(item, time, "copied")

    def transcript(self, context: Context) -> Transcript:
        """The thread as it stands after its last record."""
        messages = [m for m in self.items.messages if m.content or m.reasoning or m.tool_calls or m.role == "tool"]
        if not messages:
            raise ShapeError("no messages, only the records of a session that never began")
        facts = {key: one_or_all(values) for key, values in self.facts.items()}
        if len(self.models) > 1:
            facts["models"] = dict(self.models)
        name = unique_id(self.thread)
        if not name:
            facts["session_id"] = self.thread
        transcript = Transcript(
            id=name or "",
            model=self.models.most_common(1)[0][0] if self.models else None,
            reasoning_kind=self.items.reasoning_kind,
            ended=self.ended,
            messages=tuple(self._with_outcome(m) for m in messages),
            metadata={k: v for k, v in facts.items() if v is not None},
            ignored=dict(self.ignored + self.items.ignored),
            format=READER.name,
            reader_version=READER.version,
            source=context.source,
        )
        return transcript if transcript.id else transcript.model_copy(update={"id": content_hash(transcript)})

    def _with_outcome(self, message: Message) -> Message:
        code, failed = self.outcomes.get(message.tool_call_id or "", (None, None))
        code = code if message.exit_code is None else message.exit_code
        failed = failed if message.is_error is None else message.is_error
        return message.model_copy(update={"exit_code": code, "is_error": failed}) if message.role == "tool" else message


def _pieces(text: str) -> list[tuple[str, bool]]:
    """A part of a user's turn as (text, injected)."""
    if text.startswith(_AGENTS_MD):
        return [(text, True)]
    if text.startswith(_IDE[0]) and _IDE[1] in text:
        setup, _, request = text.partition(_IDE[1])
        return [(setup.strip(), True), (request.strip(), False)]
    return list(split(text, _TAGS))


# What frames a text, what events repeat of items, cipher text, and the ids and times that bind records together.
_IGNORES = (
    "timestamp", "instructions", "encrypted_content", "content[].type", "payload.timestamp", "payload.instructions",
    "payload.content[].type", "payload.summary[].type", "payload.encrypted_content", "payload.status", "payload.summary",
    "payload.git.repository_url", "payload.ghost_commit.*", "payload.turn_id", "payload.message", "payload.last_agent_message",
    "payload.reason", "payload.replacement_history[].type", "payload.replacement_history[].role",
    "payload.replacement_history[].content[].type", "payload.id", "payload.cwd", "payload.model",
)  # fmt: skip

READER = Reader("codex", "Codex rollouts (JSON Lines)", 1, "session", sniff, read, ignores=_IGNORES)
