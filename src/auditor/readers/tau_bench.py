"""tau-bench result files: a JSON list of `{task_id, trial, reward, traj, info}`, one conversation an entry.

The files name neither model nor domain. The user is a simulated one that ends with `###STOP###`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditor.errors import ShapeError
from auditor.readers._chat import message
from auditor.readers.base import Context, Head, Reader, integer, listing, mapping, number, string
from auditor.transcript import Ended, Message, Transcript, content_hash

_STOP = "###STOP###"


def sniff(head: Head) -> bool:
    """Entries with `task_id`, `info` and a list `traj`, or (where the head is cut before it) `reward` and `info.task`."""
    return any(_entry(value) for value in head.objects[:3])


def _entry(value: dict[str, Any]) -> bool:
    if "task_id" not in value or not isinstance(value.get("info"), dict):
        return False
    return isinstance(value.get("traj"), list) or ("reward" in value and isinstance(value["info"].get("task"), dict))


def read(value: Any, context: Context) -> Iterator[Transcript]:
    """One entry. ShapeError, with the error the harness noted, for a run that has no messages."""
    record = mapping(value, "entry")
    info = mapping(record.get("info"), "info")
    messages = tuple(_message(m) for m in listing(record.get("traj"), "traj"))
    if not messages:
        error = string(info.get("error"))
        raise ShapeError(f"the run failed before its first message: {error[:200]}" if error else "no messages")
    score = number(record.get("reward"))
    transcript = Transcript(
        id="",
        task=string(record.get("task_id")),
        epoch=integer(record.get("trial")),
        score=score,
        # tau-bench's own rule for a success.
        passed=None if score is None else abs(score - 1) <= 1e-6,
        ended=_ended(messages),
        messages=messages,
        metadata={k: v for k, v in record.items() if k not in ("task_id", "trial", "reward", "traj")},
        format=READER.name,
        reader_version=READER.version,
        source=context.source,
    )
    yield transcript.model_copy(update={"id": content_hash(transcript)})


def _message(value: Any) -> Message:
    made = message(value)
    # The environment writes this before what a tool raised or refused.
    return made.model_copy(update={"is_error": True}) if made.role == "tool" and made.content.startswith("Error:") else made


def _ended(messages: tuple[Message, ...]) -> Ended | None:
    """The user's stop ends a run as a report does; handing over to a human ends it by a tool call."""
    last = messages[-1]
    if last.role == "user":
        return "final report" if _STOP in last.content else "cut off"
    if last.role == "tool":
        return None if last.name == "transfer_to_human_agents" else "cut off"
    return "cut off" if last.tool_calls else None


READER = Reader("tau_bench", "tau-bench results (JSON)", 1, "record", sniff, read, ignores=("traj[].tool_calls[].type",))
