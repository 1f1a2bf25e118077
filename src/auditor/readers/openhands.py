"""OpenHands SDK conversations: `events.jsonl`, or a folder of one event a file with `base_state.json` above it.

Parallel calls share `llm_response_id` and are one message. A condenser's summary is the model's word to its later
self: an assistant message named `compaction`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from pydantic import JsonValue

from auditor.errors import ShapeError
from auditor.readers._chat import call as _call
from auditor.readers.base import (
    Context,
    Head,
    Reader,
    Record,
    aside,
    integer,
    listing,
    mapping,
    string,
    text_of,
    unique_id,
)
from auditor.transcript import Ended, Message, Origin, ReasoningKind, ToolCall, Transcript, content_hash

_BODIES = {"system_prompt", "llm_message", "thought", "observation", "action"}
_SOURCES = ("agent", "user", "environment", "hook")
_BUDGET = ("MaxIterationsReached", "BudgetExceeded")


def sniff(head: Head) -> bool:
    """Events: a `kind` with an id, a time and one of the SDK's sources. Kinds are not listed, as each release adds some."""
    return head.container in ("lines", "document") and any(_event(value) for value in head.objects[:5])


def _event(value: dict[str, Any]) -> bool:
    if value.get("source") not in _SOURCES or not {"id", "timestamp"} <= set(value):
        return False
    # `kind` comes last: a long first event is cut before it.
    return isinstance(value.get("kind"), str) or bool(_BODIES & set(value))


def companion(head: Head) -> bool:
    """`base_state.json`: the state of a conversation, without its events."""
    return head.container in ("lines", "document") and len(head.values) == 1 and any(_state(value) for value in head.objects)


def _state(value: dict[str, Any]) -> bool:
    agent = value.get("agent")
    return (
        isinstance(agent, dict) and isinstance(agent.get("llm"), dict) and "id" in value and not {"kind", "messages"} & set(value)
    )


def group(head: Head) -> bool:
    """A file that holds a single event is a part of its folder's conversation."""
    # An event of one long line looks like the first of many; then only the name tells.
    return head.container == "document" or (len(head.values) == 1 and head.path.endswith(".json"))


def read(records: Iterable[Record], context: Context) -> Iterator[Transcript]:
    """One conversation, all or a part of its events."""
    conversation = _Conversation()
    for record in records:
        with aside(context, record, "event"):
            conversation.take(mapping(record.value, "an event"))
    state = next((s for s in map(context.beside, ("../base_state.json", "base_state.json")) if isinstance(s, dict)), {})
    yield conversation.transcript(state if _state(state) else {}, context)


