"""Who is judged: all candidates, and a sample of the rest with a known probability.

The draw is a hash of episode id and seed: it needs no list of episodes, and taking a run up again changes nothing.
"""

from __future__ import annotations

import hashlib
from typing import Literal, NamedTuple

JudgeOn = Literal["candidates", "all"]


class Draw(NamedTuple):
    """Whether an episode goes to the judge, from which stratum, and with which probability (0 to 1)."""

    stratum: Literal["candidate", "rest", "all"]
    inclusion: float
    chosen: bool

    @property
    def weight(self) -> float:
        """1 / inclusion probability for a chosen episode, 0 for one that was not drawn."""
        return 1 / self.inclusion if self.chosen else 0.0


def uniform(episode_id: str, seed: int) -> float:
    """A number in [0, 1) that depends on nothing but id and seed."""
    digest = hashlib.sha256(f"{seed}\0{episode_id}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def draw(episode_id: str, *, candidate: bool, judge_on: JudgeOn, sample_rest: float, seed: int) -> Draw:
    """The draw of one episode for one rubric. With `judge_on` all every episode is its own stratum's whole."""
    if judge_on == "all":
        return Draw("all", 1.0, chosen=True)
    if candidate:
        return Draw("candidate", 1.0, chosen=True)
    return Draw("rest", sample_rest, uniform(episode_id, seed) < sample_rest)
