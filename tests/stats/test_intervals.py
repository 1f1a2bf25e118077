"""Wilson against its own formula, written out, and against the numbers of its paper's example."""

from __future__ import annotations

from math import sqrt

import pytest

from auditor.stats.intervals import wilson


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
