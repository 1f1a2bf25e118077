"""Differences and tests against published examples, other libraries, and simulation."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import binom, fisher_exact, ttest_1samp
from statsmodels.stats.proportion import power_proportions_2indep

from auditor.stats import compare
from auditor.stats.compare import benjamini_hochberg, boschloo, episodes_needed, heterogeneity, holm, newcombe, paired_by_task
from auditor.stats.intervals import difference, wilson

# Darwin's maize, crossed less self-fertilised, in eighths of an inch: Fisher (1935), The Design of Experiments, section 17.
MAIZE = [v / 100 for v in (49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48)]


def test_newcombe_on_the_example_of_the_paper():
    # Newcombe (1998), Statistics in Medicine 17, 873, table II, method 10, example (a): 56/70 against 48/80.
    assert newcombe(56, 70, 48, 80)[:2] == pytest.approx((0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize("counts", [(0, 10, 0, 10), (10, 10, 0, 10), (5, 5, 5, 5), (1, 240, 7, 200)])
def test_newcombe_is_the_square_and_add_of_two_wilsons(counts):
    k1, n1, k2, n2 = counts
    expected = difference(k1 / n1, wilson(k1, n1), k2 / n2, wilson(k2, n2))
    assert newcombe(*counts)[:2] == pytest.approx(expected[:2])


def test_newcombe_of_nothing():
    assert newcombe(0, 0, 3, 5)[:2] == (-1.0, 1.0)
    with pytest.raises(ValueError, match="0 <= k <= n"):
        newcombe(1, 2, 4, 3)


def test_boschloo_is_that_of_r():
    # R package Exact, exact.test(method="Boschloo"), one-sided 0.009886142, as quoted in scipy's own tests.
    assert boschloo(2, 10, 7, 9) == pytest.approx(2 * 0.009886142, rel=1e-4)
    assert boschloo(2, 10, 7, 9) < fisher_exact([[2, 7], [8, 2]]).pvalue


def test_mid_p_above_the_limit():
    # 5 of 1,000 against 0 of 1,000: given five hits, all in the first has probability near 1/32, half of it counted, twice.
    exact = 1000 * 999 * 998 * 997 * 996 / (2000 * 1999 * 1998 * 1997 * 1996)
    assert boschloo(5, 1000, 0, 1000) == pytest.approx(exact)
    assert boschloo(5, 1000, 0, 1000) == boschloo(0, 1000, 5, 1000) < fisher_exact([[5, 0], [995, 1000]]).pvalue


def test_boschloo_where_there_is_no_contrast():
    assert boschloo(0, 10, 0, 10) == boschloo(5, 5, 2, 2) == boschloo(0, 900, 0, 900) == 1.0
    assert boschloo(3, 10, 3, 10) <= 1.0
    with pytest.raises(ValueError, match="0 <= k <= n"):
        boschloo(1, 2, 4, 3)
    with pytest.raises(ValueError, match="an episode"):
        boschloo(0, 0, 1, 3)


def test_fishers_own_sign_flips_of_darwins_maize():
    # Fisher (1935), section 21: 863 of the 32,768 have as large a sum, either way 1,726. Student's t gives p = 0.0497 there.
    found = paired_by_task(MAIZE, draws=40_000)
    assert found.p == pytest.approx(2 * 863 / 32_768)
    assert found.mean * 100 == pytest.approx(20.933, abs=5e-4)
    other = ttest_1samp(MAIZE, 0).confidence_interval(0.95)
    assert found.interval[:2] == pytest.approx((other.low, other.high))
    assert found.tasks == 15


def test_draws_stand_for_all_flips_and_repeat():
    found = paired_by_task(MAIZE)
    assert found.p == pytest.approx(2 * 863 / 32_768, abs=0.01)
    assert found == paired_by_task(MAIZE)
    assert paired_by_task([0.1] * 40, draws=100).p == pytest.approx(2 / 101), "never zero"


def test_up_to_twelve_tasks_every_flip_is_taken():
    differences = [0.1 * (i + 1) for i in range(10)] + [0.05, 0.02]
    assert paired_by_task(differences, draws=10).p == 2 / 2**12


def test_paired_at_its_ends():
    assert paired_by_task([0.0] * 20)[:2] == (0.0, 1.0)
    assert paired_by_task([0.0] * 20).interval[:2] == paired_by_task([1.0, 1.0]).interval[:2] == (-1.0, 1.0)
    assert paired_by_task([1.0, 0.9, 1.0]).interval.high == 1.0
    for bad in ([], [0.1], [0.1, 1.5], [0.1, float("nan")]):
        with pytest.raises(ValueError, match="2 tasks or more"):
            paired_by_task(bad)


def test_holm_and_benjamini_hochberg_on_the_example_of_the_paper():
    # Benjamini & Hochberg (1995), section 4: their procedure rejects four of these at 0.05, Bonferroni's and Holm's three.
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert sum(v <= 0.05 for v in benjamini_hochberg(p)) == 4
    assert sum(v <= 0.05 for v in holm(p)) == 3
    assert benjamini_hochberg(p)[3] == pytest.approx(15 * 0.0095 / 4)
    assert holm(p)[:2] == pytest.approx([15 * 0.0001, 14 * 0.0004])


def test_adjusted_values_keep_their_order_and_edges():
    assert holm([0.03, 0.01, 0.04]) == pytest.approx([0.06, 0.03, 0.06])
    assert benjamini_hochberg([0.03, 0.01, 0.04]) == pytest.approx([0.04, 0.03, 0.04])
    for adjust in (holm, benjamini_hochberg):
        assert adjust([]) == []
        assert adjust([0.2]) == [0.2]
        for bad in (-0.1, 1.1, float("nan")):
            with pytest.raises(ValueError, match="between 0 and 1"):
                adjust([0.1, bad])


@pytest.mark.parametrize(("p1", "p2", "codebook"), [(0.005, 0.01, 4540), (0.01, 0.02, 2253), (0.02, 0.05, 561)])
def test_episodes_needed_are_those_of_the_codebook_rounded_up(p1, p2, codebook):
    # The codebook cuts 4,540.99, 2,253.66 and 561.30; with as many the power would be just short of 80%.
    needed = episodes_needed(p1, p2)
    assert needed == codebook + 1 == episodes_needed(p2, p1)
    assert power_proportions_2indep(p2 - p1, p1, needed).power == pytest.approx(0.80, abs=0.02)
    assert episodes_needed(p1, p2, power=0.9) > needed


@pytest.mark.parametrize("bad", [(0.1, 0.1), (-0.1, 0.1), (0.1, 1.1), (0.1, 0.2, 1.0), (0.1, 0.2, 0.01)])
def test_impossible_plans_are_refused(bad):
    with pytest.raises(ValueError, match="two different shares"):
        episodes_needed(*bad)


@pytest.mark.slow
def test_boschloo_at_its_limit_takes_seconds_at_most():
    start = time.perf_counter()
    boschloo(3, compare.EXACT_TOTAL // 2, 9, compare.EXACT_TOTAL // 2)
    assert time.perf_counter() - start < 5


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(201, 201), (500, 500), (100, 1000)])
def test_mid_p_keeps_its_level(sizes):
    # Enumerated, not drawn: every pair of counts that has a chance at the common rate.
    n1, n2 = sizes
    for p in (0.002, 0.01, 0.05):
        of1, of2 = (binom.pmf(np.arange(int(binom.ppf(1 - 1e-5, n, p)) + 1), n, p) for n in sizes)
        level = sum(
            a * b for i, a in enumerate(of1) for j, b in enumerate(of2) if a * b > 1e-7 and boschloo(i, n1, j, n2) <= 0.05
        )
        assert level <= 0.0505, p


@pytest.mark.slow
@pytest.mark.parametrize(("tasks", "per", "p"), [(8, 10, 0.1), (12, 5, 0.3), (30, 5, 0.02), (60, 10, 0.2)])
def test_paired_by_task_keeps_its_level(tasks, per, p):
    # Two models alike on tasks that differ: rates by task from Beta(3p, 3(1 - p)).
    rng = np.random.default_rng(7)
    rates = rng.beta(3 * p, 3 * (1 - p), (500, tasks))
    differences = (rng.binomial(per, rates) - rng.binomial(per, rates)) / per
    found = [paired_by_task(row.tolist(), draws=999) for row in differences]
    assert np.mean([f.p <= 0.05 for f in found]) <= 0.07
    assert np.mean([f.interval.low <= 0 <= f.interval.high for f in found]) >= 0.93


@pytest.mark.slow
def test_paired_by_task_finds_what_is_there():
    rng = np.random.default_rng(9)
    found = [
        paired_by_task(((rng.binomial(10, 0.2, 40) - rng.binomial(10, 0.1, 40)) / 10).tolist(), draws=999) for _ in range(200)
    ]
    assert np.mean([f.p <= 0.05 for f in found]) > 0.9
    assert 0.9 <= np.mean([f.interval.low <= 0.1 <= f.interval.high for f in found]) <= 0.99


def test_heterogeneity_is_scipys_permutation_of_two_samples():
    # With two places and one episode a task the statistic grows with the difference of the two means.
    from scipy.stats import permutation_test

    a, b = [1, 1, 1, 0, 1, 0], [0, 0, 1, 0, 0, 0, 0]
    exact = permutation_test(
        (a, b),
        lambda x, y, axis: np.abs(x.mean(axis=axis) - y.mean(axis=axis)),
        alternative="greater",
        n_resamples=np.inf,
        vectorized=True,
    )
    found = heterogeneity([*a, *b], [1] * 13, [0] * 6 + [1] * 7, draws=9_999)
    assert found == pytest.approx(exact.pvalue, abs=0.015)


@pytest.mark.slow
def test_heterogeneity_keeps_its_level_where_tasks_cluster_and_finds_what_is_there():
    rng = np.random.default_rng(5)
    places = np.repeat(np.arange(4), 15)

    def rejected(rates, rounds=300):
        p = [rng.beta(rates[places] * 4, (1 - rates[places]) * 4) for _ in range(rounds)]
        return np.mean([(heterogeneity(rng.binomial(10, q), [10] * 60, places, draws=199) or 1.0) < 0.05 for q in p])

    assert rejected(np.array([0.1] * 4)) < 0.085
    assert rejected(np.array([0.02, 0.02, 0.02, 0.4])) > 0.9


def test_heterogeneity_of_too_little():
    assert heterogeneity([], [], []) is None
    assert heterogeneity([1, 0], [2, 2], [0, 1]) is None, "one task a place"
    assert heterogeneity([0] * 4, [2] * 4, [0, 0, 1, 1]) is None
    with pytest.raises(ValueError, match="0 <= k <= n"):
        heterogeneity([3, 0, 0, 0], [2] * 4, [0, 0, 1, 1])
