"""METR's MALT (Parquet, or its rows as JSON): labelled runs, each a tree of messages.

Two layouts: `nodes` with their parents, and `samples` of generations (`input` and `output`). The branch that ends in
the last node is the episode; messages of other branches are kept where they came, flagged as rewound. The labels
stand in `metadata.labels`.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
from pydantic import JsonValue

from auditor.errors import ShapeError
from auditor.readers._anthropic import blocks
from auditor.readers._chat import ROLES, call
from auditor.readers.base import Context, Head, Reader, listing, mapping, number, string, text_of
from auditor.transcript import Ended, Message, Transcript, content_hash

_FACTS = ("labels", "model", "task_id", "run_id", "manually_reviewed", "run_source", "has_chain_of_thought", "public", "version")
_MARKS = {"labels", "run_source", "manually_reviewed"}


def sniff(head: Head) -> bool:
    """Columns (or keys) `nodes` beside labels and run source; or `samples` beside `metadata`."""
    if head.container == "parquet":
        columns = set(head.names)
        return ("nodes" in columns and bool(_MARKS & columns)) or {"samples", "metadata"} <= columns
    return any(_row(value) for value in head.objects[:3])


def _row(value: dict[str, Any]) -> bool:
    if isinstance(value.get("nodes"), list) and _MARKS & set(value):
        return True
    samples, meta = value.get("samples"), value.get("metadata")
    first = samples[0] if isinstance(samples, list) and samples else None
    return isinstance(first, dict) and {"input", "output"} <= set(first) and isinstance(meta, dict) and bool(_MARKS & set(meta))


class _Node(NamedTuple):
    """A message of the tree."""

    key: str
    parent: str | None
    message: dict[str, Any]
    when: float


def read(value: Any, context: Context) -> Iterator[Transcript]:
    """One row."""
    row = mapping(value, "row")
    meta = {**row, **mapping(_parsed(row.get("metadata")) or {}, "metadata")}
    nodes = _tree(row) if row.get("nodes") is not None else _samples(row)
    if not nodes:
        raise ShapeError("no messages")
    main = _branch(nodes)
    messages = _messages(nodes, main)
    facts: dict[str, JsonValue] = {
        key: meta[key] for key in _FACTS if meta.get(key) is not None and key not in ("model", "task_id")
    }
    labels = facts.get("labels")
    if isinstance(labels, str):
        facts["labels"] = [labels]
    task = string(meta.get("task_id"))
    transcript = Transcript(
        id="",
        model=string(meta.get("model")),
        task=task,
        # METR names a task `family/task`.
        environment=task.split("/")[0] if task and "/" in task else None,
        ended=_ended([m for m in messages if m.origin == "main"]),
        messages=tuple(messages),
        metadata=facts,
        format=READER.name,
        reader_version=READER.version,
        source=context.source,
    )
    # Two runs may be alike to the letter; METR's run id tells them apart.
    made = content_hash(transcript)
    run = string(meta.get("run_id"))
    yield transcript.model_copy(update={"id": f"{made}-{run}" if run else made})


def _tree(row: dict[str, Any]) -> list[_Node]:
    found: list[_Node] = []
    for item in listing(row.get("nodes"), "nodes"):
        node = mapping(item, "node")
        data = mapping(node.get("node_data") or node, "node_data")
        when = number(data.get("first_called_at"))
        message = mapping(data.get("message"), "message")
        parent = string(node.get("parent_node_id"))
        found.append(_Node(str(node.get("node_id")), parent, message, when if when is not None else 0.0))
    return found


def _samples(row: dict[str, Any]) -> list[_Node]:
    """The tree of all generations: by node ids where messages have them, else by what stood before."""
    found: dict[str, _Node] = {}

    def grow(messages: list[Any], parent: str | None, when: int) -> str | None:
        for value in messages:
            m = mapping(value, "message")
            meta = mapping(_parsed(m.get("metadata")) or {}, "message.metadata")
            own = string(meta.get("node_id"))
            key = own or sha256(orjson.dumps([parent, m.get("role"), m.get("content"), m.get("function_call")])).hexdigest()
            given = string(meta.get("parent_node_id"))
            found.setdefault(key, _Node(key, given if given in found else parent, m, when))
            # The branch of the last generation is the one that stood at the end.
            parent = key
        return parent

    for when, item in enumerate(listing(row.get("samples"), "samples")):
        sample = mapping(item, "sample")
        last = grow(listing(sample.get("input"), "input"), None, when)
        for i, option in enumerate(listing(sample.get("output"), "output")):
            # Of several answers to one input the first counts, unless a later input goes on from another.
            grow(option if isinstance(option, list) else [option], last, when if i == 0 else when - 1)
    return list(found.values())


def _branch(nodes: list[_Node]) -> set[str]:
    """The keys from the last node up to the root."""
    by_key = {node.key: node for node in nodes}
    at: _Node | None = max(enumerate(nodes), key=lambda pair: (pair[1].when, pair[0]))[1]
    main: set[str] = set()
    while at is not None and at.key not in main:
        main.add(at.key)
        at = by_key.get(at.parent) if at.parent is not None else None
    return main


def _messages(nodes: list[_Node], main: set[str]) -> list[Message]:
    """All messages in their order; a function's result is paired with the call above it in the tree."""
    calls: dict[str, str] = {}
    parents = {node.key: node.parent for node in nodes}
    made: list[Message] = []
    for number_, node in enumerate(nodes):
        m = node.message
        role = ROLES.get(str(m.get("role")))
        if role is None:
            raise ShapeError(f"unknown role {m.get('role')!r}")
        text, reasoning = _content(m.get("content"), assistant=role == "assistant")
        update: dict[str, Any] = {}
        given = m.get("function_call")
        if isinstance(given, dict) and given.get("name"):
            calls[node.key] = f"call-{number_}"
            update["tool_calls"] = (call({**given, "id": calls[node.key]}),)
        if role == "tool":
            at = node.parent
            seen: set[str] = set()  # a forged tree may go round in a circle
            while at is not None and at not in calls and at not in seen:
                seen.add(at)
                at = parents.get(at)
            update["tool_call_id"] = calls.get(at) if at is not None else None
        origin = "main" if node.key in main else "rewound"
        made.append(
            Message.model_validate(
                {"role": role, "content": text, "reasoning": reasoning, "name": string(m.get("name")), "origin": origin, **update}
            )
        )
    return made


def _content(value: Any, *, assistant: bool) -> tuple[str, str | None]:
    value = _parsed(value) if isinstance(value, str) and value.startswith('[{"') else value
    if assistant and isinstance(value, list):
        parts = blocks(value)
        return parts.text, parts.reasoning
    return text_of(value), None


def _parsed(value: Any) -> Any:
    """Parquet keeps loose objects as JSON in a string."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _ended(main: list[Message]) -> Ended | None:
    said = [m for m in main if m.role == "assistant"]
    if not said:
        return None
    if any(m.submits for m in said[-2:]):
        return "submitted"
    return "final report" if main[-1] is said[-1] and not said[-1].tool_calls else "cut off"


READER = Reader(
    "malt",
    "METR MALT runs (Parquet, JSON Lines)",
    1,
    "record",
    sniff,
    read,
    ignores=(
        "nodes[].branch_id",
        "samples[].output[][].content[].type",
        "nodes[].node_data.metadata.*",
        "nodes[].node_data.source_generation_index",
    ),
)
