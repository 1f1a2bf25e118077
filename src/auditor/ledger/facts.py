"""The facts that a ledger holds: runs of commands and edits of files, each with where it was read."""

from __future__ import annotations

from typing import Literal, NamedTuple

from auditor.text import Lens
from auditor.transcript import Channel, Span

RunKind = Literal["test", "build", "lint", "other"]
Outcome = Literal["passed", "failed", "unknown"]
How = Literal["create", "replace", "patch", "delete", "move", "shown"]
Area = Literal["test", "harness", "config", "source", "scratch", "unknown"]


class Run(NamedTuple):
    """One command and how it ended. Counts are as printed, None where nothing was printed.

    `proof` is the span of the observation that decided the outcome (None when only a structured exit code did).
    """

    message: int
    result: int | None
    command: str
    kind: RunKind
    outcome: Outcome
    passed: int | None = None
    failed: int | None = None
    exit_code: int | None = None
    proof: Span | None = None


class Edit(NamedTuple):
    """Text that the model put into a file or took out of one; `how="shown"` is a code block in its prose.

    `added` and `removed` are lenses on the text of `channel` of `message`. `own`: the model made this file itself in
    this episode, so it is none of the given ones. `path` is as written, None where none is named.
    """

    message: int
    channel: Channel
    path: str | None
    how: How
    area: Area
    own: bool
    added: Lens
    removed: Lens


class Ledger(NamedTuple):
    """All runs and edits of an episode, in message order.

    `carried`: lines of the edits that compare with, or answer, a constant that first stood in an assertion.
    """

    runs: tuple[Run, ...]
    edits: tuple[Edit, ...]
    carried: tuple[Edit, ...] = ()
