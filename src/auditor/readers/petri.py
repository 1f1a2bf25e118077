"""Petri audits in Petri's own JSON (v1 to v3), and Bloom rollouts, which hold several: the target's conversation.

A transcript is a log of edits. Those of the view `target` are replayed; what an edit takes away (rollback, reset,
patch) is kept, flagged as rewound. Petri runs kept as Inspect logs are read by `inspect`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from pydantic import JsonValue

from auditor.errors import ShapeError
from auditor.readers._chat import ROLES, call
from auditor.readers.base import Context, Head, Reader, integer, listing, mapping, string, text_of, unique_id
from auditor.transcript import Ended, Message, Origin, ReasoningKind, Transcript, content_hash

_EVENTS = ("transcript_event", "tool_creation_event", "info_event", "decision_event")
_KNOWN = ("transcript_id", "target_model", "judge_output", "task_id")


def sniff(head: Head) -> bool:
    """`events` that edit views, or `metadata` that names a target and an auditor; also inside `rollouts`."""
    return any(_petri(value) for value in head.objects[:3])


def _petri(value: dict[str, Any]) -> bool:
    rollouts = value.get("rollouts")
    if isinstance(rollouts, list) and rollouts and isinstance(rollouts[0], dict):
        inner = rollouts[0].get("transcript")
        return isinstance(inner, dict) and _petri(inner)
    meta, events = value.get("metadata"), value.get("events")
    first = events[0] if isinstance(events, list) and events and isinstance(events[0], dict) else {}
    if first.get("type") in _EVENTS and ("edit" in first or first["type"] != "transcript_event"):
        return True
    return isinstance(meta, dict) and {"target_model", "auditor_model"} <= set(meta) and ("events" in value or len(value) == 1)


def read(value: Any, context: Context) -> Iterator[Transcript]:
    """One audit, or each rollout of a Bloom file (its variation is the task, its repetition the epoch)."""
    record = mapping(value, "record")
    if "rollouts" not in record:
        yield _transcript(record, context)
        return
    outer = record["metadata"] if isinstance(record.get("metadata"), dict) else {}
    for rollout in listing(record["rollouts"], "rollouts"):
        r = mapping(rollout, "rollout")
        inner = mapping(r.get("transcript"), "rollout.transcript")
        meta = {**outer, **mapping(inner.get("metadata") or {}, "metadata")}
        meta |= {k: v for k, v in r.items() if k not in ("transcript", "repetition_number")}
        meta.setdefault("task_id", r.get("variation_number"))
        made = _transcript({**inner, "metadata": meta}, context)
        epoch = integer(r.get("repetition_number"))
        yield made if epoch is None else made.model_copy(update={"epoch": epoch})


def _transcript(record: dict[str, Any], context: Context) -> Transcript:
    meta = mapping(record.get("metadata") or {}, "metadata")
    replay = _Replay()
    for event in listing(record.get("events"), "events"):
        replay.take(mapping(event, "event"))
    if not replay.entries:
        # The first version kept the result beside the events.
        replay.become(listing(record.get("target_messages"), "target_messages"))
    model = string(meta.get("target_model"))
    kinds: set[ReasoningKind] = set()
    messages = tuple(
        _message(raw, rewound=not alive, signed_is_raw="3-7" in (model or ""), kinds=kinds) for raw, alive in replay.entries
    )
    if not messages:
        raise ShapeError("no event edits the target's view")
    judged = meta["judge_output"] if isinstance(meta.get("judge_output"), dict) else {}
    facts: dict[str, JsonValue] = {key: fact for key, fact in meta.items() if key not in _KNOWN}
    facts |= {"scores": judged.get("scores"), "judge": {k: v for k, v in judged.items() if k != "scores"}}
    own = unique_id(meta.get("transcript_id"))
    facts["log_id"] = None if own else meta.get("transcript_id")
    transcript = Transcript(
        id=own or "",
        model=model,
        task=string(meta.get("task_id")),
        reasoning_kind=next((kind for kind in ("raw", "summarised", "encrypted") if kind in kinds), None),
        ended=_ended([m for m in messages if m.origin == "main"]),
        messages=messages,
        metadata={key: fact for key, fact in facts.items() if fact not in (None, {}, [])},
        ignored=dict(replay.ignored),
        format=READER.name,
        reader_version=READER.version,
        source=context.source,
    )
    return transcript if own else transcript.model_copy(update={"id": content_hash(transcript)})


class _Replay:
    """The target's messages in the order they came, each with whether it still stands."""

    def __init__(self) -> None:
        self.entries: list[tuple[dict[str, Any], bool]] = []
        self.ignored: Counter[str] = Counter()

    def take(self, event: dict[str, Any]) -> None:
        """Replay one event; those of other views and kinds are counted."""
        kind = string(event.get("type")) or "event without a type"
        view = event.get("view")
        views = view if isinstance(view, list) else [view]
        if kind != "transcript_event" or "target" not in views:
            self.ignored[kind if kind != "transcript_event" else f"view/{'+'.join(map(str, views))}"] += 1
            return
        edit = mapping(event.get("edit"), "edit")
        operation = edit.get("operation")
        now = [raw for raw, alive in self.entries if alive]
        if operation == "add":
            raw = mapping(edit.get("message"), "message")
            self.entries.append(({"timestamp": event.get("timestamp"), **raw}, True))
        elif operation == "rollback":
            ids = [raw.get("id") for raw in now]
            to = edit.get("to_id")
            kept = ids.index(to) + 1 if to is not None and to in ids else max(0, len(now) - (integer(edit.get("count")) or 0))
            self.become(now[:kept])
        elif operation == "reset":
            self.become(listing(edit.get("new_messages"), "new_messages"))
        elif operation == "json_patch":
            self.become(_patched(now, listing(edit.get("patch"), "patch")))
        else:
            raise ShapeError(f"unknown edit {operation!r}")

    def become(self, new: list[Any]) -> None:
        """Make `new` what stands: what is the same at both ends stays, the rest is rewound or put in its place."""
        new = [mapping(raw, "message") for raw in new]
        places = [i for i, (_, alive) in enumerate(self.entries) if alive]
        old = [self.entries[i][0] for i in places]
        head = 0
        while head < min(len(old), len(new)) and _same(old[head], new[head]):
            head += 1
        tail = 0
        while tail < min(len(old), len(new)) - head and _same(old[-1 - tail], new[-1 - tail]):
            tail += 1
        for i in places[head : len(old) - tail]:
            self.entries[i] = (self.entries[i][0], False)
        at = places[len(old) - tail] if tail else len(self.entries)
        self.entries[at:at] = [(raw, True) for raw in new[head : len(new) - tail]]


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    keys = ("role", "content", "tool_calls", "tool_call_id")
    return all((a.get(key) or None) == (b.get(key) or None) for key in keys)