class _Conversation:
    """The events so far."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.ignored: Counter[str] = Counter()
        self.models: list[str] = []
        self.first: str | None = None
        self.ended: Ended | None = None
        self.kinds: set[ReasoningKind] = set()
        self._replies: dict[str, int] = {}

    def take(self, event: dict[str, Any]) -> None:
        """Take one event."""
        kind = string(event.get("kind")) or "event without a kind"
        time = string(event.get("timestamp"))
        self.first = self.first or unique_id(event.get("id"))
        if "system_prompt" in event:
            for part in (event.get("system_prompt"), event.get("dynamic_context")):
                self._put(Message(role="system", content=text_of(part), timestamp=time))
        elif kind == "MessageEvent":
            self._message(event, time)
        elif kind == "ActionEvent":
            self._action(event, time)
        elif kind == "ObservationEvent":
            self.messages.append(_observation(event, time))
        elif kind in ("AgentErrorEvent", "UserRejectObservation"):
            text = text_of(event.get("error") or event.get("rejection_reason"))
            call_id, tool = string(event.get("tool_call_id")), string(event.get("tool_name"))
            self.messages.append(
                Message(role="tool", content=text, tool_call_id=call_id, name=tool, is_error=True, timestamp=time)
            )
        elif kind in ("Condensation", "CondensationSummaryEvent") and event.get("summary"):
            # Not `main`: it is written for a later self, and must not count as the report to the user.
            text = text_of(event["summary"])
            self._put(Message(role="assistant", content=text, name="compaction", timestamp=time, origin="subagent"))
        else:
            self._other(kind, event)

    def _put(self, message: Message) -> None:
        if message.content or message.reasoning or message.tool_calls:
            self._replies.clear()
            self.messages.append(message)

    def _message(self, event: dict[str, Any], time: str | None) -> None:
        given = mapping(event.get("llm_message"), "llm_message")
        role = given["role"]
        text, thought = _thinking(text_of(given.get("content")))
        if role == "assistant":
            reasoning = self._reasoning(given, thought)
            calls = tuple(_call(c) for c in listing(given.get("tool_calls"), "tool_calls"))
            self._put(Message(role="assistant", content=text, reasoning=reasoning, tool_calls=calls, timestamp=time))
            return
        if role not in ("user", "system"):
            raise ShapeError(f"unknown role {role!r} in a MessageEvent")
        origin: Origin = "main" if event.get("source") in ("user", "agent", None) else "injected"
        self._put(
            Message(
                role=role, content=text_of(given.get("content")), name=string(event.get("sender")), timestamp=time, origin=origin
            )
        )
        extra = text_of(event.get("extended_content"))
        self._put(Message(role="user", content=extra, timestamp=time, origin="injected"))

    def _action(self, event: dict[str, Any], time: str | None) -> None:
        text, thought = _thinking(text_of(event.get("thought")))
        reasoning = self._reasoning(event, thought)
        call = event.get("tool_call")
        name, call_id = string(event.get("tool_name")), string(event.get("tool_call_id"))
        if isinstance(call, dict):
            made = _call({"id": call_id, "name": name, **call})
        else:
            action = event["action"] if isinstance(event.get("action"), dict) else {}
            made = ToolCall(id=call_id, name=name or "?", arguments={k: v for k, v in action.items() if k != "kind"})
        reply = string(event.get("llm_response_id"))
        at = self._replies.get(reply or "")
        if at is None:
            if reply:
                self._replies[reply] = len(self.messages)
            self.messages.append(Message(role="assistant", content=text, reasoning=reasoning, tool_calls=(made,), timestamp=time))
            return
        first = self.messages[at]
        self.messages[at] = first.model_copy(
            update={
                "content": "\n".join(t for t in (first.content, text) if t),
                "reasoning": "\n".join(r for r in (first.reasoning, reasoning) if r) or None,
                "tool_calls": (*first.tool_calls, made),
            }
        )

    def _reasoning(self, given: dict[str, Any], inline: str) -> str | None:
        """Reasoning from whichever of its homes has it; `<think>` in the text repeats it with some models."""
        content = text_of(given.get("reasoning_content"))
        blocks = [mapping(b, "thinking block") for b in listing(given.get("thinking_blocks"), "thinking_blocks")]
        thinking = "\n".join(text_of(b.get("thinking")) for b in blocks if b.get("thinking"))
        item = given["responses_reasoning_item"] if isinstance(given.get("responses_reasoning_item"), dict) else {}
        full, summary = text_of(item.get("content")), text_of(item.get("summary"))
        found = content or thinking or full or summary
        if inline.strip() and inline.strip() not in found:
            found = f"{found}\n{inline}" if found else inline
        signed = any(b.get("signature") and b.get("thinking") for b in blocks)
        if found:
            self.kinds.add("summarised" if signed or (summary and not full) else "raw")
        elif blocks or item.get("encrypted_content"):
            self.kinds.add("encrypted")
        return found or None

    def _other(self, kind: str, event: dict[str, Any]) -> None:
        self.ignored[kind] += 1
        key, value = event.get("key"), event.get("value")
        if kind == "ConversationErrorEvent":
            self.ended = "budget" if str(event.get("code")).startswith(_BUDGET) else "cut off"
        elif kind == "ConversationStateUpdateEvent" and key == "stats" and isinstance(value, dict):
            self.models += _models(value)
        elif kind == "ConversationStateUpdateEvent" and key == "full_state" and isinstance(value, dict):
            self.models += [m for m in [_configured(value)] if m] + _models(value.get("stats"))

    def transcript(self, state: dict[str, Any], context: Context) -> Transcript:
        """The conversation, named and completed by the state beside it."""
        if not self.messages:
            raise ShapeError("no messages, only events of the machinery")
        name = unique_id(state.get("id")) or self.first
        workspace = state["workspace"] if isinstance(state.get("workspace"), dict) else {}
        facts: dict[str, JsonValue] = {"cwd": workspace.get("working_dir"), "execution_status": state.get("execution_status")}
        models = list(dict.fromkeys(m for m in (_configured(state), *self.models) if m))
        if len(models) > 1:
            facts["models"] = list(models)
        order: tuple[ReasoningKind, ...] = ("raw", "summarised", "encrypted")
        transcript = Transcript(
            id=name or "",
            model=models[0] if models else None,
            reasoning_kind=next((kind for kind in order if kind in self.kinds), None),
            ended=self.ended or _ended(self.messages),
            messages=tuple(self.messages),
            metadata={key: fact for key, fact in facts.items() if fact is not None},
            ignored=dict(self.ignored),
            format=READER.name,
            reader_version=READER.version,
            source=context.source,
        )
        return transcript if transcript.id else transcript.model_copy(update={"id": content_hash(transcript)})


def _configured(state: dict[str, Any]) -> str | None:
    agent = state.get("agent")
    llm = agent.get("llm") if isinstance(agent, dict) else None
    return string(llm.get("model")) if isinstance(llm, dict) else None


def _models(stats: Any) -> list[str]:
    """The models that answered; the condenser's is none of them."""
    metrics = stats.get("usage_to_metrics") if isinstance(stats, dict) else None
    found = (
        [m.get("model_name") for key, m in metrics.items() if key != "condenser" and isinstance(m, dict)]
        if isinstance(metrics, dict)
        else []
    )
    return [name for name in found if isinstance(name, str) and name]


