"""ATIF, the trajectories of Harbor (v1.0 to 1.8). Task and reward are in the trial's `result.json`.

Copied context is kept and flagged; a subagent's own trajectory inside the file stands behind the step that names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import JsonValue

from auditor.errors import ShapeError
from auditor.readers._atif_steps import Steps
from auditor.readers.base import Context, Head, Reader, listing, mapping, number, string, unique_id
from auditor.transcript import Elicitation, Ended, Message, ReasoningKind, Transcript, content_hash

# A trial's result and settings, and those of the job it is part of.
_COMPANIONS = ({"trial_name", "task_name"}, {"trial_name", "trials_dir"}, {"n_total_trials", "stats"}, {"job_name", "jobs_dir"})
_BUDGETS = ("AgentTimeoutError", "ContextLengthExceededError", "OutputLengthExceededError")


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
    return any(
        keys <= set(value) and not {"steps", "messages"} & set(value) for value in head.objects[:1] for keys in _COMPANIONS
    )


def read(value: Any, context: Context) -> Iterator[Transcript]:
    """One trajectory. `steps: []` is a trial that never began, and no episode."""
    record = mapping(value, "trajectory")
    agent = mapping(record.get("agent") or {}, "agent")
    result = _result(context)
    steps = Steps(record)
    messages = [*steps.all(record), *steps.unnamed()]
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
        "subagents": steps.elsewhere or None, "extra": _plain(record.get("extra")),
        "config": told or None,
    }  # fmt: skip
    transcript = Transcript(
        id=_id(record, extra),
        model=string(agent.get("model_name")) or _first_model(record),
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


def _first_model(record: dict[str, Any]) -> str | None:
    return next((model for step in listing(record.get("steps"), "steps") if (model := string(step.get("model_name")))), None)


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


_UNSAID = (
    "steps[].step_id", "steps[].metrics.*", "steps[].extra.*", "steps[].reasoning_effort", "steps[].message[].type",
    "steps[].message[].source.*", "steps[].observation.results[].content[].type", "steps[].observation.results[].content[].source.*",
    "steps[].observation.results[].subagent_trajectory_ref[].*", "final_metrics.*", "agent.tool_definitions.*", "agent.extra.*",
)  # fmt: skip
_INSIDE = ("schema_version", "session_id", "trajectory_id", "agent.version", "agent.model_name", *_UNSAID)

READER = Reader(
    "atif",
    "Harbor trajectories (ATIF 1.0 to 1.8) with their result.json",
    1,
    "record",
    sniff,
    read,
    companion=companion,
    ignores=(*_UNSAID, *(f"subagent_trajectories[].{path}" for path in _INSIDE)),
)
