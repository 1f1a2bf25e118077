"""How common something is, where the count is not yet it: a judge that errs, a sample by strata, episodes without a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

from auditor.errors import MissingExtra
from auditor.stats.intervals import Interval, check_counts


class Estimate(NamedTuple):
    """A share of 1 with its interval."""

    share: float
    interval: Interval


class Stratum(NamedTuple):
    """One stratum of a two-phase design: episodes in it, hits among those read, episodes read, and n_eff of those, if not m."""

    size: int
    k: int
    m: int
    effective: float | None = None


def rogan_gladen(k: float, n: float, sensitivity: float, specificity: float) -> float:
    """The share that has it, from k of n flagged by a judge of known errors: (k/n + Sp - 1) / (Se + Sp - 1), kept in [0, 1].

    Rogan & Gladen (1978), American J. of Epidemiology 107. Shares of 1. Not where `correctable` is False: there it is
    0 or near it whatever the truth. Not with Se and Sp from other models or prompts than those judged. ValueError unless
    0 <= k <= n, n > 0, both in [0, 1] and Se + Sp > 1 (a judge no better than chance).
    """
    check_counts(k, n)
    if n == 0:
        raise ValueError("nothing was judged")
    if not (0 <= sensitivity <= 1 and 0 <= specificity <= 1 and sensitivity + specificity > 1):
        raise ValueError("sensitivity and specificity must be shares with a sum above 1")
    return min(1.0, max(0.0, (k / n + specificity - 1) / (sensitivity + specificity - 1)))


def lang_reiczigel(k: float, n: float, tp: float, positives: float, tn: float, negatives: float) -> Interval:
    """95% interval for the share that has it, where Se = tp/positives and Sp = tn/negatives were counted on two samples too.

    Lang & Reiczigel (2014), Preventive Veterinary Medicine 113, equations 4, 6, 7, 16, 17: with z = 1.96, n' = n + z^2,
    p' = (k + z^2/2)/n', Se' = (tp + 1)/(positives + 2), Sp' likewise, P' = (p' + Sp' - 1)/(Se' + Sp' - 1):
    P' + dP ± z sqrt(p'(1 - p')/n' + P'^2 vSe + (1 - P')^2 vSp) / (Se' + Sp' - 1), dP = 2 z^2 (P' vSe - (1 - P') vSp), and
    vSe = Se'(1 - Se')/(positives + 2). (Equation 4 prints (1 + P)^2, a slip.) Kept in [0, 1]; [0, 1] when one sample is empty.

    Not where `correctable` is False (the interval may close at 0, which is no evidence of 0: review instead), and not for
    clustered episodes unless all counts are effective ones. ValueError for counts out of range, or Se' + Sp' <= 1.
    """
    from scipy.stats import norm

    for part, whole in ((k, n), (tp, positives), (tn, negatives)):
        check_counts(part, whole)
    if 0 in (n, positives, negatives):
        return Interval(0.0, 1.0, "lang-reiczigel")
    z = float(norm.ppf(0.975))
    p, se, sp = (k + z * z / 2) / (n + z * z), (tp + 1) / (positives + 2), (tn + 1) / (negatives + 2)
    youden = se + sp - 1
    if youden <= 0:
        raise ValueError("the judge is not shown to be better than chance, so its rate cannot be corrected")
    share = (p + sp - 1) / youden
    of_se, of_sp = se * (1 - se) / (positives + 2), sp * (1 - sp) / (negatives + 2)
    centre = share + 2 * z * z * (share * of_se - (1 - share) * of_sp)
    half = z * sqrt(p * (1 - p) / (n + z * z) + share**2 * of_se + (1 - share) ** 2 * of_sp) / youden
    return Interval(min(1.0, max(0.0, centre - half)), max(0.0, min(1.0, centre + half)), "lang-reiczigel")


def correctable(k: float, n: float, specificity: float) -> bool:
    """Whether correction can say anything: the raw rate k/n is above 1 - Sp, what a judge flags where there is nothing.

    False: `rogan_gladen` gives 0, and only review of what was flagged helps. True is no promise: just above 1 - Sp the corrected
    interval still reaches 0. Rogan & Gladen (1978): the numerator of their estimate. n = 0 gives False. ValueError unless
    0 <= k <= n and Sp in [0, 1].
    """
    check_counts(k, n)
    if not 0 <= specificity <= 1:
        raise ValueError("specificity must be a share")
    return n > 0 and k / n - (1 - specificity) > 1e-12


def two_phase(strata: Sequence[Stratum], *, draws: int = 20_000, seed: int = 0) -> Estimate:
    """The share over all strata when some were read only in part: sum W_h k_h/m_h, W_h = size_h/sum(size), with a 95% interval.

    Estimate: Cochran (1977), Sampling Techniques, section 5.3. Interval: 2.5% and 97.5% points of `draws` sums of W_h p_h, p_h
    from Beta(k_h + 1/2, m_h - k_h + 1/2), the Jeffreys posterior of each stratum (Brown, Cai & DasGupta 2001, section 3.1.3);
    with `effective` its counts are scaled to that n. It starts at 0 if no stratum has a hit, ends at 1 if all have nothing
    else, and always holds the estimate.

    A stratum with m = 0 gets no Beta, for no prior is evidence: it counts as 0 in the low end and as 1 in the high end, and is
    left out of the estimate. What was read must be a random sample of its stratum. W_h is taken as known, so the interval is
    that of the share among these episodes (in simulation 94 to 99% covered at 0.2 to 20%); the rate behind them was covered in
    90 to 97%, least where it is high and its stratum read in full. Not for many thin strata: each without a hit adds half a
    hit, and the interval moves up; pool them first. ValueError for counts out of range (0 <= k <= m <= size, 0 < effective <=
    m), and when nothing was read.
    """
    import numpy as np

    for size, k, m, effective in strata:
        if not 0 <= k <= m <= size or (m and effective is not None and not 0 < effective <= m):
            raise ValueError(f"a stratum must have 0 <= k <= m <= size and 0 < effective <= m, got {(size, k, m, effective)}")
    known = [s for s in strata if s.m]
    if not known:
        raise ValueError("no stratum was read")
    total, covered = sum(s.size for s in strata), sum(s.size for s in known)
    rng = np.random.default_rng(seed)
    sums = np.zeros(draws)
    for s in known:
        scale = 1 if s.effective is None else s.effective / s.m
        sums += s.size / total * rng.beta(s.k * scale + 0.5, (s.m - s.k) * scale + 0.5, size=draws)
    share = sum(s.size * s.k / s.m for s in known) / covered
    low, high = np.quantile(sums, [0.025, 0.975], method="linear")
    low = 0.0 if share == 0 else min(float(low), share)
    high = 1.0 if all(s.k == s.m for s in known) else max(float(high) + (total - covered) / total, share)
    return Estimate(share, Interval(low, high, "two-phase, beta monte carlo"))


def missing_bounds(k: int, n: int, missing: int) -> tuple[float, float]:
    """Best and worst share if `missing` more should have been counted: k/(n + missing), (k + missing)/(n + missing).

    No assumption of why they are missing: Manski (1989), J. of Human Resources 24; Horowitz & Manski
    (2000), JASA 95. Nothing at all gives (0, 1). Bounds of the sample's share and no interval: chance comes on top. Not for
    episodes left out by a known probability (`two_phase`). ValueError unless 0 <= k <= n and missing >= 0.
    """
    check_counts(k, n)
    if missing < 0:
        raise ValueError("missing must not be negative")
    whole = n + missing
    return (k / whole, (k + missing) / whole) if whole else (0.0, 1.0)


def prediction_powered(
    labels: Sequence[bool], predicted_of_labelled: Sequence[float], predicted_of_rest: Sequence[float]
) -> Estimate:
    """A common share, from few labels and a judge's prediction (0 to 1) for all: mean of predictions plus the labels' correction.

    lam mean(f_rest) + mean(y - lam f_labelled), lam chosen for least variance, with a 95% normal interval kept in [0, 1]:
    Angelopoulos, Duchi & Zrnic (2023), PPI++, arXiv 2311.01453, by ppi_py. The labelled must be a random sample of all.
    Not for rare events, where the normal interval fails: ValueError when fewer than 5% or more than 95% of labels are hits
    (`two_phase` there). Nor for clustered episodes. ValueError also for fewer than 2 labels, none to predict, unequal lengths,
    or predictions outside [0, 1].
    """
    import numpy as np

    try:
        from ppi_py import ppi_mean_ci, ppi_mean_pointestimate
    except ImportError:
        raise MissingExtra("prediction-powered inference", "stats") from None

    y, f, rest = (np.asarray(column, dtype=float) for column in (labels, predicted_of_labelled, predicted_of_rest))
    if len(y) != len(f) or len(y) < 2 or not len(rest):
        raise ValueError("needs 2 labels or more with a prediction each, and predictions for others")
    if not all(((column >= 0) & (column <= 1)).all() for column in (y, f, rest)):
        raise ValueError("labels and predictions must be between 0 and 1")
    if not 0.05 <= y.mean() <= 0.95:
        raise ValueError(f"the labelled rate, {y.mean():.1%}, is too near 0 or 1 for a normal interval: use a two-phase estimate")
    # With predictions all alike there is nothing to tune, and the package would divide 0 by 0.
    lam = 0.0 if np.ptp(np.concatenate([f, rest])) == 0 else None
    share = float(ppi_mean_pointestimate(y, f, rest, lam=lam)[0])
    low, high = ppi_mean_ci(y, f, rest, alpha=0.05, alternative="two-sided", lam=lam)  # alpha is 0.1 unless told
    ends = Interval(max(0.0, float(low[0])), min(1.0, float(high[0])), "prediction-powered")
    return Estimate(min(1.0, max(0.0, share)), ends)
