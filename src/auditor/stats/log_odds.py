"""Which words set one group of texts apart from another."""

from __future__ import annotations

from collections.abc import Mapping
from math import log, sqrt
from typing import NamedTuple


class Odds(NamedTuple):
    """A word: its log-odds ratio of the first group to the second, shrunk by the prior, and that over its standard error."""

    word: str
    first: int
    second: int
    delta: float
    z: float


def informative(first: Mapping[str, int], second: Mapping[str, int], *, prior: float | None = None) -> list[Odds]:
    """All words of the two counts, by falling z: log-odds with an informative Dirichlet prior.

    alpha_w = alpha_0 (y1_w + y2_w) / (n1 + n2); delta_w = log((y1_w + alpha_w) / (n1 + alpha_0 - y1_w - alpha_w)) less the same of the second
    group; variance 1/(y1_w + alpha_w) + 1/(y2_w + alpha_w). Monroe, Colaresi & Quinn (2008), "Fightin' Words", Political Analysis
    16, sections 3.3 to 3.5.1. alpha_0 is how many observations the prior is worth; unless given, the n of the smaller group, so that
    in small groups it does not drown them. Words are taken as independent, so z ranks and does not test. A group without counts gives nothing, one word alone neither.
    """
    n1, n2 = sum(first.values()), sum(second.values())
    if not n1 or not n2 or len(first.keys() | second.keys()) < 2:
        return []
    strength = min(n1, n2) if prior is None else prior
    found = []
    for word in first.keys() | second.keys():
        y1, y2 = first.get(word, 0), second.get(word, 0)
        alpha = strength * (y1 + y2) / (n1 + n2)
        delta = log((y1 + alpha) / (n1 + strength - y1 - alpha)) - log((y2 + alpha) / (n2 + strength - y2 - alpha))
        found.append(Odds(word, y1, y2, delta, delta / sqrt(1 / (y1 + alpha) + 1 / (y2 + alpha))))
    return sorted(found, key=lambda o: (-o.z, o.word))
