"""ATIF, the trajectories of Harbor (v1.0 to 1.8). Task and reward are in the trial's `result.json`.

Copied context is kept and flagged; a subagent's own trajectory inside the file stands behind the step that names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import orjson
from pydantic import JsonValue

from auditor.errors import ShapeError
from auditor.readers import _chat
from auditor.readers._harness import split
from auditor.readers.base import (
    Context,
    Head,
    Reader,
    arguments_of,
    integer,
    listing,
    mapping,
    number,
    string,
    text_of,
    unique_id,
    whole_number,
)
from auditor.transcript import (
    Elicitation,
    Ended,
    Message,
    Origin,
    ReasoningKind,
    ToolCall,
    Transcript,
    content_hash,
    is_submission,
)

_ROLES = {
    "system": "system",
    "user": "user",
    "agent": "assistant",
    "assistant": "assistant",
    "environment": "tool",
    "tool": "tool",
}
_TAGS = ("system-reminder", "environment_context", "user_instructions")
# A trial's result and settings, and those of the job it is part of.
_COMPANIONS = ({"trial_name", "task_name"}, {"trial_name", "trials_dir"}, {"n_total_trials", "stats"}, {"job_name", "jobs_dir"})
_BUDGETS = ("AgentTimeoutError", "ContextLengthExceededError", "OutputLengthExceededError")
# What Harbor's converter of Claude Code puts below the result of a tool that failed.
_FAILED = "[error] tool reported failure"


def sniff(head: Head) -> bool:
    """A schema version of ATIF; or, where that is left out, an agent (or session) with steps that have an id and a source."""
    return any(_ours(value) for value in head.objects[:3])


def _ours(value: dict[str, Any]) -> bool:
    if str(value.get("schema_version", "")).startswith("ATIF"):
        return True
    steps = value.get("steps")
    if isinstance(steps, list) and steps and isinstance(steps[0], dict):
        named = "step_id" in steps[0] and bool({"source", "role"} & set(steps[0]))
        return named and bool({"agent", "session_id"} & set(value))
    agent = value.get("agent")
    # The tools of the agent may fill all that is seen of a file.
    return isinstance(agent, dict) and {"name", "version"} <= set(agent) and "session_id" in value and len(value) < 5


def companion(head: Head) -> bool:
    """A trial's result, read beside its trajectory; the other files that Harbor writes are known and not read."""
    return any(keys <= set(value) and "steps" not in value for value in head.objects[:1] for keys in _COMPANIONS)


def read(value: Any, context: Context) -> Iterator[Transcript]:
    """One trajectory. `steps: []` is a trial that never began, and no episode."""
    record = mapping(value, "trajectory")
    agent = mapping(record.get("agent") or {}, "agent")
    result = _result(context)
    steps = [mapping(step, "step") for step in listing(record.get("steps"), "steps")]
    run = _Run(record)
    messages = [message for i, step in enumerate(steps) for message in run.step(step, f"step_{i}")]
    messages += run.unnamed()
    if not messages:
        raise ShapeError("a trajectory without steps")
    verifier = mapping(result.get("verifier_result") or {}, "verifier_result")
    rewards = mapping(verifier.get("rewards") or {}, "rewards")
    told = mapping(mapping(result.get("config") or {}, "config").get("metadata") or {}, "config.metadata")
    failure = mapping(result.get("exception_info") or {}, "exception_info")
    extra = mapping(agent.get("extra") or {}, "agent.extra")
    reward = number(rewards.get("reward", next(iter(rewards.values())) if len(rewards) == 1 else None))
    elicitation = told.get("elicitation") if told.get("elicitation") in get_args(Elicitation) else None
    facts: dict[str, JsonValue] = {
        "session_id": string(record.get("session_id")), "trajectory_id": string(record.get("trajectory_id")),
        "trial_name": string(result.get("trial_name")), "agent": string(agent.get("name")),
        "agent_version": string(agent.get("version")), "schema_version": string(record.get("schema_version")),
        "continued_in": string(record.get("continued_trajectory_ref")), "notes": string(record.get("notes")),
        "exception": string(failure.get("exception_type")), "rewards": rewards if len(rewards) > 1 else None,
        "subagents": run.elsewhere or None, "extra": _plain(record.get("extra")),
        "config": {k: v for k, v in told.items() if k not in ("elicitation", "checkpoint") or (k == "elicitation" and not elicitation)},
    }  # fmt: skip
    transcript = Transcript(
        id=_id(record, extra),
        model=string(agent.get("model_name")) or next((m for m in (string(s.get("model_name")) for s in steps) if m), None),
        task=string(result.get("task_name")),
        environment=string(result.get("source")),
        checkpoint=string(told.get("checkpoint")),
        elicitation=elicitation,
        score=reward,
        passed=bool(reward) if reward in (0.0, 1.0) else None,
        reasoning_kind=_kind(messages, str(agent.get("name")), str(agent.get("model_name"))),
        ended=_ended(messages, string(failure.get("exception_type")), goes_on=bool(record.get("continued_trajectory_ref"))),
        messages=tuple(messages),
        metadata={key: fact for key, fact in facts.items() if fact not in (None, {}, "")},
        format=READER.name,
        reader_version=READER.version,
        source=context.source,
    )
    yield transcript if transcript.id else transcript.model_copy(update={"id": content_hash(transcript)})


