"""Intervals for a proportion k/n, and for the difference of two. Counts in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple


class Interval(NamedTuple):
    """A two-sided 95% interval, with the name of its method."""

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


def design_effect(k: Sequence[int], n: Sequence[int]) -> float:
    """How much wider clusters make the variance of the pooled share sum(k)/sum(n): at least 1; 1 where k is 0 or n.

    Variance of a ratio estimate over clusters, C/(C-1) sum((k_i - p n_i)^2) / N^2 (Cochran 1977, Sampling Techniques, section
    3.12), over that of N independent draws, p(1-p)/N (Kish 1965). `k` and `n` hold one number a cluster, n > 0. Not for fewer
    than two clusters: they say nothing of the spread between clusters, so ValueError.
    """
    if len(k) < 2:
        raise ValueError("a design effect needs two clusters or more")
    total, p = sum(n), sum(k) / sum(n)
    if p in (0.0, 1.0):
        return 1.0
    clusters = len(k)
    between = clusters / (clusters - 1) * sum((a - p * b) ** 2 for a, b in zip(k, n, strict=True)) / total**2
    return max(1.0, between / (p * (1 - p) / total))


def clustered_wilson(k: Sequence[int], n: Sequence[int]) -> Interval:
    """95% Wilson interval for sum(k) of sum(n) on the effective n: sum(n) / design effect; the number of clusters for 0 or n of n.

    One number a cluster (a task, with its episodes and their repeats). With one cluster the effective n is 1: what one task
    shows says nothing of others. Kish (1965), Survey Sampling, section 8.2; Korn & Graubard (1998) use it with another interval.
    """
    from statsmodels.stats.proportion import proportion_confint

    pairs = [(a, b) for a, b in zip(k, n, strict=True) if b]
    total, hits = sum(b for _, b in pairs), sum(a for a, _ in pairs)
    if not 0 <= hits <= total or any(a < 0 or a > b for a, b in pairs):
        raise ValueError("each cluster must have 0 <= k <= n")
    method = "wilson, n effective by cluster"
    if total == 0:
        return Interval(0.0, 1.0, method)
    alike = len(pairs) == 1 or hits in (0, total)
    effective = len(pairs) if alike else total / design_effect(*zip(*pairs, strict=True))
    low, high = proportion_confint(hits / total * effective, effective, alpha=0.05, method="wilson")
    return Interval(0.0 if hits == 0 else float(low), 1.0 if hits == total else float(high), method)


def difference(a: float, of_a: Interval, b: float, of_b: Interval) -> Interval:
    """95% interval for a - b of two independent shares with intervals of their own: the square-and-add rule.

    Newcombe (1998), Statistics in Medicine 17, method 10; for any intervals Zou & Donner (2008), section 2 (MOVER). Between
    -1 and 1. Not for paired shares: there it is too wide.
    """
    low = a - b - sqrt((a - of_a.low) ** 2 + (of_b.high - b) ** 2)
    high = a - b + sqrt((of_a.high - a) ** 2 + (b - of_b.low) ** 2)
    return Interval(low, high, f"square-and-add of {of_a.method}")
