"""SWE-agent trajectories (`.traj`): one run a file, or one an attempt where a RetryAgent ran several.

`history` is the conversation as the model had it; replies that the harness refused (blocked, malformed) stand in
`trajectory` alone and are put back in their place. Without function calling an action is text: it becomes a call of
`bash` (of `submit` where it submits), and the next user turn its result.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import orjson
from pydantic import JsonValue

from auditor.errors import ShapeError
from auditor.readers._anthropic import Blocks, blocks, kind_of
from auditor.readers._chat import message
from auditor.readers.base import Context, Head, Reader, listing, mapping, string, text_of
from auditor.transcript import Ended, Message, ToolCall, Transcript, content_hash


def sniff(head: Head) -> bool:
    """A `trajectory` of steps with action and observation, or a `history` beside `info` and `environment`."""
    return head.container in ("document", "lines") and any(_run(value) for value in head.objects[:3])


def _run(value: dict[str, Any]) -> bool:
    if isinstance(value.get("attempts"), list):
        return any(_run(attempt) for attempt in value["attempts"][:1] if isinstance(attempt, dict))
    steps = value.get("trajectory")
    first = steps[0] if isinstance(steps, list) and steps else None
    if isinstance(first, dict) and "action" in first:
        return bool({"observation", "response", "thought"} & set(first))
    return isinstance(value.get("history"), list) and {"trajectory", "info"} <= set(value)


def read(value: Any, context: Context) -> Iterator[Transcript]:
    """One file. A RetryAgent's top level repeats the attempt it chose, so only the attempts are read."""
    record = mapping(value, "trajectory file")
    attempts = listing(record.get("attempts"), "attempts")
    if not attempts:
        yield _transcript(record, context, {})
        return
    chosen = mapping(record.get("info") or {}, "info").get("best_attempt_idx")
    for i, attempt in enumerate(attempts):
        outer = {key: record[key] for key in ("replay_config", "environment") if record.get(key) is not None}
        facts: dict[str, JsonValue] = {"attempt": i, "best_attempt": chosen}
        yield _transcript({**outer, **mapping(attempt, "attempt")}, context, facts)


def _transcript(record: dict[str, Any], context: Context, facts: dict[str, JsonValue]) -> Transcript:
    info = mapping(record.get("info") or {}, "info")
    config = _config(record.get("replay_config"))
    problem = config["problem_statement"] if isinstance(config.get("problem_statement"), dict) else {}
    run = _Run([mapping(step, "step") for step in listing(record.get("trajectory"), "trajectory")])
    for item in listing(record.get("history"), "history"):
        run.take(mapping(item, "history item"))
    run.finish()
    if not run.messages:
        raise ShapeError("no messages")
    model = _model(config.get("agent"))
    stem = PurePath(context.source.path).name.removesuffix(".traj") if context.source.path.endswith(".traj") else None
    known = {**facts, **info, "environment_name": record.get("environment")}
    transcript = Transcript(
        id="",
        model=model,
        task=string(problem.get("id")) or stem,
        reasoning_kind=kind_of(model, run.blocks),
        ended=_ended(string(info.get("exit_status"))),
        messages=tuple(run.messages),
        metadata={key: fact for key, fact in known.items() if fact not in (None, "")},
        format=READER.name,
        reader_version=READER.version,
        source=context.source,
    )
    return transcript.model_copy(update={"id": content_hash(transcript)})


def _config(value: Any) -> dict[str, Any]:
    """`replay_config`: an object, or JSON in a string."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    return value if isinstance(value, dict) else {}


def _model(agent: Any) -> str | None:
    """The model of an agent's configuration; a RetryAgent has a list of configurations."""
    if not isinstance(agent, dict):
        return None
    several = agent.get("agent_configs")
    if isinstance(several, list) and several:
        return _model(several[0])
    model = agent.get("model")
    return string(model.get("name")) if isinstance(model, dict) else None


def _ended(status: str | None) -> Ended | None:
    """`submitted (exit_cost)` means that the harness submitted for a model that ran out of budget."""
    if not status:
        return None
    if status == "submitted":
        return "submitted"
    budget = ("exit_cost", "exit_context", "exit_total_execution_time")
    return "budget" if any(word in status for word in budget) else "cut off"