def _id(record: dict[str, Any], extra: dict[str, Any]) -> str:
    """The trajectory's own id; the session's is shared by its continuations, which are numbered."""
    session, part = unique_id(record.get("session_id")), string(extra.get("continuation_index"))
    return unique_id(record.get("trajectory_id")) or (":".join(p for p in (session, part) if p) if session else "")


def _result(context: Context) -> dict[str, Any]:
    """The trial's result.json, beside the trajectory or one folder up; {} where there is none."""
    for relative in ("../result.json", "result.json"):
        found = context.beside(relative)
        if isinstance(found, dict) and "task_name" in found:
            return found
    return {}


def _plain(extra: Any) -> dict[str, JsonValue]:
    """The short facts of a producer's own fields, without the raw events that some put there."""
    found = extra.items() if isinstance(extra, dict) else ()
    return {key: fact for key, fact in found if isinstance(fact, (str, int, float)) and len(str(fact)) <= 1000}


def _kind(messages: list[Message], agent: str, model: str) -> ReasoningKind | None:
    """Some agents are shown only summaries of what their model thought; ATIF itself does not tell."""
    shown = agent in ("codex", "gemini-cli") or (agent == "claude-code" and "3-7" not in model)
    return "summarised" if shown and any(m.reasoning for m in messages) else None


def _ended(messages: list[Message], failure: str | None, *, goes_on: bool) -> Ended | None:
    if failure:
        return "budget" if failure in _BUDGETS else "cut off"
    main = [m for m in messages if m.role == "assistant" and m.origin == "main"]
    if goes_on or not main:
        return None
    return "submitted" if main[-1].submits else "cut off" if main[-1].tool_calls else "final report"


class _Run:
    """Makes messages of steps; `elsewhere` names the trajectories of subagents that are files of their own."""

    def __init__(self, record: dict[str, Any]) -> None:
        given = [
            mapping(sub, "subagent trajectory") for sub in listing(record.get("subagent_trajectories"), "subagent_trajectories")
        ]
        self.elsewhere: list[JsonValue] = []
        self._inside = {
            str(sub.get("trajectory_id") or sub.get("session_id") or f"subagent_{i}"): sub for i, sub in enumerate(given)
        }
        self._begun = False

    def step(self, step: dict[str, Any], key: str, whose: Origin = "main") -> Iterator[Message]:
        """One step: what was said, the results of its calls, and what subagents did for it."""
        source = string(step.get("source")) or string(step.get("role")) or "?"
        role = _ROLES.get(source)
        if role is None:
            raise ShapeError(f"step {step.get('step_id')}: unknown source {source!r}")
        origin: Origin = "copied" if step.get("is_copied_context") else whose
        time = string(step.get("timestamp"))
        text = text_of(step.get("message", step.get("content")))
        calls: tuple[ToolCall, ...] = ()
        if role == "assistant":
            text, calls = _said(text, listing(step.get("tool_calls"), "tool_calls"), key)
            # Without a call of the model the step is the harness's own.
            ours = origin == "main" and step.get("llm_call_count") == 0
            thought = text_of(step.get("reasoning_content")) or None
            yield Message(
                role="assistant", content=text, reasoning=thought, tool_calls=calls, timestamp=time, origin="injected" if ours else origin
            )  # fmt: skip
        elif role == "tool":
            call_id = string(step.get("tool_call_id"))
            yield Message(role="tool", content=text, tool_call_id=call_id, timestamp=time, origin=origin)
        elif text:
            # Once the run has begun, a system step is a notice of the harness.
            notice = role == "system" and self._begun
            for part, ours in split(text, _TAGS) if role == "user" else [(text, notice)]:
                kind: Origin = "injected" if ours and origin == "main" else origin
                yield Message.model_validate({"role": role, "content": part, "timestamp": time, "origin": kind})
        self._begun = self._begun or role != "system"
        yield from self._results(step, calls, time, origin)

    def unnamed(self) -> Iterator[Message]:
        """The subagents inside that no step names."""
        for name in list(self._inside):
            yield from self._subagent(name)

    def _subagent(self, name: str) -> Iterator[Message]:
        inner = self._inside.pop(name)
        for i, step in enumerate(listing(inner.get("steps"), "steps")):
            yield from self.step(mapping(step, "step"), f"{name}_step_{i}", "subagent")

    def _results(self, step: dict[str, Any], calls: tuple[ToolCall, ...], time: str | None, origin: Origin) -> Iterator[Message]:
        given = listing(mapping(step.get("observation") or {}, "observation").get("results"), "observation.results")
        results = [mapping(found, "result") for found in given]
        ids = _paired([string(found.get("source_call_id")) for found in results], calls)
        extra = mapping(step.get("extra") or {}, "step.extra") if len(calls) == 1 else {}
        for found, call_id in zip(results, ids, strict=True):
            content = text_of(found.get("content"))
            if content or call_id:
                made = _chat.message({"role": "tool", "content": content, "tool_call_id": call_id, "timestamp": time})
                yield made.model_copy(
                    update={"origin": origin, **_outcome(made, {**extra, **mapping(found.get("extra") or {}, "extra")})}
                )
            for ref in listing(found.get("subagent_trajectory_ref"), "subagent_trajectory_ref"):
                ref = mapping(ref, "subagent_trajectory_ref")
                name = next(
                    (n for n in (string(ref.get("trajectory_id")), string(ref.get("session_id"))) if n in self._inside), None
                )
                if name is None:
                    self.elsewhere.append(string(ref.get("trajectory_path")) or string(ref.get("session_id")))
                else:
                    yield from self._subagent(name)


