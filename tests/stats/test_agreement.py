"""Agreement against the worked examples of the papers and another library, and where it is not defined."""

from __future__ import annotations

import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from auditor.stats.agreement import cohen_kappa, nominal_alpha, pabak


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


def raters(both, first, second, neither):
    a = [True] * (both + first) + [False] * (second + neither)
    return a, [True] * both + [False] * first + [True] * second + [False] * neither


@pytest.mark.parametrize(("table", "kappa"), [((40, 9, 6, 45), 0.70), ((80, 10, 5, 5), 0.32)])
def test_high_agreement_but_low_kappa(table, kappa):
    # Feinstein & Cicchetti (1990), J. of Clinical Epidemiology 43, tables 1 and 2: both agree in 0.85, so PABAK is 0.70.
    a, b = raters(*table)
    assert cohen_kappa(a, b) == pytest.approx(kappa, abs=0.005)
    assert cohen_kappa(a, b) == pytest.approx(cohens_kappa([table[:2], table[2:]]).kappa)
    assert pabak(a, b) == pytest.approx(0.70)


def test_kappa_and_pabak_leave_out_gaps():
    a, b = raters(4, 1, 2, 3)
    assert cohen_kappa([*a, None, True, None], [*b, True, None, None]) == cohen_kappa(a, b)
    assert pabak([*a, None, True, None], [*b, True, None, None]) == pabak(a, b)


def test_kappa_and_pabak_at_their_ends():
    assert cohen_kappa([True, False], [True, False]) == pabak([True, False], [True, False]) == 1.0
    assert cohen_kappa([True, False], [False, True]) == pabak([True, False], [False, True]) == -1.0
    assert cohen_kappa([True, True], [False, False]) == 0.0
    assert cohen_kappa([False, False], [False, False]) is None
    assert pabak([False, False], [False, False]) == 1.0
    for nothing in ([], [None]):
        assert cohen_kappa(nothing, nothing) is None
        assert pabak(nothing, nothing) is None
    for measure in (cohen_kappa, pabak):
        with pytest.raises(ValueError, match="shorter"):
            measure([True, False], [True])
