"""Steps of ATIF as messages: calls paired with their results, calls written into text, subagents; see `atif.py` for the file around them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from pydantic import JsonValue

from auditor.errors import ShapeError
from auditor.readers._chat import ROLES, message
from auditor.readers._harness import split
from auditor.readers.base import arguments_of, integer, listing, mapping, string, text_of, whole_number
from auditor.transcript import Message, Origin, Role, ToolCall, is_submission

_SOURCES: dict[str, Role] = {**ROLES, "agent": "assistant", "environment": "tool"}
_TAGS = ("system-reminder", "environment_context", "user_instructions")
# What Harbor's converter of Claude Code puts below the result of a tool that failed.
_FAILED = "[error] tool reported failure"


class Steps:
    """Makes messages of steps; `elsewhere` names the trajectories of subagents that are files of their own."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.elsewhere: list[JsonValue] = []
        self._inside: dict[str, dict[str, Any]] = {}
        self._begun = False
        self._know(record)

    def all(self, record: dict[str, Any], key: str = "", origin: Origin = "main") -> Iterator[Message]:
        """The messages of a trajectory's steps."""
        for i, value in enumerate(listing(record.get("steps"), "steps")):
            yield from self._step(mapping(value, "step"), f"{key}step_{i}", origin)

    def unnamed(self) -> Iterator[Message]:
        """The subagents inside the file that no step names."""
        while self._inside:
            yield from self._subagent(next(iter(self._inside)))

    def _know(self, record: dict[str, Any]) -> None:
        for i, value in enumerate(listing(record.get("subagent_trajectories"), "subagent_trajectories")):
            sub = mapping(value, "subagent trajectory")
            name = string(sub.get("trajectory_id")) or string(sub.get("session_id")) or f"subagent_{i}"
            self._inside[name if name not in self._inside else f"{name}_{i}"] = sub

    def _subagent(self, name: str) -> Iterator[Message]:
        inner = self._inside.pop(name)
        self._know(inner)
        who = string(mapping(inner.get("agent") or {}, "agent").get("name"))
        for made in self.all(inner, f"{name}_", "subagent"):
            yield made.model_copy(update={"name": who}) if made.role == "assistant" and made.name is None else made

    def _step(self, step: dict[str, Any], key: str, whose: Origin) -> Iterator[Message]:
        """One step: what was said, the results of its calls, and what subagents did for it."""
        source = string(step.get("source")) or string(step.get("role")) or "?"
        role = _SOURCES.get(source)
        if role is None:
            raise ShapeError(f"step {step.get('step_id')}: unknown source {source!r}")
        origin: Origin = "copied" if step.get("is_copied_context") else whose
        time = string(step.get("timestamp"))
        text = text_of(step.get("message", step.get("content")))
        calls: tuple[ToolCall, ...] = ()
        if role == "assistant":
            text, calls = _said(text, listing(step.get("tool_calls"), "tool_calls"), key)
            thought = text_of(step.get("reasoning_content")) or None
            # A step without a call of the model is the harness's own.
            by: Origin = "injected" if origin == "main" and step.get("llm_call_count") == 0 else origin
            yield Message(role=role, content=text, reasoning=thought, tool_calls=calls, timestamp=time, origin=by)
        elif role == "tool":
            call_id = string(step.get("tool_call_id"))
            yield Message(role=role, content=text, tool_call_id=call_id, timestamp=time, origin=origin)
        elif text:
            # Once the run has begun, a system step is a notice of the harness.
            notice = role == "system" and self._begun
            for part, ours in split(text, _TAGS) if role == "user" else [(text, notice)]:
                by = "injected" if ours and origin == "main" else origin
                yield Message(role=role, content=part, timestamp=time, origin=by)
        self._begun = self._begun or role != "system"
        yield from self._results(step, calls, time, origin)

    def _results(self, step: dict[str, Any], calls: tuple[ToolCall, ...], time: str | None, origin: Origin) -> Iterator[Message]:
        given = listing(mapping(step.get("observation") or {}, "observation").get("results"), "observation.results")
        results = [mapping(found, "result") for found in given]
        ids = _paired([string(found.get("source_call_id")) for found in results], calls)
        # Fields of the step speak of its result where there is only one.
        shared = mapping(step.get("extra") or {}, "step.extra") if len(results) == 1 else {}
        for found, call_id in zip(results, ids, strict=True):
            content = text_of(found.get("content"))
            if content or call_id:
                made = message({"role": "tool", "content": content, "tool_call_id": call_id, "timestamp": time})
                told = _outcome(made, {**shared, **mapping(found.get("extra") or {}, "result.extra")})
                yield made.model_copy(update={"origin": origin, **told})
            for value in listing(found.get("subagent_trajectory_ref"), "subagent_trajectory_ref"):
                ref = mapping(value, "subagent_trajectory_ref")
                names = [string(ref.get(name)) for name in ("trajectory_id", "session_id", "trajectory_path")]
                inside = next((name for name in names if name in self._inside), None)
                if inside is not None:
                    yield from self._subagent(inside)
                else:
                    self.elsewhere.append(names[2] or names[0] or names[1])