def _paired(given: list[str | None], calls: tuple[ToolCall, ...]) -> list[str | None]:
    """A call for each result. Results without a call's id go in order; one for a whole batch goes to its last command."""
    free = [call.id for call in calls if call.id not in given]
    without = given.count(None)
    if without == 1 and len(free) > 1:
        free = [call.id for call in calls if call.id in free and not is_submission(call)][-1:] or free[-1:]
    left = iter(free if without == len(free) else ())
    return [call_id or next(left, None) for call_id in given]


def _outcome(result: Message, extra: dict[str, Any]) -> dict[str, Any]:
    """Exit code and failure, from the fields and closing lines of Harbor's converters."""
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
    calls = []
    for i, c in enumerate(mapping(value, "tool call") for value in given):
        name, call_id = string(c.get("function_name")) or string(c.get("name")) or "?", string(c.get("tool_call_id"))
        calls.append(ToolCall(id=call_id or f"{key}_{i}", name=name, arguments=arguments_of(c.get("arguments"))))
        # Harbor's converter of Claude Code writes this where the model said nothing.
        text = "" if text == f"Executed {name} {call_id}" else text
    return text, tuple(calls)


def _terminus(text: str, key: str) -> tuple[str, tuple[ToolCall, ...]] | None:
    """Terminus's JSON: analysis, plan, commands as keystrokes for a terminal, and whether the task is done."""
    if not text.lstrip().startswith("{") or '"commands"' not in text:
        return None
    try:
        plan = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    keys = "".join(string(c.get("keystrokes")) or "" for c in listing(plan["commands"], "commands") if isinstance(c, dict))
    calls = [ToolCall(id=f"{key}_0", name="terminal", arguments={"command": keys})] if keys else []
    if plan.get("task_complete") is True:
        calls.append(ToolCall(id=f"{key}_1", name="mark_task_complete"))
    words = {name: text_of(said) for name, said in plan.items() if name not in ("commands", "task_complete")}
    return "\n".join(f"{name}: {said}" for name, said in words.items() if said), tuple(calls)


def _tags(text: str, key: str) -> tuple[str, tuple[ToolCall, ...]] | None:
    """The tags that OpenHands has a model write that cannot call functions."""
    before, found, after = text.partition("<function=")
    name, closed, body = after.partition(">")
    if not found or not closed:
        return None
    parts = [part.partition(">") for part in body.split("<parameter=")[1:]]
    given: dict[str, JsonValue] = {what: said.partition("</parameter>")[0].strip("\n") for what, _, said in parts}
    rest = body.partition("</function>")[2]
    said = "\n".join(part.strip() for part in (before, rest) if part.strip())
    return said, (ToolCall(id=f"{key}_0", name=name, arguments=given),)


READER = Reader(
    "atif",
    "Harbor trajectories (ATIF 1.0 to 1.8) with their result.json",
    1,
    "record",
    sniff,
    read,
    companion=companion,
    ignores=(
        "steps[].step_id", "steps[].metrics.*", "steps[].extra.*", "steps[].reasoning_effort", "final_metrics.*",
        "agent.tool_definitions.*", "agent.extra.*", "steps[].message[].type",
        "steps[].observation.results[].content[].type", "steps[].message[].source.*", "steps[].observation.results[].content[].source.*",
    ),
)  # fmt: skip
