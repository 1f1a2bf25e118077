"""Codex rollouts (`rollout-*.jsonl`): the session header and what follows it, and the layout without one before August 2025.

Only `response_item` records make messages; `event_msg` records repeat them and are counted, but tell exit codes, how the
run ended and what was rolled back. History that a fork or a sub-agent was given is `copied`. A compaction summary is the
model's word to its later self: an assistant message named `compaction`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import orjson
from pydantic import JsonValue

from auditor.errors import ShapeError
from auditor.readers._harness import split
from auditor.readers.base import (
    Context,
    Head,
    Reader,
    Record,
    aside,
    arguments_of,
    integer,
    listing,
    mapping,
    one_or_all,
    string,
    text_of,
    unique_id,
)
from auditor.transcript import Ended, Message, Origin, ReasoningKind, ToolCall, Transcript, content_hash

_TAGS = (
    "environment_context", "user_instructions", "INSTRUCTIONS", "turn_aborted", "user_shell_command", "skill", "subagent_notification",
    "permissions instructions", "collaboration_mode", "model_switch", "hook_prompt", "goal_context", "apps_instructions", "skills_instructions",
    "plugins_instructions", "codex_internal_context", "personality_spec",
)  # fmt: skip
_AGENTS_MD = "# AGENTS.md instructions"
_IDE = ("# Context from my IDE setup", "## My request for Codex:")
_CALLS = {
    "function_call",
    "custom_tool_call",
    "local_shell_call",
    "tool_call",
    "web_search_call",
    "tool_search_call",
    "image_generation_call",
}
_RESULTS = {"function_call_output", "custom_tool_call_output", "tool_result", "tool_search_output", "local_shell_call_output"}
_ITEMS = {"message", "reasoning", "agent_message"} | _CALLS | _RESULTS
_HEADS = {"session_meta", "turn_context", "response_item", "event_msg", "compacted"}
_EXIT = ("Exit code: ", "Process exited with code ")


def sniff(head: Head) -> bool:
    """Lines of `type` and `payload`; or a bare header with `instructions`, followed by bare items."""
    return head.container in ("lines", "document") and any(_enveloped(value) or _bare_header(value) for value in head.objects[:5])


def _enveloped(line: dict[str, Any]) -> bool:
    return line.get("type") in _HEADS and isinstance(line.get("payload"), dict)


def _bare_header(line: dict[str, Any]) -> bool:
    return {"id", "timestamp", "instructions"} <= set(line) and "type" not in line


def read(records: Iterable[Record], context: Context) -> Iterator[Transcript]:
    """One rollout."""
    rollout = _Rollout()
    lines = list(records)
    boundary = _copied(lines)
    for index, record in enumerate(lines):
        with aside(context, record, "record"):
            line = mapping(record.value, "a record")
            rollout.take(line, "copied" if index < boundary else "main")
    yield rollout.transcript(context)


def _copied(lines: list[Record]) -> int:
    """How many of the first records are the history of another thread, copied when this one was forked from it.

    Copies bear the time of the fork, so times do not tell. The ids of turns do: they are UUIDv7, and a copied turn is
    older than the thread. Without such ids the copy ends at the first pause of a second.
    """
    values = [record.value for record in lines if isinstance(record.value, dict)]
    own = next((v["payload"] for v in values if v.get("type") == "session_meta" and isinstance(v.get("payload"), dict)), {})
    metas = {
        str(v["payload"].get("id")) for v in values if v.get("type") == "session_meta" and isinstance(v.get("payload"), dict)
    }
    if not (own.get("forked_from_id") or (_parent(own) and len(metas) > 1)):
        return 0
    born = _born(own.get("id"))
    turns = [(i, _born(_turn(record.value))) for i, record in enumerate(lines)]
    if born is not None and any(when is not None for _, when in turns):
        return next((i for i, when in turns if when is not None and when >= born), len(lines))
    last: float | None = None
    for i, record in enumerate(lines):
        now = _seconds(record.value.get("timestamp")) if isinstance(record.value, dict) else None
        if now is not None and last is not None and now - last >= 1:
            return i
        last = now if now is not None else last
    return len(lines)


def _turn(value: Any) -> Any:
    payload = value.get("payload") if isinstance(value, dict) else None
    return payload.get("turn_id") if isinstance(payload, dict) and value.get("type") in ("turn_context", "event_msg") else None


def _born(value: Any) -> int | None:
    """Milliseconds since 1970 in a UUIDv7."""
    name = unique_id(value)
    return UUID(name).int >> 80 if name and UUID(name).version == 7 else None


def _seconds(value: Any) -> float | None:
    from datetime import datetime

    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return None


def _parent(meta: dict[str, Any]) -> str | None:
    source = meta.get("source")
    spawn = source.get("subagent") if isinstance(source, dict) else None
    spawn = spawn.get("thread_spawn") if isinstance(spawn, dict) else None
    return string(meta.get("parent_thread_id")) or string(spawn.get("parent_thread_id") if isinstance(spawn, dict) else None)


class _Rollout:
    """The records of one rollout, taken one by one."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.ignored: Counter[str] = Counter()
        self.facts: dict[str, list[JsonValue]] = {}
        self.meta: dict[str, Any] | None = None
        self.models: list[str] = []
        self.kinds: set[ReasoningKind] = set()
        self.ended: Ended | None = None
        self.outcomes: dict[str, tuple[int | None, bool | None]] = {}
        self._open: list[str] = []
        self._joined = False

    def take(self, line: dict[str, Any], origin: Origin) -> None:
        """Take one record, enveloped or bare."""
        time = string(line.get("timestamp"))
        if "payload" not in line:
            if _bare_header(line):
                self._header(line, origin)
            elif line.get("type") in _ITEMS:
                self._item(line, time, origin)
            else:
                self.ignored[string(line.get("type")) or string(line.get("record_type")) or "record without a type"] += 1
            return
        kind = string(line.get("type")) or "record without a type"
        payload = mapping(line["payload"], "payload")
        if kind == "response_item":
            self._item(payload, time, origin)
        elif kind == "session_meta":
            self._header(payload, origin)
        elif kind == "turn_context":
            self._turn(payload, origin)
        elif kind == "compacted":
            self._compacted(payload, time, origin)
        elif kind == "event_msg":
            self._event(payload, origin)
        else:
            self.ignored[kind] += 1

    def _header(self, meta: dict[str, Any], origin: Origin) -> None:
        if self.meta is None:
            self.meta = meta
        elif meta.get("id") != self.meta.get("id"):
            self.ignored["session_meta of another thread"] += 1
            return
        git = meta.get("git") if isinstance(meta.get("git"), dict) else {}
        source = meta.get("source")
        given = {
            "cwd": meta.get("cwd"), "cli_version": meta.get("cli_version"), "originator": meta.get("originator"),
            "model_provider": meta.get("model_provider"), "forked_from": meta.get("forked_from_id"), "parent_thread": _parent(meta),
            "git_branch": git.get("branch"), "git_commit": git.get("commit_hash"), "run_source": source if isinstance(source, str) else None,
        }  # fmt: skip
        self._note(given)
        base = meta.get("base_instructions")
        text = text_of(base.get("text")) if isinstance(base, dict) else text_of(base)
        if text and not any(m.role == "system" and m.content == text for m in self.messages):
            self.messages.append(Message(role="system", content=text))

    def _turn(self, turn: dict[str, Any], origin: Origin) -> None:
        if origin == "copied":
            return
        if model := string(turn.get("model")):
            self.models.append(model)
        self._note({key: turn.get(key) for key in ("cwd", "effort", "approval_policy")})

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
        elif kind == "thread_rolled_back" and origin == "main":
            self._roll_back(integer(event.get("num_turns")) or 0)
        elif origin == "main" and kind in ("task_complete", "turn_complete"):
            self.ended = "final report" if event.get("last_agent_message") else None
        elif origin == "main" and kind == "turn_aborted":
            self.ended = "budget" if event.get("reason") == "budget_limited" else "cut off"
        elif kind in ("task_started", "turn_started"):
            self.ended = None

    def _roll_back(self, turns: int) -> None:
        for i in range(len(self.messages) - 1, -1, -1):
            if turns <= 0:
                return
            message = self.messages[i]
            if message.origin == "main" and message.role != "system":
                self.messages[i] = message.model_copy(update={"origin": "rewound"})
                turns -= message.role == "user"

    def _compacted(self, payload: dict[str, Any], time: str | None, origin: Origin) -> None:
        self._joined = False
        self.ignored["compacted"] += 1
        text = text_of(payload.get("message"))
        if text:
            # Not `main`: it is written for a later self, and must not count as the report to the user.
            kept: Origin = "copied" if origin == "copied" else "subagent"
            self.messages.append(Message(role="assistant", content=text, name="compaction", timestamp=time, origin=kept))
        known = {m.content for m in self.messages} | {text}
        for item in listing(payload.get("replacement_history"), "replacement_history"):
            said = (
                text_of(item.get("content"))
                if isinstance(item, dict) and item.get("role") in ("user", "assistant", "developer")
                else ""
            )
            if not said or said in known or (text and text in said):
                self.ignored["compacted/history that is known"] += 1
                continue
            self._say(mapping(item, "item"), time, "copied")

    def _item(self, item: dict[str, Any], time: str | None, origin: Origin) -> None:
        kind = string(item.get("type")) or ("message" if "role" in item else "")
        if kind == "message":
            self._say(item, time, origin)
        elif kind == "reasoning":
            self._think(item, time, origin)
        elif kind in _CALLS:
            self._act(self._call(kind, item), time, origin)
            if item.get("result"):
                self._answer(Message(role="tool", content="[image]", tool_call_id=self._open.pop()), time, origin)
        elif kind in _RESULTS:
            self._answer(self._result(kind, item), time, origin)
        elif kind == "agent_message":
            given: Origin = "copied" if origin == "copied" else "subagent"
            name = string(item.get("author"))
            self._answer(Message(role="user", content=text_of(item.get("content")), name=name), time, given)
        else:
            self.ignored[f"response_item/{kind}"] += 1

    def _say(self, item: dict[str, Any], time: str | None, origin: Origin) -> None:
        role = item["role"]
        if role == "assistant":
            self._act(text_of(item.get("content")), time, origin)
            return
        self._joined = False
        parts = item.get("content") if isinstance(item.get("content"), list) else [item.get("content")]
        texts: list[tuple[str, bool]] = []
        for part in parts or []:
            text = text_of(part)
            texts += [(text, False)] if role != "user" else _pieces(text)
        for injected in (True, False):
            text = "\n".join(t for t, harness in texts if harness is injected and t)
            if text:
                kept: Origin = "injected" if injected and origin == "main" else origin
                self.messages.append(
                    Message(role="user" if role == "user" else "system", content=text, timestamp=time, origin=kept)
                )

    def _think(self, item: dict[str, Any], time: str | None, origin: Origin) -> None:
        full = text_of(item.get("content"))
        text = full or text_of(item.get("summary"))
        if origin != "copied":
            self.kinds.add("raw" if full else "summarised" if text else "encrypted")
        last = self.messages[-1] if self._joined and self.messages else None
        if last is not None and not last.content and not last.tool_calls:
            self.messages[-1] = last.model_copy(update={"reasoning": "\n".join(t for t in (last.reasoning, text) if t) or None})
        else:
            self.messages.append(Message(role="assistant", reasoning=text or None, timestamp=time, origin=origin))
        self._joined = True

    def _act(self, said: str | ToolCall, time: str | None, origin: Origin) -> None:
        """Text or a call: part of the assistant message before it, as long as that has room and nothing came between."""
        last = self.messages[-1] if self._joined and self.messages else None
        if last is None or (isinstance(said, str) and (last.content or last.tool_calls)):
            last = Message(role="assistant", timestamp=time, origin=origin)
            self.messages.append(last)
        update = {"content": said} if isinstance(said, str) else {"tool_calls": (*last.tool_calls, said)}
        self.messages[-1] = last.model_copy(update=update)
        self._joined = True

    def _answer(self, message: Message, time: str | None, origin: Origin) -> None:
        self._joined = False
        self.messages.append(message.model_copy(update={"timestamp": time, "origin": origin}))

    def _call(self, kind: str, item: dict[str, Any]) -> ToolCall:
        inner = item["function"] if isinstance(item.get("function"), dict) else item
        name = string(inner.get("name")) or kind.removesuffix("_call")
        space = string(item.get("namespace"))
        given = next((inner[k] for k in ("arguments", "input", "action") if k in inner), item.get("arguments"))
        if kind == "image_generation_call":
            given = {"prompt": item.get("revised_prompt")}
        call_id = string(item.get("call_id")) or string(item.get("id")) or f"call-{len(self.messages)}-{len(self._open)}"
        self._open.append(call_id)
        return ToolCall(id=call_id, name=f"{space}.{name}" if space else name, arguments=arguments_of(given))

    def _result(self, kind: str, item: dict[str, Any]) -> Message:
        output = next((item[key] for key in ("output", "result", "tools") if key in item), None)
        call_id = string(item.get("call_id")) or (self._open[0] if self._open else None)
        if call_id in self._open:
            self._open.remove(call_id)
        text, code, failed = _output(output)
        return Message(
            role="tool", content=text, tool_call_id=call_id, name=string(item.get("name")), exit_code=code, is_error=failed
        )

    def transcript(self, context: Context) -> Transcript:
        """The thread as it stands after its last record."""
        messages = tuple(
            self._with_outcome(m) for m in self.messages if m.content or m.reasoning or m.tool_calls or m.role == "tool"
        )
        if not messages:
            raise ShapeError("no messages, only the records of a session that never began")
        meta = self.meta or {}
        name = unique_id(meta.get("id"))
        facts = {key: one_or_all(values) for key, values in self.facts.items()}
        counts = Counter(self.models)
        if len(counts) > 1:
            facts["models"] = dict(counts)
        if not name:
            facts["session_id"] = string(meta.get("id"))
        order: tuple[ReasoningKind, ...] = ("raw", "summarised", "encrypted")
        transcript = Transcript(
            id=name or "",
            model=counts.most_common(1)[0][0] if counts else None,
            reasoning_kind=next((kind for kind in order if kind in self.kinds), None),
            ended=self.ended,
            messages=messages,
            metadata={k: v for k, v in facts.items() if v is not None},
            ignored=dict(self.ignored),
            format=READER.name,
            reader_version=READER.version,
            source=context.source,
        )
        return transcript if transcript.id else transcript.model_copy(update={"id": content_hash(transcript)})

    def _with_outcome(self, message: Message) -> Message:
        code, failed = self.outcomes.get(message.tool_call_id or "", (None, None))
        if message.role != "tool" or (code is None and failed is None):
            return message
        return message.model_copy(
            update={
                "exit_code": code if message.exit_code is None else message.exit_code,
                "is_error": failed if message.is_error is None else message.is_error,
            }
        )


