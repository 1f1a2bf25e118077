"""Intervals against their own formulas, written out, against the examples of their papers, other libraries and simulation."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from auditor.stats.intervals import clustered_wilson, design_effect, difference, wilson


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
