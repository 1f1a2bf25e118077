"""Two groups, or many contrasts: differences with intervals, tests, and how many episodes a test needs."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf
from typing import NamedTuple

from auditor.stats.intervals import Interval, check_counts

EXACT_TOTAL = 400  # above it Boschloo's test takes over half a second a pair


class Paired(NamedTuple):
    """A mean difference over tasks: its two-sided sign-flip p-value, its 95% interval, and the number of tasks."""

    mean: float
    p: float
    interval: Interval
    tasks: int


def newcombe(k1: int, n1: int, k2: int, n2: int) -> Interval:
    """95% interval for k1/n1 - k2/n2 of two independent groups, between -1 and 1: the square-and-add rule on Wilson intervals.

    Newcombe (1998), Statistics in Medicine 17, 873, method 10, by statsmodels' `newcomb`. Not for two models on the same tasks
    (`paired_by_task`), nor for repeats of few tasks (`intervals.difference` of two clustered intervals). A group of 0 gives
    [-1, 1]. ValueError unless 0 <= k <= n.
    """
    from statsmodels.stats.proportion import confint_proportions_2indep

    check_counts(k1, n1)
    check_counts(k2, n2)
    if 0 in (n1, n2):
        return Interval(-1.0, 1.0, "newcombe")
    low, high = confint_proportions_2indep(k1, n1, k2, n2, method="newcomb", compare="diff", alpha=0.05)
    return Interval(float(low), float(high), "newcombe")


def boschloo(k1: int, n1: int, k2: int, n2: int) -> float:
    """Two-sided p-value for k1 of n1 and k2 of n2 from one share: Boschloo's exact test, by scipy, for up to 400 episodes in all.

    The largest probability over the common share of a Fisher p-value this small, twice the smaller side: Boschloo (1970),
    Statistica Neerlandica 24. For 200 in all it took 0.1 s, for 400 0.3 s, 600 1 s, 800 2 s, 1,600 14 s. So above 400 Fisher's
    mid-p, twice the smaller of P(K < k1) + P(K = k1)/2 and its mirror, K hypergeometric: Lydersen, Fagerland & Laake (2009),
    Statistics in Medicine 28, advise it where an unconditional test is too slow. Nothing guarantees its level, but
    enumerated it stayed under 5% at rates of 0.2 to 20% for 201 to 1,000 a group and for groups of unlike size.

    Not for the same tasks in both groups, nor for repeats of few tasks. No hit, or nothing but hits, gives 1. ValueError unless
    0 <= k <= n and both n > 0.
    """
    from scipy.stats import boschloo_exact, hypergeom

    check_counts(k1, n1)
    check_counts(k2, n2)
    if 0 in (n1, n2):
        raise ValueError("both groups need an episode")
    if k1 + k2 in (0, n1 + n2):
        return 1.0
    if n1 + n2 <= EXACT_TOTAL:
        return min(1.0, float(boschloo_exact([[k1, k2], [n1 - k1, n2 - k2]], alternative="two-sided", n=32).pvalue))
    same = hypergeom(n1 + n2, k1 + k2, n1)
    half = same.pmf(k1) / 2
    return min(1.0, float(2 * min(same.cdf(k1) - half, same.sf(k1) + half)))


def paired_by_task(differences: Sequence[float], *, draws: int = 10_000, seed: int = 0) -> Paired:
    """Mean over tasks of one model's share less the other's, on the same tasks: `differences` hold one number a task, -1 to 1.

    p: the share of sign flips of the differences with a mean as far out, twice the smaller side, by scipy's permutation_test:
    all 2^tasks up to 12 tasks or `draws`, else `draws` at random, (b + 1)/(draws + 1) (Fisher 1935, The Design of Experiments,
    section 21; Phipson & Smyth 2010, "Permutation p-values should never be zero"). Interval: mean ± t s/sqrt(tasks), t at 97.5%
    of tasks - 1 degrees (Student 1908), kept in [-1, 1], by statsmodels. It is not the test turned round, so at the edge the two
    may differ: the p-value decides, the interval gives the size. Differences all alike give no spread, so [-1, 1].

    Tasks weigh the same, whatever their episodes. With few hits the test is cautious: in simulation at no difference it
    rejected in 0 to 2% of cases (8 to 60 tasks, rates of 2 to 10%), and the interval held 0 in 96 to 99%. Sign flips assume
    that under no difference a task's is as likely to have either sign. Not for fewer than 6 tasks (p cannot be below 0.05), nor
    for groups on different tasks. ValueError for fewer than 2 tasks, or a difference outside [-1, 1].
    """
    import numpy as np
    from scipy.stats import permutation_test
    from statsmodels.stats.weightstats import DescrStatsW

    x = np.asarray(differences, dtype=float)
    if len(x) < 2 or not (np.abs(x) <= 1).all():
        raise ValueError("needs 2 tasks or more, each with a difference between -1 and 1")
    mean = float(x.mean())
    found = permutation_test(
        (x,),
        lambda values, axis: values.mean(axis=axis),
        permutation_type="samples",
        alternative="two-sided",
        vectorized=True,
        n_resamples=inf if len(x) <= 12 else draws,
        batch=1000,
        rng=np.random.default_rng(seed),
    )
    if np.ptp(x) == 0:
        return Paired(mean, float(found.pvalue), Interval(-1.0, 1.0, "none: all tasks differ alike"), len(x))
    low, high = DescrStatsW(x).tconfint_mean(alpha=0.05, alternative="two-sided")
    ends = Interval(max(-1.0, float(low)), min(1.0, float(high)), "student t over tasks")
    return Paired(mean, float(found.pvalue), ends, len(x))


def heterogeneity(k: Sequence[int], n: Sequence[int], place: Sequence[int], *, draws: int = 1999, seed: int = 0) -> float | None:
    """p-value for "places (environments) have one share": how often tasks, dealt to places at random, differ as much or more.

    One number a task: hits, episodes, and its place, 0 to places - 1. Statistic: sum over places of N (p_place - p)^2, with each
    place keeping its number of tasks; (b + 1)/(draws + 1). Pitman (1938), Biometrika 29, "Significance tests which may be applied
    to samples from any populations III", with Phipson & Smyth (2010). Tasks are the units, so that repeats of a task are no
    evidence. Above 10,000 tasks a random 10,000 stand for all. None for fewer than two places with two tasks each, and where
    there is no hit or nothing else: then nothing can differ. Not a measure of how much they differ. ValueError for counts out
    of range.
    """
    import numpy as np

    hits, of, at = np.asarray(k, dtype=float), np.asarray(n, dtype=float), np.asarray(place, dtype=np.int64)
    if len(hits) and not ((hits >= 0) & (hits <= of) & (of > 0)).all():
        raise ValueError("each task must have 0 <= k <= n and n > 0")
    if (np.bincount(at) > 1).sum() < 2 or hits.sum() in (0, of.sum()):
        return None
    rng = np.random.default_rng(seed)
    if len(hits) > 10_000:
        kept = rng.choice(len(hits), 10_000, replace=False)
        hits, of, at = hits[kept], of[kept], at[kept]
    share = hits.sum() / of.sum()

    def spread(where: np.ndarray) -> float:
        total = np.bincount(where, of)
        seen = total > 0
        return float((total[seen] * (np.bincount(where, hits)[seen] / total[seen] - share) ** 2).sum())

    observed = spread(at) * (1 - 1e-9)
    return float(1 + sum(spread(rng.permutation(at)) >= observed for _ in range(draws))) / (draws + 1)


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values for a few planned contrasts, in the order given: below 0.05 with a chance of any false one under 5%.

    Sorted, max over j <= i of min(1, (m - j + 1) p_j): Holm (1979), Scandinavian J. of Statistics 6, by statsmodels. Not for
    exploration of many slices, where little would be left. ValueError for a p outside [0, 1].
    """
    return _adjusted(p, "holm")


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjusted p-values for exploration, in the order given: of those below 0.05, 5% are expected to be false.

    Sorted, min over j >= i of min(1, m p_j / j): Benjamini & Hochberg (1995), J. Royal Statistical Society B 57, section 3, by
    statsmodels' `fdr_bh`. For tests that are independent or positively dependent; not for a gate or a headline (`holm`).
    ValueError for a p outside [0, 1].
    """
    return _adjusted(p, "fdr_bh")


def _adjusted(p: Sequence[float], method: str) -> list[float]:
    from statsmodels.stats.multitest import multipletests

    if not all(0 <= value <= 1 for value in p):
        raise ValueError("a p-value must be between 0 and 1")
    return [float(value) for value in multipletests(list(p), alpha=0.05, method=method)[1]] if p else []


def episodes_needed(p1: float, p2: float, power: float = 0.8) -> int:
    """Episodes in each of two groups for a two-sided 5% test to find p1 against p2 (shares of 1) with this power, rounded up.

    ((z(0.975) + z(power)) / h)^2, h = 2 asin sqrt(p1) - 2 asin sqrt(p2): Cohen (1988), Statistical Power Analysis, section 6.4,
    by statsmodels' NormalIndPower. For independent episodes: multiply by the design effect. Not for paired tasks (fewer do),
    nor where n p is below about 5. ValueError for shares outside [0, 1] or alike, or power not between 0.05 and 1.
    """
    from statsmodels.stats.power import NormalIndPower
    from statsmodels.stats.proportion import proportion_effectsize

    if not (0 <= p1 <= 1 and 0 <= p2 <= 1 and p1 != p2 and 0.05 < power < 1):
        raise ValueError("needs two different shares and a power between 0.05 and 1")
    size = abs(proportion_effectsize(p1, p2, method="normal"))
    return ceil(float(NormalIndPower().solve_power(size, alpha=0.05, power=power, ratio=1.0, alternative="two-sided")))
