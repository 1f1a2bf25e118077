"""Items of the OpenAI Responses API (and of Codex, which logs them): reasoning, messages, calls and outputs as messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from auditor.errors import ShapeError
from auditor.readers.base import arguments_of, integer, string, text_of, whole_number
from auditor.transcript import Message, Origin, ReasoningKind, ToolCall

_CALLS = {
    "function_call", "custom_tool_call", "local_shell_call", "tool_call", "web_search_call", "tool_search_call",
    "image_generation_call", "file_search_call", "code_interpreter_call", "computer_call", "mcp_call", "shell_call",
    "apply_patch_call",
}  # fmt: skip
_OUTPUTS = ("function_call_output", "custom_tool_call_output", "tool_result", "tool_search_output")
KINDS = {"message", "reasoning", "agent_message", *_CALLS, *_OUTPUTS}
_EXIT = ("Exit code: ", "Process exited with code ")
_ARGUMENTS = ("arguments", "input", "action", "queries", "code", "operation")

Pieces = Iterable[tuple[str, bool]]


class Items:
    """Makes messages of items given in order. `pieces` tells harness text in a user's turn: (text, injected) in order.

    An assistant message takes what belongs to one reply: reasoning, then text, then calls; anything else ends it.
    """

    def __init__(self, pieces: Callable[[str], Pieces] = lambda text: [(text, False)]) -> None:
        self.messages: list[Message] = []
        self.ignored: Counter[str] = Counter()
        self.kinds: set[ReasoningKind] = set()
        self._pieces = pieces
        self._open: list[str] = []
        self._joined = False

    @property
    def reasoning_kind(self) -> ReasoningKind | None:
        """The most that can be read of the reasoning; None where there was none."""
        order: tuple[ReasoningKind, ...] = ("raw", "summarised", "encrypted")
        return next((kind for kind in order if kind in self.kinds), None)

    def put(self, message: Message) -> None:
        """Add a message that is no item; the reply before it is over."""
        self._joined = False
        self.messages.append(message)

    def take(self, item: dict[str, Any], time: str | None = None, origin: Origin = "main") -> None:
        """Add one item. A kind that makes no message is counted."""
        kind = string(item.get("type")) or ("message" if "role" in item else "item without a type")
        if kind == "message":
            self._say(item, time, origin)
        elif kind == "reasoning":
            self._think(item, time, origin)
        elif kind in _CALLS:
            call = self._call(kind, item)
            self._act(call, time, origin)
            # A tool that the server ran has its result in the same item.
            if (output := item.get("output", item.get("result"))) is not None and kind not in ("tool_call", "local_shell_call"):
                given = "[image]" if kind == "image_generation_call" else output
                self.put(self._output(call.id, given, item).model_copy(update={"timestamp": time, "origin": origin}))
        elif kind in _OUTPUTS or kind.endswith("_call_output"):
            output = next((item[key] for key in ("output", "result", "tools") if key in item), None)
            call_id = string(item.get("call_id")) or (self._open[0] if self._open else None)
            self.put(self._output(call_id, output, item).model_copy(update={"timestamp": time, "origin": origin}))
        elif kind == "agent_message":
            given_origin: Origin = "copied" if origin == "copied" else "subagent"
            text, name = text_of(item.get("content")), string(item.get("author"))
            self.put(Message(role="user", content=text, name=name, timestamp=time, origin=given_origin))
        else:
            self.ignored[f"item/{kind}"] += 1

    def _say(self, item: dict[str, Any], time: str | None, origin: Origin) -> None:
        role = item["role"]
        content = item.get("content")
        if role == "assistant":
            self._act(text_of(content), time, origin)
            return
        if role not in ("user", "system", "developer"):
            raise ShapeError(f"unknown role {role!r}")
        parts = content if isinstance(content, list) else [content]
        said = [
            piece for part in parts for piece in (self._pieces(text_of(part)) if role == "user" else [(text_of(part), False)])
        ]
        self._joined = False
        for injected in (True, False):
            text = "\n".join(text for text, harness in said if harness is injected and text)
            kept: Origin = "injected" if injected and origin == "main" else origin
            if text:
                self.put(Message(role="user" if role == "user" else "system", content=text, timestamp=time, origin=kept))

    def _think(self, item: dict[str, Any], time: str | None, origin: Origin) -> None:
        full = text_of(item.get("content"))
        text = full or text_of(item.get("summary"))
        if origin != "copied":
            self.kinds.add("raw" if full else "summarised" if text else "encrypted")
        last = self._last(origin)
        if last is None or last.content or last.tool_calls:
            self.put(Message(role="assistant", reasoning=text or None, timestamp=time, origin=origin))
        else:
            self.messages[-1] = last.model_copy(update={"reasoning": "\n".join(t for t in (last.reasoning, text) if t) or None})
        self._joined = True

    def _act(self, said: str | ToolCall, time: str | None, origin: Origin) -> None:
        last = self._last(origin)
        if last is None or (isinstance(said, str) and (last.content or last.tool_calls)):
            last = Message(role="assistant", timestamp=time, origin=origin)
            self.put(last)
        update = {"content": said} if isinstance(said, str) else {"tool_calls": (*last.tool_calls, said)}
        self.messages[-1] = last.model_copy(update=update)
        self._joined = True

    def _last(self, origin: Origin) -> Message | None:
        """The assistant message that may still grow."""
        return self.messages[-1] if self._joined and self.messages and self.messages[-1].origin == origin else None

    def _call(self, kind: str, item: dict[str, Any]) -> ToolCall:
        inner = item["function"] if isinstance(item.get("function"), dict) else item
        name = string(inner.get("name")) or kind.removesuffix("_call")
        space = string(item.get("namespace")) or string(item.get("server_label"))
        given = next((d[k] for d in (inner, item) for k in _ARGUMENTS if d.get(k) is not None), None)
        if kind == "image_generation_call":
            given = {"prompt": item.get("revised_prompt")}
        call_id = string(item.get("call_id")) or string(item.get("id")) or f"call-{len(self.messages)}-{len(self._open)}"
        self._open.append(call_id)
        return ToolCall(id=call_id, name=f"{space}.{name}" if space else name, arguments=arguments_of(given))

    def _output(self, call_id: str | None, output: Any, item: dict[str, Any]) -> Message:
        if call_id in self._open:
            self._open.remove(call_id)
        text, code, failed = outcome(output)
        if item.get("error"):
            text, failed = text or text_of(item["error"]), True
        return Message(
            role="tool", content=text, tool_call_id=call_id, name=string(item.get("name")), exit_code=code, is_error=failed
        )


def outcome(value: Any) -> tuple[str, int | None, bool | None]:
    """Text, exit code and failure of a tool's output, in any of the shapes that Codex has written."""
    if isinstance(value, str) and value.startswith('{"output":'):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return value, None, None
    if isinstance(value, dict):
        meta = value.get("metadata")
        inner = meta if isinstance(meta, dict) else value
        code = next((integer(inner[key]) for key in ("exit_code", "exitCode") if key in inner), None)
        success = value.get("success")
        streams = [value[key].rstrip("\n") for key in ("output", "stdout", "stderr") if isinstance(value.get(key), str)]
        text = "\n".join(t for t in streams if t) or text_of(value if value.get("type") else value.get("content"))
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
            if line.startswith(mark):
                return whole_number(line[len(mark) :])
    return None
