"""Corrected, stratified and prediction-powered shares against published examples, their formulas, and simulation."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.stats import beta

from auditor.stats.prevalence import (
    Stratum,
    correctable,
    lang_reiczigel,
    missing_bounds,
    prediction_powered,
    rogan_gladen,
    two_phase,
)

RATES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


def test_rogan_gladen_on_the_examples_of_epir():
    # R package epiR, epi.prev: brucellosis 23 of 150, Se 96%, Sp 89%: 5.1%; H. pylori 6 of 151, 96.4%, 92.7%: 0.
    assert rogan_gladen(23, 150, 0.96, 0.89) == pytest.approx(0.051, abs=5e-4)
    assert rogan_gladen(6, 151, 0.964, 0.927) == 0.0
    assert rogan_gladen(5, 10, 1.0, 1.0) == 0.5
    assert rogan_gladen(10, 10, 0.8, 0.99) == 1.0


def test_the_raw_rate_of_the_codebook_is_corrected_back():
    # Codebook, section 9: a true 0.3% with Se 0.80 and Sp 0.99 reads 1.24%.
    assert rogan_gladen(1237, 100_000, 0.80, 0.99) == pytest.approx(0.003, abs=1e-5)


@pytest.mark.parametrize(
    ("counts", "low", "high", "digits"),
    [
        ((4060, 11284, 178, 179, 358, 359), 0.349, 0.372, 3),
        ((51, 2971, 32, 33, 20, 20), 0.0, 0.053, 3),
        ((712, 11862, 8, 10, 12, 12), 0.0, 0.147, 3),
        ((259, 509, 84, 127, 96, 109), 0.58, 0.87, 2),
        ((51, 509, 23, 41, 187, 195), 0.037, 0.195, 3),
    ],
)
def test_lang_reiczigel_on_the_examples_of_the_paper(counts, low, high, digits):
    # Lang & Reiczigel (2014), examples 1 to 4, as quoted by R package asht, prevSeSp.
    found = lang_reiczigel(*counts)
    assert (round(found.low, digits), round(found.high, digits)) == (low, high)


def test_lang_reiczigel_where_there_is_little():
    for nothing in ((0, 0, 8, 10, 9, 10), (1, 10, 0, 0, 9, 10), (1, 10, 8, 10, 0, 0)):
        assert lang_reiczigel(*nothing)[:2] == (0.0, 1.0)
    assert lang_reiczigel(0, 50, 50, 50, 50, 50).low == 0.0
    assert lang_reiczigel(50, 50, 50, 50, 50, 50).high == 1.0
    assert lang_reiczigel(0, 10_000, 90, 100, 160, 200)[:2] == (0.0, 0.0), "at odds with its own specificity: ask correctable"
    assert not correctable(0, 10_000, 160 / 200)


def test_bad_corrections_are_refused():
    with pytest.raises(ValueError, match="nothing was judged"):
        rogan_gladen(0, 0, 0.9, 0.9)
    for se, sp in ((0.5, 0.5), (0.2, 0.7), (1.1, 0.9), (0.9, -0.1)):
        with pytest.raises(ValueError, match="sensitivity and specificity"):
            rogan_gladen(1, 2, se, sp)
    for counts in ((3, 2, 1, 1, 1, 1), (1, 2, 3, 2, 1, 1), (1, 2, 1, 1, -1, 2)):
        with pytest.raises(ValueError, match="0 <= k <= n"):
            lang_reiczigel(*counts)
    with pytest.raises(ValueError, match="better than chance"):
        lang_reiczigel(1, 10, 1, 10, 5, 10)
    with pytest.raises(ValueError, match="share"):
        correctable(1, 2, 1.5)


def test_what_can_be_corrected():
    assert correctable(2, 100, 0.99)
    assert not correctable(1, 100, 0.99)
    assert not correctable(10, 100, 0.9), "alike but for rounding"
    assert correctable(1, 10_000, 1.0)
    assert not correctable(0, 10_000, 1.0)
    assert not correctable(0, 0, 0.99)


def test_two_phase_of_one_stratum_is_jeffreys():
    found = two_phase([Stratum(1000, 3, 100)], draws=200_000)
    assert found.share == 0.03
    assert found.interval[:2] == pytest.approx(beta.ppf([0.025, 0.975], 3.5, 97.5), abs=5e-4)
    halved = two_phase([Stratum(1000, 4, 100, 50.0)], draws=200_000)
    assert halved.share == 0.04
    assert halved.interval[:2] == pytest.approx(beta.ppf([0.025, 0.975], 2.5, 48.5), abs=1e-3)


def test_two_phase_of_two_strata_is_the_convolution():
    # 100 of score high, all read, 30 hits; 900 low, 200 read, 2 hits. The distribution of the sum by quadrature.
    found = two_phase([Stratum(100, 30, 100), Stratum(900, 2, 200)], draws=400_000)
    assert found.share == pytest.approx(0.1 * 0.3 + 0.9 * 0.01)
    at = np.linspace(0, 1, 20_001)[1:-1]
    of_low = np.diff(beta.cdf(np.linspace(0, 1, 20_001), 2.5, 198.5))[:-1]
    for end, tail in zip(found.interval[:2], (0.025, 0.975), strict=True):
        assert (beta.cdf((end - 0.9 * at) / 0.1, 30.5, 70.5) * of_low).sum() == pytest.approx(tail, abs=0.002)


def test_a_stratum_that_nobody_read_is_not_known():
    found = two_phase([Stratum(100, 3, 100), Stratum(900, 0, 0)])
    assert found.share == 0.03
    assert found.interval.low < 0.1 * 0.03 < 0.9 + 0.1 * 0.03 < found.interval.high < 0.91
    assert two_phase([Stratum(0, 0, 0), Stratum(50, 5, 50)]) == two_phase([Stratum(50, 5, 50)])


def test_two_phase_at_its_ends():
    none = two_phase([Stratum(100, 0, 100), Stratum(900, 0, 90)])
    assert (none.share, none.interval.low) == (0.0, 0.0)
    assert none.interval.high > 0.01
    every = two_phase([Stratum(100, 100, 100), Stratum(900, 90, 90)])
    assert (every.share, every.interval.high) == (1.0, 1.0)
    thin = two_phase([Stratum(10, 0, 5)] * 30 + [Stratum(10, 1, 10)])
    assert thin.interval.low <= thin.share <= thin.interval.high


@pytest.mark.parametrize("bad", [(10, 3, 2), (1, 1, 2), (10, -1, 2), (10, 1, 2, 0.0), (10, 1, 2, 3.0)])
def test_impossible_strata_are_refused(bad):
    with pytest.raises(ValueError, match="a stratum must have"):
        two_phase([Stratum(*bad)])


def test_nothing_read_is_refused():
    for nothing in ([], [Stratum(10, 0, 0)]):
        with pytest.raises(ValueError, match="no stratum was read"):
            two_phase(nothing)


def test_the_bounds_of_what_is_missing():
    # By hand: 3 of 10, with 10 more that nobody judged.
    assert missing_bounds(3, 10, 10) == (0.15, 0.65)
    assert missing_bounds(3, 10, 0) == (0.3, 0.3)
    assert missing_bounds(0, 0, 5) == (0.0, 1.0)
    assert missing_bounds(0, 0, 0) == (0.0, 1.0)
    for bad in ((4, 3, 0), (1, 3, -1)):
        with pytest.raises(ValueError):
            missing_bounds(*bad)


def judged(rng, p, labelled=300, rest=2000, accuracy=0.9):
    truth = rng.random(labelled + rest) < p
    said = np.where(rng.random(labelled + rest) < accuracy, truth, ~truth).astype(float)
    return truth[:labelled].tolist(), said[:labelled].tolist(), said[labelled:].tolist()


def test_prediction_powered_is_the_formula_of_ppi_plus_plus():
    # Angelopoulos, Duchi & Zrnic (2023), the mean, with lam = cov(y, f) / ((1 + n/N) var(f)), written out.
    y, f, rest = (np.array(column, dtype=float) for column in judged(np.random.default_rng(2), 0.3))
    n, every = len(y), len(rest)
    lam = np.cov(y, f)[0, 1] / ((1 + n / every) * np.concatenate([f, rest]).var())
    share = lam * rest.mean() + (y - lam * f).mean()
    half = 1.959964 * sqrt((lam * rest).var() / every + (y - lam * f).var() / n)
    found = prediction_powered(y.tolist(), f.tolist(), rest.tolist())
    assert found.share == pytest.approx(share, abs=2e-3)
    assert found.interval[:2] == pytest.approx((share - half, share + half), abs=4e-3)
    assert found.interval.high - found.interval.low < 2 * 1.96 * sqrt(y.var() / n), "narrower than the labels alone"


def test_predictions_all_alike_add_nothing():
    found = prediction_powered([True] * 30 + [False] * 70, [0.5] * 100, [0.5] * 500)
    half = 1.959964 * sqrt(0.3 * 0.7 / 100)
    assert (found.share, *found.interval[:2]) == pytest.approx((0.3, 0.3 - half, 0.3 + half))


def test_what_is_too_rare_or_too_little_is_refused():
    for few in ([True] * 4 + [False] * 96, [True] * 96 + [False] * 4, [False] * 100):
        with pytest.raises(ValueError, match="too near 0 or 1"):
            prediction_powered(few, [0.0] * 100, [0.0] * 500)
    for labels, f, rest in (
        ([], [], [0.5]),
        ([True], [1.0], [0.5]),
        ([True, False], [1.0], [0.5]),
        ([True, False], [1.0, 0.0], []),
    ):
        with pytest.raises(ValueError, match="2 labels or more"):
            prediction_powered(labels, f, rest)
    with pytest.raises(ValueError, match="between 0 and 1"):
        prediction_powered([True, False], [1.0, 2.0], [0.5])
    with pytest.raises(ValueError, match="between 0 and 1"):
        prediction_powered([True, False], [1.0, float("nan")], [0.5])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("caught", "noise", "size", "read"), [(0.8, 0.03, 10_000, 1000), (0.8, 0.03, 10_000, 300), (0.5, 0.05, 5000, 500)]
)
def test_coverage_of_two_phase_where_a_normal_interval_fails(caught, noise, size, read):
    # The high stratum (`caught` of the hits, `noise` of the rest) is read in full, `read` of the low one.
    rng = np.random.default_rng(4)
    for p in RATES:
        here, behind, normal = [], [], []
        for _ in range(500):
            hits = rng.binomial(size, p)
            k = rng.binomial(hits, caught)
            high = k + rng.binomial(size - hits, noise)
            low_k, low = int(rng.hypergeometric(hits - k, size - high - (hits - k), read)), size - high
            found = two_phase([Stratum(high, k, high), Stratum(low, low_k, read)], draws=4000).interval
            here.append(found.low <= hits / size <= found.high)
            behind.append(found.low <= p <= found.high)
            q = low_k / read
            half = 1.96 * low / size * sqrt(q * (1 - q) / read * (1 - read / low))
            normal.append(abs(k / size + low / size * q - hits / size) <= half)
        assert np.mean(here) >= 0.93, p
        assert 0.88 <= np.mean(behind) <= 0.985, p
        assert p != 0.002 or np.mean(normal) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("se", "sp", "checked", "n"), [(0.8, 0.99, (100, 400), 2000), (0.9, 0.95, (60, 200), 1000), (0.9, 0.95, (20, 50), 1000)]
)
def test_coverage_of_corrected_shares(se, sp, checked, n):
    rng = np.random.default_rng(5)
    for p in RATES:
        k = rng.binomial(n, p * se + (1 - p) * (1 - sp), 2000).tolist()
        tp, tn = rng.binomial(checked[0], se, 2000).tolist(), rng.binomial(checked[1], sp, 2000).tolist()
        found = [lang_reiczigel(a, n, b, checked[0], c, checked[1]) for a, b, c in zip(k, tp, tn, strict=True)]
        assert 0.935 <= np.mean([f.low <= p <= f.high for f in found]) <= 0.98, p
        mean = np.mean([rogan_gladen(a, n, se, sp) for a in k])
        # Kept at 0, it is too high where p is below the noise of 1 - Sp, and right where it is well above.
        assert mean == pytest.approx(p, rel=0.03) if p >= 0.05 else mean >= 0.97 * p


@pytest.mark.slow
def test_coverage_of_prediction_powered_shares():
    rng = np.random.default_rng(8)
    for p in (0.15, 0.3, 0.5):
        found = [prediction_powered(*judged(rng, p)).interval for _ in range(500)]
        assert 0.92 <= np.mean([f.low <= p <= f.high for f in found]) <= 0.98, p
