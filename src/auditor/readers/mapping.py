"""A mapping file describes a format that no reader knows, as JMESPath expressions over one record.

    id: run_id                        # every key but `messages` may be left out
    model: config.model
    task: config.task
    score: result.reward
    messages: steps[]                 # the list of messages in a record
    message:                          # expressions over one of them
      role: kind                      # (these are the defaults: role, content, reasoning, tool_calls, tool_call_id)
      content: body.text
      reasoning: thoughts
      tool_calls: calls[].{id: id, name: tool, arguments: args}
      tool_call_id: call
    roles: {agent: assistant, env: tool, human: user}       # the log's word: ours
    where: type == 'episode'          # records for which it is not true are counted as ignored

A record is a line of JSON Lines, a JSON document, an element of a JSON array, or a row of a Parquet file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jmespath
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from auditor.errors import InputError, ShapeError
from auditor.readers.base import Context, Head, Reader, Record, arguments_of, integer, listing, mapping, number, string, text_of
from auditor.transcript import Message, Source, ToolCall, Transcript, content_hash

_ROLES = {"system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant", "ai": "assistant",
          "agent": "assistant", "model": "assistant", "tool": "tool", "function": "tool", "observation": "tool", "environment": "tool"}  # fmt: skip


class _PerMessage(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    role: str = "role"
    content: str = "content"
    reasoning: str = "reasoning"
    tool_calls: str = "tool_calls"
    tool_call_id: str = "tool_call_id"
    exit_code: str = "exit_code"
    timestamp: str = "timestamp"


class Mapping(BaseModel):
    """A mapping file, checked."""

    model_config = ConfigDict(extra="forbid", strict=True)
    messages: str
    id: str | None = None
    model: str | None = None
    task: str | None = None
    environment: str | None = None
    epoch: str | None = None
    checkpoint: str | None = None
    elicitation: str | None = None
    score: str | None = None
    passed: str | None = None
    message: _PerMessage = Field(default_factory=_PerMessage)
    roles: dict[str, str] = Field(default_factory=dict)
    where: str | None = None


def load(path: str) -> Reader:
    """The reader that a mapping file describes. InputError names the file and the key."""
    try:
        given = Mapping.model_validate(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())[:200]}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {'.'.join(map(str, first['loc'])) or 'top'}: {first['msg']}; see 'auditor formats'") from None
    top = {name: _compiled(path, name, getattr(given, name)) for name in Mapping.model_fields if name not in ("message", "roles")}
    inner = {name: _compiled(path, f"message.{name}", getattr(given.message, name)) for name in _PerMessage.model_fields}
    unknown = {role for role in given.roles.values() if role not in ("system", "user", "assistant", "tool")}
    if unknown:
        raise InputError(f"{path}: roles: {', '.join(sorted(unknown))} is none of system, user, assistant, tool")
    roles = {**_ROLES, **given.roles}

    def read(records: Iterator[Record], context: Context) -> Iterator[Transcript]:
        for index, record in enumerate(records):
            try:
                source = Source(path=context.source.path, record=index, offset=record.offset, line=record.line)
                made = _transcript(record.value, top, inner, roles, source)
            except (ShapeError, ValidationError, TypeError, KeyError, jmespath.exceptions.JMESPathError) as error:
                reason = str(error).splitlines()[0]
                context.reject(f"the mapping does not fit: {reason}", f"compare this record with {path}", record)
                continue
            if made is not None:
                yield made

    return Reader("mapping", f"described by {path}", 1, "session", _any, read)


def _any(_: Head) -> bool:
    return True


def _compiled(path: str, name: str, expression: str | None) -> Any:
    if expression is None:
        return None
    try:
        return jmespath.compile(expression)
    except jmespath.exceptions.JMESPathError as error:
        raise InputError(f"{path}: {name}: {expression!r} is no JMESPath: {str(error).splitlines()[0]}") from None


def _transcript(
    value: Any, top: dict[str, Any], inner: dict[str, Any], roles: dict[str, str], source: Source
) -> Transcript | None:
    record = mapping(value, "record")
    facts = {name: found.search(record) if found is not None else None for name, found in top.items()}
    if top["where"] is not None and facts["where"] is not True:
        return None
    messages = tuple(_message(m, inner, roles) for m in listing(facts["messages"], "messages"))
    if not messages:
        raise ShapeError("no messages")
    transcript = Transcript(
        id=string(facts["id"]) or "",
        model=string(facts["model"]),
        task=string(facts["task"]),
        environment=string(facts["environment"]),
        epoch=integer(facts["epoch"]),
        checkpoint=string(facts["checkpoint"]),
        elicitation=facts["elicitation"],
        score=number(facts["score"]),
        passed=facts["passed"] if isinstance(facts["passed"], bool) else None,
        messages=messages,
        format="mapping",
        source=source,
    )
    return transcript if transcript.id else transcript.model_copy(update={"id": content_hash(transcript)})


def _message(value: Any, inner: dict[str, Any], roles: dict[str, str]) -> Message:
    m = {name: found.search(value) for name, found in inner.items()}
    role = roles.get(str(m["role"]))
    if role is None:
        raise ShapeError(f"the role {m['role']!r} is unknown: name it under `roles`")
    calls = [mapping(c, "tool call") for c in listing(m["tool_calls"], "tool_calls")]
    inner_calls = [c["function"] if isinstance(c.get("function"), dict) else c for c in calls]
    return Message.model_validate(
        {
            "role": role,
            "content": text_of(m["content"]),
            "reasoning": text_of(m["reasoning"]) or None,
            "tool_calls": tuple(
                ToolCall(id=string(c.get("id")), name=string(i.get("name")) or "?", arguments=arguments_of(i.get("arguments")))
                for c, i in zip(calls, inner_calls, strict=True)
            ),
            "tool_call_id": string(m["tool_call_id"]),
            "exit_code": integer(m["exit_code"]),
            "timestamp": string(m["timestamp"]),
        }
    )
