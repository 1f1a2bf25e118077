"""What a run sent to model servers, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Stats:
    """What a run sent, and what came of it. `cost` is in USD; `unpriced` calls had no known price."""

    sent: int = 0
    cached: int = 0
    shared: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    unpriced: int = 0

    def add(self, other: Stats) -> None:
        """What another door has sent."""
        self.outcomes.update(other.outcomes)
        for name in ("sent", "cached", "shared", "prompt_tokens", "completion_tokens", "cost", "unpriced"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