def _patched(messages: list[Any], patch: list[Any]) -> list[Any]:
    """A list of messages after a JSON Patch (RFC 6902), whose paths may begin with `/messages`."""
    root: dict[str, Any] = {"messages": deepcopy(messages)}
    for step in patch:
        op = mapping(step, "patch operation")
        kind, path = op.get("op"), _path(op.get("path"))
        if kind in ("move", "copy"):
            source = _path(op.get("from"))
            value = deepcopy(_at(root, source))
            if kind == "move":
                _edit(root, source, None, "remove")
            _edit(root, path, value, "add")
        elif kind in ("add", "replace", "remove"):
            _edit(root, path, op.get("value"), kind)
        elif kind != "test":
            raise ShapeError(f"unknown patch operation {kind!r}")
    return listing(root["messages"], "patched messages")


def _path(pointer: Any) -> list[str]:
    parts = [part.replace("~1", "/").replace("~0", "~") for part in str(pointer).split("/")[1:]]
    return parts if parts[:1] == ["messages"] else ["messages", *parts]


def _at(value: Any, path: list[str]) -> Any:
    for part in path:
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def _edit(root: dict[str, Any], path: list[str], value: Any, kind: str) -> None:
    parent, last = _at(root, path[:-1]), path[-1]
    if isinstance(parent, list) and kind == "add":
        parent.insert(len(parent) if last == "-" else int(last), value)
    elif kind == "remove":
        del parent[int(last) if isinstance(parent, list) else last]
    else:
        parent[int(last) if isinstance(parent, list) else last] = value


def _message(m: dict[str, Any], *, rewound: bool, signed_is_raw: bool, kinds: set[ReasoningKind]) -> Message:
    """One of Inspect's messages, as JSON."""
    role = ROLES.get(str(m.get("role")))
    if role is None:
        raise ShapeError(f"unknown role {m.get('role')!r}")
    content = m.get("content")
    parts = content if isinstance(content, list) else []
    thoughts: list[str] = []
    for part in (p for p in parts if isinstance(p, dict) and p.get("type") == "reasoning"):
        summary = text_of(part.get("summary"))
        text = summary if part.get("redacted") else text_of(part.get("reasoning")) or summary
        whole = not part.get("redacted") and part.get("reasoning") and (signed_is_raw or not part.get("signature"))
        kinds.add("raw" if whole else "summarised" if text else "encrypted")
        thoughts.append(text)
    said = text_of([p for p in parts if not (isinstance(p, dict) and p.get("type") == "reasoning")] if parts else content)
    error = m["error"] if isinstance(m.get("error"), dict) else {}
    failed = text_of(error.get("message"))
    meta = m["metadata"] if isinstance(m.get("metadata"), dict) else {}
    put = role == "assistant" and (m.get("source") == "input" or str(meta.get("source")).lower() in ("auditor", "prefill"))
    origin: Origin = "rewound" if rewound else "prefilled" if put else "main"
    return Message(
        role=role,
        content=said if failed in said else "\n".join(t for t in (said, failed) if t),
        reasoning="\n".join(t for t in thoughts if t) or None,
        tool_calls=tuple(
            call({**c, "name": c.get("name") or c.get("function")}) for c in listing(m.get("tool_calls"), "tool_calls")
        ),
        tool_call_id=string(m.get("tool_call_id")),
        name=string(m.get("function")),
        is_error=True if error else None,
        timestamp=string(m.get("timestamp")),
        origin=origin,
    )


def _ended(main: list[Message]) -> Ended | None:
    if not main:
        return None
    if main[-1].submits:
        return "submitted"
    return "final report" if main[-1].role == "assistant" and not main[-1].tool_calls else "cut off"


READER = Reader(
    "petri",
    "Petri audits and Bloom rollouts (JSON)",
    1,
    "record",
    sniff,
    read,
    ignores=(
        "events[].id", "events[].edit.message.id", "events[].edit.message.tool_calls[].type", "events[].edit.message.error.type",
        "events[].edit.message.content[].type", "events[].tool.*", "events[].info.*",
    ),
)  # fmt: skip
