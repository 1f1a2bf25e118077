"""What a run of asking is told, and how far it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from auditor.judging import JudgeOptions


@dataclass(frozen=True)
class AskOptions:
    """Who plays which model (`models`: a file), which rungs, how often, against how many controls; who codes (`judge`).

    `tier` candidate asks candidates that no judge has read too. Without `judge` signals propose the classes.
    """

    models: str | None = None
    rungs: tuple[str, ...] = ()
    samples: int = 3
    controls: float = 1.0
    sample_rest: float = 0.05
    tier: Literal["judged", "candidate"] = "judged"
    seed: int = 0
    max_cost: float | None = None
    judge: JudgeOptions | None = None
    rubrics: str | None = None


@dataclass
class Progress:
    """How far it is: `counts` has jobs (episodes in a role), asked ones, and all sorts of things that were left out."""

    counts: Counter[str] = field(default_factory=Counter)
    door: Any = None
