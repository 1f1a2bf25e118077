"""What people say of episodes: `labels.jsonl`, a line a label, appended and never changed; the last one of a reviewer stands."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from auditor.errors import StoreError
from auditor.rubric import Rubric
from auditor.store import Audit
from auditor.transcript import Channel

NAME = "labels.jsonl"
AGREED = "agreed"
"""No reviewer's name: it stands for all of them."""
LONGEST_NAME, LONGEST_NOTE = 80, 10_000
"""In characters."""


class Mark(BaseModel):
    """Words that a reviewer chose: characters [start, end) of a channel of a message."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    message: int = Field(ge=0)
    channel: Channel
    start: int = Field(ge=0)
    end: int
    quote: str = Field(max_length=20_000)


class Label(BaseModel):
    """One person's word on one episode under one rubric. `unclear`: read, and could not be told; it has no level and no flag.

    `queued` labels came out of the queue, from `stratum`; others were picked by hand and stand for no other episode.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    reviewer: str = Field(min_length=1, max_length=LONGEST_NAME)
    rubric: str = Field(min_length=1)
    episode_id: str = Field(min_length=1)
    level: int | None = None
    flagged: bool | None = None
    unclear: bool = False
    note: str = Field(default="", max_length=LONGEST_NOTE)
    evidence: tuple[Mark, ...] = ()
    blind: bool = False
    queued: bool = False
    stratum: str | None = None
    rubric_hash: str | None = None
    at: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @model_validator(mode="after")
    def _told(self) -> Label:
        if self.unclear != (self.flagged is None):
            raise ValueError("a label says flagged true or false, or it is unclear")
        if self.unclear and self.level is not None:
            raise ValueError("an unclear label has no level")
        if self.reviewer == AGREED:
            raise ValueError(f"no reviewer may be called {AGREED}")
        return self


class Step(NamedTuple):
    """A value of a rubric's scale, with the (name, rule) of each level that has it."""

    value: int
    rules: tuple[tuple[str, str], ...]
    flagged: bool


def scale(rubric: Rubric) -> list[Step]:
    """What a reviewer chooses from, in order."""
    values = sorted({level.value for level in rubric.levels})
    return [Step(v, tuple((x.name, x.rule) for x in rubric.levels if x.value == v), v >= rubric.flag_from) for v in values]


def of_level(rubric: Rubric, level: int | None, **facts: Any) -> Label:
    """A label with this level, None for unclear. `facts` are the other fields of a label; ValidationError where one does not fit."""
    flagged = None if level is None else level >= rubric.flag_from
    return Label(rubric=rubric.id, rubric_hash=rubric.judge_hash, level=level, flagged=flagged, unclear=level is None, **facts)


def append(audit: Audit, label: Label) -> None:
    """Add one label, on disk before this returns. Several reviewers may write at once. StoreError where it cannot be written."""
    path = audit.path / NAME
    try:
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # A kill may have left half a line: the next label starts a new one.
            torn = file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
            file.write((b"\n" if torn else b"") + label.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreError(f"{path}: cannot write the label ({error.strerror})") from None


def load(audit: Audit) -> list[Label]:
    """All labels of an audit in the order in which they were given. StoreError names file and line of one that cannot be read."""
    path = audit.disk.at(NAME)
    found = []
    try:
        with audit.disk.open(NAME) as file:
            if audit.disk.filesystem is None:
                # Nobody is half-way through a line while we read.
                fcntl.flock(file, fcntl.LOCK_SH)
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(Label.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise StoreError(
                f"{path}, line {number}: no label ({where + ': ' if where else ''}{first['msg'][:120]}); mend or delete the line"
            ) from None
    return found


def standing(labels: Iterable[Label]) -> list[Label]:
    """Of each reviewer, rubric and episode the last label."""
    return list({(one.reviewer, one.rubric, one.episode_id): one for one in labels}.values())
