"""Intervals against their own formulas, written out, against the examples of their papers, other libraries and simulation."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.stats import beta, binom, binomtest
from statsmodels.stats.proportion import confint_proportions_2indep

from auditor.stats.intervals import (
    clopper_pearson,
    cluster_bootstrap,
    clustered_wilson,
    design_effect,
    difference,
    jeffreys,
    lower,
    upper,
    upper_at_zero,
    wilson,
)

RATES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (3, 1000), (500, 1000)])
def test_it_equals_the_formula(k, n):
    z = 1.959963984540054
    p = k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    found = wilson(k, n)
    assert found.low == pytest.approx(max(0, centre - half), abs=1e-12)
    assert found.high == pytest.approx(min(1, centre + half), abs=1e-12)
    assert found.method == "wilson"


def test_the_ends_are_exact_and_nothing_is_everything():
    assert wilson(0, 30).low == 0.0
    assert wilson(30, 30).high == 1.0
    assert wilson(0, 30).high == pytest.approx(0.1135, abs=1e-4), "0 of 30 still allows 11%"
    assert wilson(0, 0)[:2] == (0.0, 1.0)


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="0 <= k <= n"):
        wilson(4, 3)


def test_a_known_design_effect():
    # Two clusters of 10, 8 and 2 hits: variance 2 * (3² + 3²) / 20² = 0.09 over 0.25 / 20 = 0.0125.
    assert design_effect([8, 2], [10, 10]) == pytest.approx(7.2)
    assert design_effect([5, 5], [10, 10]) == 1.0
    with pytest.raises(ValueError, match="two clusters"):
        design_effect([1], [2])


def test_clusters_of_one_are_plain_wilson_and_equal_clusters_count_once():
    plain = wilson(7, 40)
    assert clustered_wilson([1] * 7 + [0] * 33, [1] * 40)[:2] == pytest.approx(plain[:2], abs=0.003)
    assert clustered_wilson([5] * 4 + [0] * 16, [5] * 20)[:2] == pytest.approx(wilson(4, 20)[:2], abs=0.02)
    assert clustered_wilson([0] * 8, [30] * 8)[:2] == wilson(0, 8)[:2]
    assert clustered_wilson([30] * 8, [30] * 8)[:2] == wilson(8, 8)[:2]
    assert clustered_wilson([3], [30]).high > 0.7
    assert clustered_wilson([], [])[:2] == (0.0, 1.0)
    with pytest.raises(ValueError, match="0 <= k <= n"):
        clustered_wilson([3, -1], [2, 5])


def test_a_difference_is_newcombes():
    # Newcombe (1998), Statistics in Medicine 17, table II, method 10, example (a): 56/70 against 48/80.
    found = difference(56 / 70, wilson(56, 70), 48 / 80, wilson(48, 80))
    assert found[:2] == pytest.approx((0.0524, 0.3339), abs=5e-5)
    other = confint_proportions_2indep(9, 10, 3, 10, method="newcomb")
    assert difference(0.9, wilson(9, 10), 0.3, wilson(3, 10))[:2] == pytest.approx(other)
    assert difference(1.0, wilson(9, 9), 0.0, wilson(0, 9)).high == 1.0


@pytest.mark.slow
def test_clustered_wilson_covers_where_plain_wilson_does_not():
    # The codebook's case: 50 tasks of 10, p = 0.05, intra-class correlation 0.3 (beta-binomial).
    rng = np.random.default_rng(5)
    p, rho, runs = 0.05, 0.3, 1500
    a, b = p * (1 - rho) / rho, (1 - p) * (1 - rho) / rho
    covered = np.zeros(2)
    for _ in range(runs):
        k = rng.binomial(10, rng.beta(a, b, 50))
        for i, found in enumerate((clustered_wilson(k.tolist(), [10] * 50), wilson(int(k.sum()), 500))):
            covered[i] += found.low <= p <= found.high
    assert covered[0] / runs > 0.90
    assert covered[1] / runs < 0.75


@pytest.mark.parametrize(
    ("k", "n", "low", "high"), [(81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (0, 20, 0, 0.1684), (1, 29, 0.0009, 0.1776)]
)
def test_clopper_pearson_is_newcombes_and_scipys(k, n, low, high):
    # Newcombe (1998), Statistics in Medicine 17, 857, table I, method 3.
    assert clopper_pearson(k, n)[:2] == pytest.approx((low, high), abs=5e-5)
    other = binomtest(k, n).proportion_ci(0.95, method="exact")
    assert clopper_pearson(k, n)[:2] == pytest.approx((other.low, other.high))


@pytest.mark.parametrize(("k", "n", "low", "high"), [(0, 7, 0, 0.292), (1, 7, 0.016, 0.501), (0, 10, 0, 0.217)])
def test_jeffreys_is_brown_cai_and_dasguptas_and_scipys(k, n, low, high):
    # Brown, Cai & DasGupta (2001), Statistical Science 16, table 5.
    assert jeffreys(k, n)[:2] == pytest.approx((low, high), abs=5e-4)
    assert jeffreys(k, n).high == pytest.approx(beta.ppf(0.975, k + 0.5, n - k + 0.5))


@pytest.mark.parametrize("method", [clopper_pearson, jeffreys])
def test_the_others_have_the_same_ends(method):
    assert method(0, 30).low == 0.0
    assert method(30, 30).high == 1.0
    assert method(30, 30).low == pytest.approx(1 - method(0, 30).high)
    assert method(0, 0)[:2] == (0.0, 1.0)
    for k, n in ((4, 3), (-1, 3)):
        with pytest.raises(ValueError, match="0 <= k <= n"):
            method(k, n)


def test_the_bound_at_zero():
    # Hanley & Lippman-Hand (1983), JAMA 249: 0 of 14 allows 19.3%.
    assert upper_at_zero(14) == pytest.approx(0.193, abs=5e-4)
    assert upper_at_zero(1000) == pytest.approx(3 / 1000, rel=0.01)
    assert binom.cdf(0, 50, upper_at_zero(50)) == pytest.approx(0.05)
    assert upper_at_zero(0) == 1.0
    with pytest.raises(ValueError, match="negative"):
        upper_at_zero(-1)


@pytest.mark.parametrize(("k", "n"), [(1, 100), (5, 240), (12.5, 83.3), (99, 100)])
def test_a_one_sided_bound_solves_the_score_equation(k, n):
    for bound, sign in ((upper(k, n), 1), (lower(k, n), -1)):
        assert sign * (bound - k / n) / sqrt(bound * (1 - bound) / n) == pytest.approx(1.6448536269514722)


def test_one_sided_ends():
    assert upper(0, 30) == upper_at_zero(30)
    assert lower(30, 30) == pytest.approx(0.05 ** (1 / 30))
    assert (lower(0, 30), upper(30, 30), lower(0, 0), upper(0, 0)) == (0.0, 1.0, 0.0, 1.0)
    for bound in (upper, lower):
        with pytest.raises(ValueError, match="0 <= k <= n"):
            bound(4, 3)


def test_a_cluster_bootstrap_has_the_width_of_the_linearised_variance():
    # 200 clusters: the normal interval on Cochran's variance of a ratio (design_effect) is the large-sample answer.
    rng = np.random.default_rng(1)
    n = rng.integers(5, 15, 200)
    k = rng.binomial(n, rng.beta(2, 6, 200))
    p, total = k.sum() / n.sum(), n.sum()
    half = 1.96 * sqrt(design_effect(k.tolist(), n.tolist()) * p * (1 - p) / total)
    found = cluster_bootstrap(k.tolist(), n.tolist())
    assert found[:2] == pytest.approx((p - half, p + half), abs=0.1 * half)
    assert found == cluster_bootstrap(k.tolist(), n.tolist()), "the seed is fixed"
    assert found != cluster_bootstrap(k.tolist(), n.tolist(), seed=1)
    assert found == cluster_bootstrap([*k.tolist(), 0], [*n.tolist(), 0]), "an empty task is no task"


def test_a_cluster_bootstrap_refuses_what_it_cannot_show():
    with pytest.raises(ValueError, match="20 clusters"):
        cluster_bootstrap([1] * 19 + [0] * 400, [5] * 419)
    with pytest.raises(ValueError, match="20 clusters"):
        cluster_bootstrap([5] * 400, [5] * 400)
    with pytest.raises(ValueError, match="20 clusters"):
        cluster_bootstrap([], [])
    with pytest.raises(ValueError, match="0 <= k <= n"):
        cluster_bootstrap([6] * 30, [5] * 30)
    assert cluster_bootstrap([1] * 20 + [0] * 20, [2] * 40).low > 0


FINE = np.geomspace(0.002, 0.2, 2000)


def covered(n, lows, highs):
    """The exact chance at each rate that low <= p <= high: summed over every k of n, no draws needed."""
    chance = binom.pmf(np.arange(n + 1)[None, :], n, FINE[:, None])
    holds = (np.array(lows)[None, :] <= FINE[:, None]) & (FINE[:, None] <= np.array(highs)[None, :])
    return (chance * holds).sum(axis=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "n", "least", "mean"),
    [
        (wilson, 200, 0.89, (0.945, 0.957)),
        (wilson, 1000, 0.925, (0.945, 0.957)),
        (clopper_pearson, 200, 0.95, (0.96, 0.98)),
        (clopper_pearson, 1000, 0.95, (0.955, 0.97)),
        (jeffreys, 200, 0.87, (0.945, 0.965)),
        (jeffreys, 1000, 0.90, (0.94, 0.955)),
    ],
)
def test_coverage_of_independent_episodes(method, n, least, mean):
    ends = [method(k, n)[:2] for k in range(n + 1)]
    found = covered(n, *zip(*ends, strict=True))
    assert found.min() >= least
    assert mean[0] <= found.mean() <= mean[1]


@pytest.mark.slow
@pytest.mark.parametrize(("n", "below"), [(100, 0.80), (300, 0.86), (1000, 0.90)])
def test_coverage_of_the_one_sided_bounds(n, below):
    every = range(n + 1)
    assert covered(n, [0.0] * (n + 1), [upper(k, n) for k in every]).min() >= 0.935
    # The lower one does not cover at low rates, as its docstring says; Clopper-Pearson's does.
    assert covered(n, [lower(k, n) for k in every], [1.0] * (n + 1)).min() == pytest.approx(below, abs=0.005)
    assert covered(n, [clopper_pearson(k, n).low for k in every], [1.0] * (n + 1)).min() >= 0.975


@pytest.mark.slow
@pytest.mark.parametrize(("tasks", "per", "rho"), [(50, 10, 0.1), (50, 10, 0.3), (200, 5, 0.3)])
def test_coverage_of_clustered_wilson(tasks, per, rho):
    rng = np.random.default_rng(3)
    for p in RATES:
        a, b = p * (1 - rho) / rho, (1 - p) * (1 - rho) / rho
        samples = rng.binomial(per, rng.beta(a, b, (500, tasks)))
        found = [clustered_wilson(k.tolist(), [per] * tasks) for k in samples]
        assert 0.88 <= np.mean([f.low <= p <= f.high for f in found]) <= 0.99, p


@pytest.mark.slow
def test_coverage_of_a_cluster_bootstrap_where_it_is_allowed():
    rng = np.random.default_rng(6)
    for p in (0.1, 0.2):
        a, b = p * 0.7 / 0.3, (1 - p) * 0.7 / 0.3
        found = [cluster_bootstrap(k.tolist(), [10] * 150, draws=1000) for k in rng.binomial(10, rng.beta(a, b, (300, 150)))]
        assert 0.91 <= np.mean([f.low <= p <= f.high for f in found]) <= 0.98, p