def _pieces(text: str) -> list[tuple[str, bool]]:
    """A user turn's part as (text, injected)."""
    if text.startswith(_AGENTS_MD):
        return [(text, True)]
    if text.startswith(_IDE[0]) and _IDE[1] in text:
        setup, _, request = text.partition(_IDE[1])
        return [(setup.strip(), True), (request.strip(), False)]
    return list(split(text, _TAGS))


def _output(value: Any) -> tuple[str, int | None, bool | None]:
    """Text, exit code and failure of a tool's output in any of the shapes that Codex has written."""
    if isinstance(value, str) and value.startswith('{"output":'):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return value, None, None
    if isinstance(value, dict):
        inner = value.get("metadata") if isinstance(value.get("metadata"), dict) else value
        code = next((integer(inner[key]) for key in ("exit_code", "exitCode") if key in inner), None)
        success = value.get("success")
        text = "\n".join(
            str(value[key]).rstrip("\n")
            for key in ("output", "stdout", "stderr")
            if isinstance(value.get(key), str) and value[key]
        )
        text = text or text_of(value if value.get("type") else value.get("content"))
        return text, code if code is not None else _code(text), not success if isinstance(success, bool) else None
    try:
        text = text_of(value)
    except ShapeError:
        text = orjson.dumps(value).decode()
    return text, _code(text), None


def _code(text: str) -> int | None:
    """The exit code in the lines that Codex itself writes above `Output:`."""
    head, found, _ = text[:600].partition("\nOutput:")
    for line in head.split("\n") if found else []:
        for mark in _EXIT:
            if line.startswith(mark) and line[len(mark) :].lstrip("-").isdigit():
                return int(line[len(mark) :])
    return None


READER = Reader("codex", "Codex rollouts (JSON Lines)", 1, "session", sniff, read)
