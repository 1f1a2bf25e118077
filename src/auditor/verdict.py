"""Verdict, Evidence, Status: what a detector says about one episode under one rubric, with the words that prove it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from auditor.rubric import View
from auditor.transcript import Channel

Tier = Literal["candidate", "judged", "reviewed"]


class Status(StrEnum):
    """Whether a verdict could be reached. Nothing but `ok` counts as flagged or as clean."""

    OK = "ok"
    NO_REASONING = "no_reasoning"
    """Nothing was found, and there was no reasoning in which to find it."""
    NO_REPORT = "no_report"
    """The run was cut off: it never had a chance to tell."""
    NOT_ASKED = "not_asked"
    """Nobody asked."""
    REFUSED = "refused"
    """The judge would not answer, or a filter kept it from answering."""
    UNPARSEABLE = "unparseable"
    """The answer had not the shape that was asked for, also when asked again."""
    UNSUPPORTED = "unsupported"
    """The judge said yes and could not quote what it rests on, also when asked again."""
    TRUNCATED = "truncated"
    """The answer was cut off by the server's limit."""
    TOO_LONG = "too_long"
    """The server would not take so much text."""
    ERROR = "error"
    """The call failed; the next run tries again."""
    SKIPPED = "skipped"
    """Not asked: not drawn, out of budget, or waiting for a batch (`error` says which)."""


class Evidence(BaseModel):
    """The words that a verdict rests on: characters [start, end) of a channel of a message, as they stand there."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    signal: str | None = None
    message: int
    channel: Channel
    start: int
    end: int
    quote: str


class Verdict(BaseModel):
    """One detector's word on one episode under one rubric; `flagged` None means: not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    episode_id: str
    rubric: str
    rubric_hash: str
    detector: str
    detector_version: int
    view: View = "all"
    tier: Tier
    status: Status
    flagged: bool | None
    level: int | None = None
    attributes: dict[str, JsonValue] = Field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    rationale: str = ""
    weight: float = 1.0
    error: str | None = None
