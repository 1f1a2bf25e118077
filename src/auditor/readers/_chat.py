"""OpenAI chat messages, their tool calls, and logs of single calls: what several formats embed."""

from __future__ import annotations

from typing import Any

from auditor.errors import ShapeError
from auditor.readers.base import Context, arguments_of, integer, listing, mapping, string, text_of, whole_number
from auditor.transcript import Ended, Message, Role, ToolCall, Transcript, content_hash

ROLES: dict[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "human": "user",
    "assistant": "assistant", "tool": "tool", "function": "tool",
}  # fmt: skip

_EXIT = ("[The command completed with exit code ", "[Command finished with exit code ")


_LOGGED = ("cost", "latency_sec", "context_window", "profile_name", "gateway_model", "timestamp")


def is_call(value: dict[str, Any]) -> bool:
    """Whether a record is the log of one call: the messages that were sent, and a response with choices."""
    response = value.get("response")
    sent = isinstance(value.get("messages"), list) and "custom_id" not in value
    return sent and isinstance(response, dict) and isinstance(response.get("choices"), list)


def called(record: dict[str, Any], context: Context, name: str, version: int) -> Transcript:
    """The log of one call as a transcript: the chat before it, then the reply.

    Where the log keeps `raw_messages`, those are the chat as it was before calls were written out as text.
    """
    response = mapping(record.get("response"), "response")
    choices = [mapping(choice, "choice") for choice in listing(response.get("choices"), "choices")]
    given = listing(record.get("raw_messages") or record.get("messages"), "messages")
    messages = [message(m) for m in given] + [message(choice["message"]) for choice in choices[:1]]
    if not messages:
        raise ShapeError("no messages")
    reason = choices[0].get("finish_reason") if choices else None
    last = messages[-1]
    # A log that ends in a tool call says nothing of the run's end: the next call is in another log.
    ended: Ended | None = "submitted" if last.submits else "final report" if reason == "stop" and not last.tool_calls else None
    facts = {"log_id": response.get("id"), "finish_reason": reason, **{key: record.get(key) for key in _LOGGED}}
    transcript = Transcript(
        id="",
        model=string(record.get("backing_model")) or string(response.get("model")) or string(record.get("model")),
        ended=ended,
        messages=tuple(messages),
        metadata={key: fact for key, fact in facts.items() if fact is not None},
        format=name,
        reader_version=version,
        source=context.source,
    )
    return transcript.model_copy(update={"id": content_hash(transcript)})


def message(value: Any) -> Message:
    """One chat message."""
    m = mapping(value, "message")
    role = ROLES.get(str(m.get("role")))
    if role is None:
        raise ShapeError(f"unknown role {m.get('role')!r}")
    calls = [call(c) for c in listing(m.get("tool_calls"), "tool_calls")]
    if isinstance(m.get("function_call"), dict):
        calls.append(call(m["function_call"]))
    reasoning = m.get("reasoning_content") or m.get("reasoning") or m.get("thinking")
    content = text_of(m.get("content")) or text_of(m.get("refusal"))
    code = integer(m.get("exit_code"))
    return Message(
        role=role,
        content=content,
        reasoning=text_of(reasoning) or None,
        tool_calls=tuple(calls),
        tool_call_id=string(m.get("tool_call_id")),
        name=string(m.get("name")),
        exit_code=_exit(content) if code is None and role == "tool" else code,
        is_error=m["is_error"] if isinstance(m.get("is_error"), bool) else None,
        timestamp=string(m.get("timestamp")),
    )


def _exit(content: str) -> int | None:
    """The exit code in the lines in brackets that OpenHands' terminal puts below a tool's output."""
    for line in reversed(content[-2000:].rstrip().split("\n")[-5:]):
        for mark in _EXIT:
            if line.startswith(mark):
                return whole_number(line[len(mark) :].rstrip("]."))
        if not line.startswith("["):
            return None
    return None


def call(value: Any) -> ToolCall:
    """One tool call, nested under `function` (or `custom`) as the API has it, or flat."""
    c = mapping(value, "tool call")
    inner = next((c[key] for key in ("function", "custom") if isinstance(c.get(key), dict)), c)
    given = inner.get("arguments", inner.get("input"))
    return ToolCall(id=string(c.get("id")), name=string(inner.get("name")) or "?", arguments=arguments_of(given))