def _thinking(text: str) -> tuple[str, str]:
    """Text without a `<think>` block at its beginning, and that block's inside."""
    if not text.lstrip().startswith("<think>"):
        return text, ""
    inside, closed, rest = text.lstrip().removeprefix("<think>").partition("</think>")
    return (rest.strip(), inside.strip()) if closed else ("", inside.strip())


def _observation(event: dict[str, Any], time: str | None) -> Message:
    given = mapping(event.get("observation"), "observation")
    meta = given["metadata"] if isinstance(given.get("metadata"), dict) else {}
    content = given.get("content") if given.get("content") is not None else given.get("output")
    text = text_of(content)
    if content is None:
        text = orjson.dumps({k: v for k, v in given.items() if k != "kind"}).decode()
    code = integer(given.get("exit_code"))
    code = integer(meta.get("exit_code")) if code is None else code
    failed = given.get("is_error")
    return Message(
        role="tool",
        content=f"{meta.get('prefix') or ''}{text}{meta.get('suffix') or ''}",
        tool_call_id=string(event.get("tool_call_id")),
        name=string(event.get("tool_name")),
        # -1 stands for a command that never ran or never ended.
        exit_code=None if code == -1 else code,
        is_error=failed if isinstance(failed, bool) else None,
        timestamp=time,
    )


def _ended(messages: list[Message]) -> Ended | None:
    for m in reversed(messages):
        if m.origin != "main" or (m.role == "tool" and m.name == "finish"):
            continue
        if m.submits:
            return "submitted"
        if m.role == "tool" or m.tool_calls:
            return "cut off"
        return "final report" if m.role == "assistant" and m.content.strip() else None
    return None


# Ids that bind events, frames of text, tools offered, and `action`, which repeats the arguments of `tool_call`.
_IGNORES = (
    "id", "timestamp", "source", "kind", "action.*", "action_id", "activated_skills[]", "forgotten_event_ids[]", "llm_response_id",
    "security_risk", "summary", "tool_name", "tool_call_id", "tool_call.origin", "tools[].*", "thought[].type", "extended_content[].type",
    "system_prompt.type", "system_prompt.cache_prompt", "llm_message.content[].type", "observation.kind", "observation.content[].type",
    "observation.metadata.exit_code", "value.usage_to_metrics.condenser.*",
)  # fmt: skip

READER = Reader(
    name="openhands",
    title="OpenHands SDK events (JSON Lines, a folder of event files)",
    version=1,
    kind="session",
    sniff=sniff,
    read=read,
    companion=companion,
    group=group,
    ignores=_IGNORES,
)
