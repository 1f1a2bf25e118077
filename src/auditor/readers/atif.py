"""ATIF, the trajectories of Harbor (v1.0 to 1.8). Task and reward are in the trial's `result.json`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from auditor.errors import ShapeError
from auditor.readers.base import Context, Head, Reader, arguments_of, integer, listing, mapping, number, string, text_of
from auditor.transcript import Message, Origin, ToolCall, Transcript, content_hash

_SOURCES = {"system", "user", "agent", "assistant", "environment", "tool"}
_EXIT_MARKS = ("[The command completed with exit code ", "[Command finished with exit code ")


def sniff(head: Head) -> bool:
    """One object with `steps`, and either a schema version of ATIF or an agent and a session."""
    if head.container != "document" or not head.objects:
        return False
    value = head.objects[0]
    named = str(value.get("schema_version", "")).startswith("ATIF")
    return named or ("agent" in value and "session_id" in value and ("steps" in value or len(value) < 5))


def companion(head: Head) -> bool:
    """A trial's result, read beside its trajectory."""
    return head.container == "document" and any({"trial_name", "task_name"} <= set(value) for value in head.objects)


def read(value: Any, context: Context) -> Iterator[Transcript]:
    """One trajectory. `steps: []` is a trial that never began, and no episode."""
    record = mapping(value, "trajectory")
    agent = mapping(record.get("agent") or {}, "agent")
    result = _result(context)
    messages: list[Message] = []
    for number_, step in enumerate(listing(record.get("steps"), "steps")):
        messages.extend(_step(mapping(step, "step"), number_))
    if not messages:
        raise ShapeError("a trajectory without steps")
    reward = mapping(mapping(result.get("verifier_result") or {}, "verifier_result").get("rewards") or {}, "rewards").get(
        "reward"
    )
    told = mapping(mapping(result.get("config") or {}, "config").get("metadata") or {}, "config.metadata")
    session = string(record.get("session_id"))
    trial = string(result.get("trial_name"))
    models = [string(s.get("model_name")) for s in record.get("steps") or [] if isinstance(s, dict)]
    part = string(mapping(agent.get("extra") or {}, "agent.extra").get("continuation_index"))
    transcript = Transcript(
        id=":".join(p for p in (session, part) if p) if session and len(session) >= 16 else "",
        model=string(agent.get("model_name")) or next((m for m in models if m), None),
        task=string(result.get("task_name")),
        environment=string(result.get("source")),
        checkpoint=string(told.get("checkpoint")),
        elicitation=told.get("elicitation"),
        score=number(reward),
        passed=None if number(reward) is None else number(reward) == 1.0,
        ended="cut off" if result.get("exception_info") else None,
        messages=tuple(messages),
        metadata={
            key: found
            for key, found in {
                "session_id": session, "trial_name": trial, "agent": string(agent.get("name")),
                "agent_version": string(agent.get("version")), "schema_version": string(record.get("schema_version")),
                "continued_in": string(record.get("continued_trajectory_ref")), "notes": string(record.get("notes")),
            }.items()
            if found is not None
        },
        format=READER.name,
        reader_version=READER.version,
        source=context.source,
    )  # fmt: skip
    yield transcript if transcript.id else transcript.model_copy(update={"id": content_hash(transcript)})


def _result(context: Context) -> dict[str, Any]:
    """The trial's result.json, beside the trajectory or one folder up; {} where there is none."""
    for relative in ("../result.json", "result.json"):
        found = context.beside(relative)
        if isinstance(found, dict) and "task_name" in found:
            return found
    return {}


def _step(step: dict[str, Any], index: int) -> Iterator[Message]:
    """A step as a message and the results of its calls. A result without a call id belongs to the only call, or to none."""
    source = string(step.get("source")) or string(step.get("role"))
    if source not in _SOURCES:
        raise ShapeError(f"step {step.get('step_id')}: unknown source {source!r}")
    origin: Origin = "copied" if step.get("is_copied_context") else "main"
    time = string(step.get("timestamp"))
    text = text_of(step.get("message", step.get("content")))
    if source not in ("agent", "assistant"):
        role = {"environment": "tool", "tool": "tool", "system": "system"}.get(source, "user")
        yield Message.model_validate({"role": role, "content": text, "timestamp": time, "origin": origin})
        yield from _results(step, [], time, origin)
        return
    calls = [
        _call(mapping(c, "tool call"), f"step_{index}_{i}") for i, c in enumerate(listing(step.get("tool_calls"), "tool_calls"))
    ]
    if not calls:
        calls = _spoken(text, f"step_{index}")
    reasoning = text_of(step.get("reasoning_content")) or None
    yield Message(role="assistant", content=text, reasoning=reasoning, tool_calls=tuple(calls), timestamp=time, origin=origin)
    yield from _results(step, calls, time, origin)


def _results(step: dict[str, Any], calls: list[ToolCall], time: str | None, origin: Origin) -> Iterator[Message]:
    observation = mapping(step.get("observation") or {}, "observation")
    results = listing(observation.get("results"), "observation.results")
    for i, given in enumerate(results):
        found = mapping(given, "result")
        content = text_of(found.get("content"))
        by_place = calls[i].id if i < len(calls) and len(results) == len(calls) else calls[0].id if len(calls) == 1 else None
        call_id = string(found.get("source_call_id")) or by_place
        yield Message(role="tool", content=content, tool_call_id=call_id, exit_code=_exit(content), timestamp=time, origin=origin)


def _call(call: dict[str, Any], fallback: str) -> ToolCall:
    name = string(call.get("function_name")) or string(call.get("name")) or "?"
    return ToolCall(id=string(call.get("tool_call_id")) or fallback, name=name, arguments=arguments_of(call.get("arguments")))


def _spoken(text: str, fallback: str) -> list[ToolCall]:
    """Commands that an agent without function calling writes into its message: Terminus's JSON, OpenHands' tags."""
    if text.lstrip().startswith("{") and '"commands"' in text:
        try:
            plan = orjson.loads(text)
        except orjson.JSONDecodeError:
            return []
        keys = [string(c.get("keystrokes")) for c in listing(plan.get("commands"), "commands") if isinstance(c, dict)]
        found = "".join(k for k in keys if k)
        return [ToolCall(id=fallback, name="terminal", arguments={"command": found})] if found else []
    start = text.find("<function=")
    if start < 0 or ">" not in text[start:]:
        return []
    name = text[start + 10 : text.index(">", start)]
    parts = text[start:].split("<parameter=")[1:]
    arguments = {p.partition(">")[0]: p.partition(">")[2].partition("</parameter>")[0].strip("\n") for p in parts}
    return [ToolCall(id=fallback, name=name, arguments={**arguments})]


def _exit(content: str) -> int | None:
    for mark in _EXIT_MARKS:
        at = content.rfind(mark)
        if at >= 0:
            digits = content[at + len(mark) :].split("]", 1)[0].rstrip(".")
            return int(digits) if digits.lstrip("-").isdigit() else integer(None)
    return None


READER = Reader(
    "atif", "Harbor trajectories (ATIF 1.0 to 1.8) with their result.json", 1, "record", sniff, read, companion=companion
)
