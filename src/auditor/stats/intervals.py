"""Intervals for a proportion k/n. Counts in, numbers between 0 and 1 out."""

from __future__ import annotations

from typing import NamedTuple


class Interval(NamedTuple):
    """A two-sided 95% interval for a proportion, with the name of its method."""

    low: float
    high: float
    method: str


def wilson(k: int, n: int) -> Interval:
    """The 95% Wilson score interval for k of n (Wilson 1927; Brown, Cai & DasGupta 2001, section 3.1.1), by statsmodels.

    n = 0 gives [0, 1]: nothing is known. Too narrow where episodes are repeats of few tasks.
    ValueError unless 0 <= k <= n.
    """
    from statsmodels.stats.proportion import proportion_confint  # a second to import, so only where it is used

    if not 0 <= k <= n:
        raise ValueError(f"k/n must have 0 <= k <= n, got {k}/{n}")
    if n == 0:
        return Interval(0.0, 1.0, "wilson")
    low, high = proportion_confint(k, n, alpha=0.05, method="wilson")
    return Interval(0.0 if k == 0 else float(low), 1.0 if k == n else float(high), "wilson")
