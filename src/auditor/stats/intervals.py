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


def check_counts(k: float, n: float) -> None:
    """ValueError unless 0 <= k <= n: the counts that every function here takes."""
    if not 0 <= k <= n:
        raise ValueError(f"k/n must have 0 <= k <= n, got {k}/{n}")


def wilson(k: int, n: int) -> Interval:
    """The 95% Wilson score interval for k of n (Wilson 1927; Brown, Cai & DasGupta 2001, section 3.1.1), by statsmodels.

    n = 0 gives [0, 1]: nothing is known. Too narrow where episodes are repeats of few tasks.
    ValueError unless 0 <= k <= n.
    """
    from statsmodels.stats.proportion import proportion_confint  # a second to import, so only where it is used

    check_counts(k, n)
    if n == 0:
        return Interval(0.0, 1.0, "wilson")
    low, high = proportion_confint(k, n, alpha=0.05, method="wilson")
    return Interval(0.0 if k == 0 else float(low), 1.0 if k == n else float(high), "wilson")


def clopper_pearson(k: int, n: int) -> Interval:
    """The 95% Clopper-Pearson interval for k of n, a share of 1: every p that neither exact tail (2.5% each) rejects.

    low = Beta(k, n - k + 1) at 2.5%, high = Beta(k + 1, n - k) at 97.5% (Clopper & Pearson 1934, Biometrika 26; Brown, Cai &
    DasGupta 2001, section 4.2.1), by statsmodels' `beta`. It never covers less than 95%, so it is wider than needed: the
    conservative one beside Wilson, not the headline. Not for repeats of few tasks. n = 0 gives [0, 1].
    ValueError unless 0 <= k <= n.
    """
    from statsmodels.stats.proportion import proportion_confint

    check_counts(k, n)
    if n == 0:
        return Interval(0.0, 1.0, "clopper-pearson")
    low, high = proportion_confint(k, n, alpha=0.05, method="beta")
    return Interval(0.0 if k == 0 else float(low), 1.0 if k == n else float(high), "clopper-pearson")


def jeffreys(k: int, n: int) -> Interval:
    """The 95% equal-tailed Jeffreys interval for k of n, a share of 1: Beta(k + 1/2, n - k + 1/2) at 2.5% and 97.5%.

    Brown, Cai & DasGupta (2001), section 3.1.3, with their ends: low is 0 for k = 0, high is 1 for k = n. By statsmodels. Its
    coverage is 95% on average over p and dips to 88% at single rates; not where 95% must be kept at every rate (Clopper-Pearson),
    nor for repeats of few tasks. n = 0 gives [0, 1]. ValueError unless 0 <= k <= n.
    """
    from statsmodels.stats.proportion import proportion_confint

    check_counts(k, n)
    if n == 0:
        return Interval(0.0, 1.0, "jeffreys")
    low, high = proportion_confint(k, n, alpha=0.05, method="jeffreys")
    return Interval(0.0 if k == 0 else float(low), 1.0 if k == n else float(high), "jeffreys")


def upper_at_zero(n: float) -> float:
    """The exact one-sided 95% upper bound for a share of which 0 of n were seen: 1 - 0.05^(1/n), about 3/n; 1 for n = 0.

    The p at which 0 of n has probability 0.05: Hanley & Lippman-Hand (1983), JAMA 249, "If nothing goes wrong, is everything all
    right?". For repeats of few tasks n is the number of tasks. Not for k > 0, and not beside two-sided intervals without saying
    that it is one-sided. ValueError for n < 0.
    """
    if n < 0:
        raise ValueError(f"n must not be negative, got {n}")
    return 1.0 if n == 0 else float(1 - 0.05 ** (1 / n))


def upper(k: float, n: float) -> float:
    """One-sided 95% Wilson upper bound for k of n, a share of 1: what a gate compares with its limit. For k = 0 `upper_at_zero`.

    The larger p with (k/n - p)^2 = z^2 p(1 - p)/n, z = 1.645 (Wilson 1927; one-sided in Cai 2005, J. Statistical Planning and
    Inference 131): the end of statsmodels' two-sided 90% interval. At zero Wilson's own is too low, hence the exact one; so
    mended it covers 93.5% or more for n of 100 to 1,000 and rates of 0.2 to 20% (enumerated). `k` and `n` may be effective
    counts: both over the design effect. Not the end of a two-sided interval. n = 0 gives 1. ValueError unless 0 <= k <= n.
    """
    from statsmodels.stats.proportion import proportion_confint

    check_counts(k, n)
    if k == 0:
        return upper_at_zero(n)
    return 1.0 if k == n else float(proportion_confint(k, n, alpha=0.10, method="wilson")[1])


def lower(k: float, n: float) -> float:
    """One-sided 95% Wilson lower bound for k of n: 1 - upper(n - k, n). For k = n the exact 0.05^(1/n); n = 0 gives 0.

    Formula, source and errors as for `upper`. Not for a handful of hits: at low rates it is too high (Cai 2005), and
    covers as little as 80% with 100 episodes, 86% with 300, 90% with 1,000 (enumerated); `clopper_pearson(k, n).low` keeps 97.5%.
    """
    check_counts(k, n)
    return 1 - upper(n - k, n)


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


def cluster_bootstrap(k: Sequence[int], n: Sequence[int], *, draws: int = 2000, seed: int = 0) -> Interval:
    """95% BCa bootstrap interval for the share sum(k)/sum(n), drawing whole clusters (tasks) with replacement, never episodes.

    Efron (1987), J. American Statistical Association 82, "Better bootstrap confidence intervals"; over clusters Davison &
    Hinkley (1997), section 3.8; by scipy.stats.bootstrap. One number a cluster; clusters with n = 0 are left out. Not for rare
    events or few clusters, where the draws cannot show what was not seen: ValueError with fewer than 20 clusters that have a
    hit, or fewer than 20 that have a miss (`clustered_wilson` there), and unless each has 0 <= k <= n. Nor where about 20 of
    them are expected to have one: the audits that pass are those with too many, and their interval is too high (9 of 400
    passed, 6 covered).
    """
    import numpy as np
    from scipy.stats import bootstrap

    pairs = [(a, b) for a, b in zip(k, n, strict=True) if b]
    for a, b in pairs:
        check_counts(a, b)
    if min(sum(a > 0 for a, _ in pairs), sum(a < b for a, b in pairs)) < 20:
        raise ValueError("a cluster bootstrap needs 20 clusters with a hit, and 20 with a miss, or more")
    found = bootstrap(
        tuple(np.array(column, dtype=float) for column in zip(*pairs, strict=True)),
        lambda hits, of, axis: hits.sum(axis=axis) / of.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=draws,
        batch=100,
        confidence_level=0.95,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(found.low), float(found.high), "bootstrap over clusters, BCa")


def difference(a: float, of_a: Interval, b: float, of_b: Interval) -> Interval:
    """95% interval for a - b of two independent shares with intervals of their own: the square-and-add rule.

    Newcombe (1998), Statistics in Medicine 17, method 10; for any intervals Zou & Donner (2008), section 2 (MOVER). Between
    -1 and 1. Not for paired shares: there it is too wide.
    """
    low = a - b - sqrt((a - of_a.low) ** 2 + (of_b.high - b) ** 2)
    high = a - b + sqrt((of_a.high - a) ** 2 + (b - of_b.low) ** 2)
    return Interval(low, high, f"square-and-add of {of_a.method}")
