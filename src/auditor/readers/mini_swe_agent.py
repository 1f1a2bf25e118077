"""mini-swe-agent trajectories (`.traj.json`): one run a file, tool calls, Responses items or shell blocks in plain text.

In text mode the command stands in a fenced block of the reply and its result is the next user turn: the block becomes a
call of `bash`, cut out of the text, and the turn its result. Version 1 also wrote the bare list of messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from auditor.errors import ShapeError
from auditor.readers._anthropic import Blocks, blocks, kind_of
from auditor.readers._chat import message
from auditor.readers._responses import Items
from auditor.readers.base import Context, Head, Reader, Record, arguments_of, aside, integer, listing, mapping, string, text_of
from auditor.transcript import SUBMIT_MARK, Ended, Message, ToolCall, Transcript, content_hash

_BLOCK = re.compile(r"```(?:mswea_bash_command|bash)[^\S\n]*\n(.*?)\n?```", re.DOTALL)
_CODE = re.compile(r"\s*<returncode>(-?\d+)</returncode>")
_BUDGETS = ("LimitsExceeded", "TimeExceeded")


def sniff(head: Head) -> bool:
    """`trajectory_format` or `info` of mini-swe-agent; or a bare list of turns whose task names its submit command."""
    if head.container == "array":
        turns = [value for value in head.objects[:2] if isinstance(value.get("content"), str) and "role" in value]
        codes = any(_CODE.match(str(value.get("content"))) for value in head.objects[2:])
        return len(turns) == 2 and codes and any(SUBMIT_MARK in str(turn["content"]) for turn in turns)
    return any(_run(value) for value in head.objects[:3])


def _run(value: dict[str, Any]) -> bool:
    if str(value.get("trajectory_format", "")).startswith("mini-swe-agent"):
        return True
    info = value.get("info")
    if not isinstance(info, dict) or "trajectory" in value or "history" in value:
        return False
    config = info["config"] if isinstance(info.get("config"), dict) else {}
    return "mini_version" in info or str(config.get("agent_type", "")).startswith("minisweagent")


def read(records: Iterable[Record], context: Context) -> Iterator[Transcript]:
    """Each record with `messages` is a run; a list of bare messages is one run together."""
    stream = iter(records)
    first = next(stream, None)
    if first is None:
        raise ShapeError("no messages")
    if isinstance(first.value, dict) and "messages" in first.value:
        for record in chain([first], stream):
            with aside(context, record, "run"):
                yield _transcript(mapping(record.value, "run"), context)
    else:
        yield _transcript({"messages": [record.value for record in chain([first], stream)]}, context)


def _transcript(record: dict[str, Any], context: Context) -> Transcript:
    info = mapping(record.get("info") or {}, "info")
    config = mapping(info.get("config") or {}, "info.config")
    model = config["model"] if isinstance(config.get("model"), dict) else {}
    run = _Run()
    for value in listing(record.get("messages"), "messages"):
        run.take(mapping(value, "message"))
    if not run.items.messages:
        raise ShapeError("no messages")
    facts = {key: info.get(key) for key in ("exit_status", "submission", "model_stats", "mini_version")}
    facts |= {"trajectory_format": record.get("trajectory_format"), "environment": config.get("environment")}
    facts |= {"model_kwargs": model.get("model_kwargs")}
    name = string(model.get("model_name")) or run.model
    messages = tuple(run.items.messages)
    transcript = Transcript(
        id="",
        model=name,
        task=string(record.get("instance_id")),
        reasoning_kind=run.items.reasoning_kind or kind_of(name, run.blocks),
        ended=_ended(string(info.get("exit_status")) or run.exit_status, messages),
        messages=messages,
        metadata={key: fact for key, fact in facts.items() if fact not in (None, {})},
        ignored=dict(run.items.ignored),
        format=READER.name,
        reader_version=READER.version,
        source=context.source,
    )
    return transcript.model_copy(update={"id": content_hash(transcript)})


def _ended(status: str | None, messages: tuple[Message, ...]) -> Ended | None:
    if not status:
        return "submitted" if any(m.submits for m in messages[-2:]) else None
    return "submitted" if status == "Submitted" else "budget" if status in _BUDGETS else "cut off"


class _Run:
    """The messages so far, and the call of a text-mode reply that waits for its result."""

    def __init__(self) -> None:
        self.items = Items()
        self.blocks: list[Blocks] = []
        self.model: str | None = None
        self.exit_status: str | None = None
        self._waiting: str | None = None
        self._users = 0

    def take(self, m: dict[str, Any]) -> None:
        """Take one message of the log."""
        extra = m["extra"] if isinstance(m.get("extra"), dict) else {}
        time = _time(extra.get("timestamp", m.get("timestamp")))
        role = m.get("role")
        if m.get("object") == "response" or (role is None and isinstance(m.get("output"), list)):
            self.model = self.model or string(m.get("model"))
            for item in listing(m.get("output"), "output"):
                self.items.take(mapping(item, "output item"), time)
        elif m.get("type") == "function_call_output" or role == "tool":
            content = m["output"] if "output" in m else m.get("content")
            self._result(text_of(content), string(m.get("call_id")) or string(m.get("tool_call_id")), extra, time)
        elif role == "exit":
            self.exit_status = string(extra.get("exit_status"))
            self._exit(text_of(m.get("content")), time)
        elif role == "assistant":
            self._reply(m, extra, time)
        elif role == "user":
            self._user(m, extra, time)
        else:
            self.items.put(message({**m, "timestamp": time}))

    def _reply(self, m: dict[str, Any], extra: dict[str, Any], time: str | None) -> None:
        made = message({**m, "timestamp": time})
        if not made.reasoning:
            fields = m["provider_specific_fields"] if isinstance(m.get("provider_specific_fields"), dict) else {}
            thought = blocks(m.get("thinking_blocks") or [])
            self.blocks.append(thought)
            found = thought.reasoning or text_of(fields.get("reasoning_content") or fields.get("reasoning"))
            made = made.model_copy(update={"reasoning": found or None})
        elif m.get("thinking_blocks"):
            self.blocks.append(blocks(m["thinking_blocks"]))
        response = extra["response"] if isinstance(extra.get("response"), dict) else {}
        self.model = self.model or string(response.get("model"))
        self._waiting = None
        if not made.tool_calls:
            made = self._command(made)
        self.items.put(made)

    def _command(self, made: Message) -> Message:
        found = list(_BLOCK.finditer(made.content))
        # The harness refuses a reply with more or fewer blocks than one, and runs nothing.
        if len(found) != 1:
            return made
        self._waiting = f"action-{len(self.items.messages)}"
        text = made.content[: found[0].start()].rstrip() + made.content[found[0].end() :].rstrip()
        call = ToolCall(id=self._waiting, name="bash", arguments=arguments_of({"command": found[0][1].strip()}))
        return made.model_copy(update={"content": text.strip(), "tool_calls": (call,)})

    def _user(self, m: dict[str, Any], extra: dict[str, Any], time: str | None) -> None:
        text = text_of(m.get("content"))
        interrupt = string(extra.get("interrupt_type"))
        if self._waiting and not interrupt:
            self._result(text, self._waiting, extra, time)
            return
        lost = extra.get("model_response")
        if isinstance(lost, str) and lost and self.items.messages[-1].role != "assistant":
            # The reply that was refused for its form is kept here alone.
            self.items.put(Message(role="assistant", content=lost, timestamp=time))
        self._waiting = None
        self._users += 1
        # The task is the first user turn; later ones are the harness's words unless a person interrupted.
        own = self._users == 1 or str(interrupt).startswith("User")
        self.items.put(Message(role="user", content=text, timestamp=time, origin="main" if own else "injected"))

    def _result(self, text: str, call_id: str | None, extra: dict[str, Any], time: str | None) -> None:
        self._waiting = None
        code = integer(extra.get("returncode"))
        written = _CODE.match(text)
        code = int(written[1]) if code is None and written else code
        failed = bool(extra.get("exception_info")) or None
        # -1 stands for a command that was killed or never ran.
        code, failed = (None, True) if code == -1 else (code, failed)
        self.items.put(Message(role="tool", content=text, tool_call_id=call_id, exit_code=code, is_error=failed, timestamp=time))

    def _exit(self, text: str, time: str | None) -> None:
        calls = self.items.messages[-1].tool_calls if self.items.messages else ()
        if self.exit_status == "Submitted" and calls:
            self.items.put(Message(role="tool", content=text, tool_call_id=calls[-1].id, timestamp=time))
        elif text:
            self.items.put(Message(role="user", content=text, timestamp=time, origin="injected"))


def _time(value: Any) -> str | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC).isoformat()
    return string(value)


READER = Reader(
    "mini_swe_agent",
    "mini-swe-agent trajectories (.traj.json)",
    1,
    "session",
    sniff,
    read,
    ignores=(
        "info.config.agent.*", "info.config.agent_type", "info.config.model_type", "info.config.environment_type",
        "info.config.model.*", "messages[].extra.response.*", "messages[].extra.actions.*", "messages[].extra.cost", "messages[].extra.submission", "messages[].extra.exception_info", "messages[].extra.raw_output", "messages[].tool_calls[].type", "messages[].tool_calls[].index",
        "messages[].provider_specific_fields.*", "messages[].id", "messages[].output[].encrypted_content",
        "messages[].content[].type", "messages[].output[].content[].type", "messages[].output[].summary[].type",
    ),
)  # fmt: skip
