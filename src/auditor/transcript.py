"""Transcript, Message, ToolCall, Channel, Span: the one shape that every log becomes.

Readers make transcripts; nothing above this floor knows a log format. All models are frozen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Role = Literal["system", "user", "assistant", "tool"]
Origin = Literal["main", "subagent", "copied", "prefilled", "rewound", "injected"]
ReasoningKind = Literal["raw", "summarised", "encrypted", "absent"]
Ended = Literal["submitted", "final report", "cut off", "budget"]
Elicitation = Literal["natural", "pressured", "impossible_task", "instructed", "prefilled"]

# Tools whose arguments are the model's report, not an action (codebook, channels).
SUBMIT_TOOLS = frozenset(
    "submit finish final_answer answer submit_answer attempt_completion complete_task task_complete mark_task_complete"
    " submit_solution report_result done exit_task".split()
)
# mini-swe-agent and its kin submit by a shell command that prints this.
SUBMIT_MARK = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"


class Channel(StrEnum):
    """Who speaks, to whom. `reply` is assistant text after a user turn that asks about the model's conduct."""

    TASK = "task"
    INJECTED = "injected"
    REASONING = "reasoning"
    SAY = "say"
    ACTION = "action"
    OBSERVATION = "observation"
    FINAL = "final"
    REPLY = "reply"


class Span(NamedTuple):
    """Characters [start, end) of one channel of one message."""

    message: int
    channel: Channel
    start: int
    end: int


class Piece(NamedTuple):
    """The text of one channel of one message, in message order."""

    message: int
    channel: Channel
    text: str


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ToolCall(_Frozen):
    """One call of a tool. Arguments that are no JSON object stand under the key `input`."""

    id: str | None = None
    name: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)

    @cached_property
    def text(self) -> str:
        """The call as text: its name, then one argument after the other, strings as they are."""
        parts = [self.name]
        for key, value in self.arguments.items():
            parts.append(f"{key}: {value if isinstance(value, str) else _dumps(value)}")
        return "\n".join(parts)


class Message(_Frozen):
    """One message. Text only: other media are a marker such as `[image]`.

    `exit_code` and `is_error` are what the log's own structure says of a tool result, None where it says nothing.
    """

    role: Role
    content: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    exit_code: int | None = None
    is_error: bool | None = None
    timestamp: str | None = None
    origin: Origin = "main"

    @property
    def submits(self) -> bool:
        """Whether this message hands in a result by a tool call."""
        return any(is_submission(call) for call in self.tool_calls)


class Source(_Frozen):
    """Where an episode was read: file, record (0-based), byte offset, line (1-based) where lines are known."""

    path: str
    record: int = 0
    offset: int = 0
    line: int | None = None


class Transcript(_Frozen):
    """The text of one episode: one model, one task, one run.

    `id` is the log's own where that is unique in the world (a UUID, a given id), else a hash of the content.
    `None` always means "not known"; nothing above may read it as a no.
    """

    id: str
    model: str | None = None
    task: str | None = None
    environment: str | None = None
    epoch: int | None = None
    checkpoint: str | None = None
    elicitation: Elicitation | None = None
    reasoning_kind: ReasoningKind | None = None
    ended: Ended | None = None
    score: float | None = None
    passed: bool | None = None
    messages: tuple[Message, ...]
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    ignored: dict[str, int] = Field(default_factory=dict)
    """Records of the log that carry no message, by kind, with their number."""
    format: str = "auditor"
    reader_version: int = 1
    source: Source | None = None

    @property
    def reasoning(self) -> ReasoningKind:
        """The kind of reasoning that can be read: as the reader said, else raw where there is some, else absent."""
        if self.reasoning_kind is not None:
            return self.reasoning_kind
        return "raw" if any(m.reasoning for m in self.messages) else "absent"


def is_submission(call: ToolCall) -> bool:
    """Whether a call hands in the result of the run."""
    if call.name.lower() in SUBMIT_TOOLS:
        return True
    command = call.arguments.get("command")
    return isinstance(command, str) and SUBMIT_MARK in command


def final_message(transcript: Transcript, until: int | None = None) -> int | None:
    """The message that holds the report under judgement: the last text or submission before message `until`.

    None where the run was cut off: its last assistant turn asks for a tool and does not submit.
    """
    for i in range((len(transcript.messages) if until is None else until) - 1, -1, -1):
        m = transcript.messages[i]
        if m.role != "assistant" or m.origin not in ("main", "rewound"):
            continue
        if m.submits or (m.content.strip() and not m.tool_calls):
            return i
        if m.tool_calls:
            return None
    return None


def pieces(transcript: Transcript, asked: int | None = None) -> Iterator[Piece]:
    """All channels of a transcript in message order; `asked` is the first user turn that asks about conduct.

    Copied context and prefilled text are nobody's words in this run and have no channel. The echo of a
    submission in its tool result is dropped. Within a message the order is reasoning, text, action.
    """
    final = final_message(transcript, asked)
    submitted: set[str] = set()
    for i, m in enumerate(transcript.messages):
        if m.origin in ("copied", "prefilled"):
            continue
        if m.role == "assistant":
            if m.reasoning:
                yield Piece(i, Channel.REASONING, m.reasoning)
            if i == final and m.submits:
                submitted.update(call.id for call in m.tool_calls if call.id and is_submission(call))
                parts = [m.content] if m.content else []
                parts += [_submission(call) for call in m.tool_calls if is_submission(call)]
                yield Piece(i, Channel.FINAL, "\n".join(part for part in parts if part))
                actions = [call.text for call in m.tool_calls if not is_submission(call)]
            else:
                if m.content:
                    late = asked is not None and i > asked
                    yield Piece(i, Channel.FINAL if i == final else Channel.REPLY if late else Channel.SAY, m.content)
                actions = [call.text for call in m.tool_calls]
            if actions:
                yield Piece(i, Channel.ACTION, "\n".join(actions))
        elif m.role == "tool":
            if m.content and m.tool_call_id not in submitted:
                yield Piece(i, Channel.OBSERVATION, m.content)
        elif m.content:
            yield Piece(i, Channel.INJECTED if m.origin == "injected" else Channel.TASK, m.content)


def content_hash(transcript: Transcript) -> str:
    """32 hex digits over model, task, epoch and all messages: equal for the same episode in two files."""
    h = hashlib.sha256(f"{transcript.model}\0{transcript.task}\0{transcript.epoch}".encode(errors="surrogatepass"))
    for m in transcript.messages:
        calls = "\0".join(call.text for call in m.tool_calls)
        h.update(f"\1{m.role}\0{m.content}\0{m.reasoning or ''}\0{calls}".encode(errors="surrogatepass"))
    return h.hexdigest()[:32]


def _submission(call: ToolCall) -> str:
    return "\n".join(value if isinstance(value, str) else _dumps(value) for value in call.arguments.values())


def _dumps(value: JsonValue) -> str:
    import orjson

    return orjson.dumps(value).decode()