class _Run:
    """The messages so far, the steps that have not been met in the history, and the call that waits for its result."""

    def __init__(self, steps: list[dict[str, Any]]) -> None:
        self.messages: list[Message] = []
        self.blocks: list[Blocks] = []
        self._steps = steps
        self._at = 0
        self._waiting: list[str] = []

    def take(self, item: dict[str, Any]) -> None:
        """Take one item of the history."""
        role, text = item.get("role"), text_of(item.get("content"))
        if item.get("is_demo"):
            self._demonstration(item, text)
        elif role == "assistant":
            self._reply(item)
        elif role == "tool" or (role == "user" and self._waiting):
            ids = [string(i) for i in listing(item.get("tool_call_ids"), "tool_call_ids")] or [string(item.get("tool_call_id"))]
            call_id = ids[0] or (self._waiting[0] if self._waiting else None)
            self._waiting.clear()
            self.messages.append(Message(role="tool", content=text, tool_call_id=call_id))
        elif role == "user":
            task = not any(m.role == "user" and m.origin == "main" for m in self.messages)
            self.messages.append(Message(role="user", content=text, origin="main" if task else "injected"))
        else:
            self.messages.append(message({**item, "content": text}))

    def finish(self) -> None:
        """Add what the trajectory has beyond the history: the last result, and steps that never came into it."""
        if self._waiting and self._at and (last := text_of(self._steps[self._at - 1].get("observation"))):
            self.messages.append(Message(role="tool", content=last, tool_call_id=self._waiting[0]))
        self._waiting.clear()
        for step in self._steps[self._at :]:
            self._refused(step)

    def _demonstration(self, item: dict[str, Any], text: str) -> None:
        if item.get("role") == "user" and item.get("message_type") in (None, "demonstration"):
            self.messages.append(Message(role="user", content=text, origin="injected"))
        else:
            # A demonstration put into the history turn by turn: another run's words, not this model's.
            made = message({"role": item.get("role"), "content": text, "tool_calls": item.get("tool_calls")})
            self.messages.append(made.model_copy(update={"origin": "copied"}))

    def _reply(self, item: dict[str, Any]) -> None:
        action, thought = text_of(item.get("action")).strip(), text_of(item.get("thought")).strip()
        self._advance(action, text_of(item.get("content")))
        made = message({"role": "assistant", "content": item.get("content"), "tool_calls": item.get("tool_calls")})
        text = made.content.strip()
        if not made.tool_calls and action:
            before, block, after = text.partition(f"```\n{action}\n```")
            text = (before.rstrip() + after).strip() if block else thought
            made = made.model_copy(update={"tool_calls": (_call(action, f"action-{len(self.messages)}"),)})
        self._waiting = [call.id for call in made.tool_calls if call.id]
        self.messages.append(made.model_copy(update={"content": text, "reasoning": self._reasoning(item)}))

    def _reasoning(self, item: dict[str, Any]) -> str | None:
        thinking = blocks(item.get("thinking_blocks") or [])
        self.blocks.append(thinking)
        return thinking.reasoning or text_of(item.get("reasoning_content")) or None

    def _advance(self, action: str, content: str) -> None:
        """Go to the step of this reply; the steps before it were refused."""
        for at in range(self._at, len(self._steps)):
            step = self._steps[at]
            if text_of(step.get("action")).strip() == action or text_of(step.get("response")) == content:
                for refused in self._steps[self._at : at]:
                    self._refused(refused)
                self._at = at + 1
                return

    def _refused(self, step: dict[str, Any]) -> None:
        said, seen = text_of(step.get("response")).strip(), text_of(step.get("observation")).strip()
        thought, action = text_of(step.get("thought")).strip(), text_of(step.get("action")).strip()
        if said or self._wrote(step):
            calls = (_call(action, f"action-{len(self.messages)}"),) if action else ()
            text = thought if calls and thought else said
            self.messages.append(Message(role="assistant", content=text, reasoning=self._reasoning(step), tool_calls=calls))
            if calls and seen:
                self.messages.append(Message(role="tool", content=seen, tool_call_id=calls[0].id))
                return
        elif thought or action:
            # A step without a response is the harness's own: "Exit due to cost limit".
            seen = "\n".join(part for part in (thought, action, seen) if part)
        if seen:
            self.messages.append(Message(role="user", content=seen, origin="injected"))

    @staticmethod
    def _wrote(step: dict[str, Any]) -> bool:
        return bool(step.get("tool_calls") or step.get("thinking_blocks"))


def _call(action: str, call_id: str) -> ToolCall:
    """A text action: a shell line, unless its first word submits."""
    word, _, rest = action.partition(" ")
    if word.strip() == "submit":
        return ToolCall(id=call_id, name="submit", arguments={"input": rest.strip()} if rest.strip() else {})
    return ToolCall(id=call_id, name="bash", arguments={"command": action})


READER = Reader(
    "swe_agent",
    "SWE-agent trajectories (.traj)",
    1,
    "record",
    sniff,
    read,
    ignores=(
        "replay_config.*", "trajectory[].*", "history[].agent", "history[].message_type", "history[].tool_calls[].type", "history[].content[].type",
        "history[].thinking_blocks[].signature", "history[].cache_control.*", "history[].action", "history[].thought",
    ),
)  # fmt: skip