def _paired(given: list[str | None], calls: tuple[ToolCall, ...]) -> list[str | None]:
    """A call for each result. Results without a call's id go in order; one for a whole batch goes to its last command."""
    free = [call for call in calls if call.id not in given]
    without = given.count(None)
    if without == 1 and len(free) > 1:
        free = [call for call in free if not is_submission(call)][-1:] or free[-1:]
    left = iter(free if without == len(free) else ())
    return [call_id or next((call.id for call in left), None) for call_id in given]


def _outcome(result: Message, extra: dict[str, Any]) -> dict[str, Any]:
    """Exit code and failure, from the fields and the first and last lines of Harbor's converters."""
    told = extra["tool_metadata"] if isinstance(extra.get("tool_metadata"), dict) else extra
    code = next((integer(told[key]) for key in ("exit_code", "return_code", "returncode") if key in told), None)
    flags = (extra.get("is_error"), extra.get("tool_result_is_error"))
    failed = next((flag for flag in flags if isinstance(flag, bool)), None)
    if result.content.rstrip().endswith(_FAILED):
        failed = True
    first = result.content.split("\n", 1)[0]
    if code is None and failed and first.startswith("Exit code "):
        code = whole_number(first.removeprefix("Exit code "))
    return {"exit_code": result.exit_code if code is None else code, "is_error": failed}


def _said(text: str, given: list[Any], key: str) -> tuple[str, tuple[ToolCall, ...]]:
    """What an agent said, and its calls: its own, or those that it wrote into its text."""
    if not given:
        return _terminus(text, key) or _tags(text, key) or (text, ())
    calls: list[ToolCall] = []
    for i, c in enumerate(mapping(value, "tool call") for value in given):
        name, call_id = string(c.get("function_name")) or string(c.get("name")) or "?", string(c.get("tool_call_id"))
        calls.append(ToolCall(id=call_id or f"{key}_{i}", name=name, arguments=arguments_of(c.get("arguments"))))
        # Harbor's converter of Claude Code writes this where the model said nothing.
        text = "" if text == f"Executed {name} {call_id}" else text
    return text, tuple(calls)


def _terminus(text: str, key: str) -> tuple[str, tuple[ToolCall, ...]] | None:
    """Terminus's JSON: analysis, plan, commands as keystrokes for a terminal, and whether the task is done."""
    try:
        plan = orjson.loads(text) if text.lstrip().startswith("{") else None
    except orjson.JSONDecodeError:
        return None
    if not isinstance(plan, dict) or not isinstance(plan.get("commands"), list):
        return None
    keys = "".join(string(c.get("keystrokes")) or "" for c in plan["commands"] if isinstance(c, dict))
    calls = [ToolCall(id=f"{key}_0", name="terminal", arguments={"command": keys})] if keys else []
    if plan.get("task_complete") is True:
        calls.append(ToolCall(id=f"{key}_1", name="mark_task_complete"))
    said = {name: value for name, value in plan.items() if value and name not in ("commands", "task_complete")}
    words = (f"{name}: {value if isinstance(value, str) else orjson.dumps(value).decode()}" for name, value in said.items())
    return "\n".join(words), tuple(calls)


def _tags(text: str, key: str) -> tuple[str, tuple[ToolCall, ...]] | None:
    """The tags that OpenHands has a model write that cannot call functions: they end its turn."""
    before, found, after = text.rstrip().removesuffix("</function>").partition("<function=")
    name, closed, body = after.partition(">")
    if not found or not closed or not text.rstrip().endswith("</function>"):
        return None
    parts = [part.partition(">") for part in body.split("<parameter=")[1:]]
    given: dict[str, JsonValue] = {what: said.partition("</parameter>")[0].strip("\n") for what, _, said in parts}
    return before.strip(), (ToolCall(id=f"{key}_0", name=name, arguments=given),)
