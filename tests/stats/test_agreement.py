"""Krippendorff's alpha against his own worked example, and where it is not defined."""

from __future__ import annotations

import pytest

from auditor.stats.agreement import nominal_alpha


def test_the_binary_example_of_the_paper():
    # Krippendorff (2011), section A: two observers, ten units, alpha = 0.095.
    first = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    second = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert nominal_alpha([[bool(v) for v in first], [bool(v) for v in second]]) == pytest.approx(0.095, abs=0.0005)


@pytest.mark.parametrize("table", [[], [[True, True], [True, True]], [[True, None], [None, False]], [[None], [None]]])
def test_not_defined_is_none(table):
    assert nominal_alpha(table) is None


def test_agreement_and_gaps():
    assert nominal_alpha([[True, False, None], [True, False, True]]) == 1.0
