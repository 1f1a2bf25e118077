"""How good a detector is, held against labels: shares of a two-by-two table, rank measures of its score, thresholds.

Cases carry a weight, 1 / the probability with which they came to be both labelled and judged. Where weights differ every count is a
Horvitz-Thompson total (Horvitz & Thompson 1952, JASA 47, section 3), so that a queue that prefers flagged cases does not look better
than it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from auditor.errors import MissingExtra
from auditor.stats.intervals import Interval

FEW = 10
"""Clusters with a hit, or with a miss, below which a bootstrap over them says nothing."""


class Case(NamedTuple):
    """`times` cases alike: of one cluster (a task), what the detector said, what is true, the score (None: there is none)."""

    cluster: str
    said: bool
    truth: bool
    score: float | None = None
    weight: float = 1.0
    times: int = 1


class Measure(NamedTuple):
    """A value with its 95% interval; both None where it is not defined, the interval alone where there is too little for one."""

    value: float | None
    interval: Interval | None


NOTHING = Measure(None, None)


class Table(NamedTuple):
    """The four counts: cases as they are, and `weighted`, their weights added up."""

    tp: float
    fp: float
    fn: float
    tn: float


def counts(cases: Iterable[Case], *, weighted: bool = False) -> Table:
    """True and false positives and negatives."""
    cells: dict[tuple[bool, bool], float] = defaultdict(float)
    for c in cases:
        cells[c.said, c.truth] += c.times * (c.weight if weighted else 1)
    return Table(cells[True, True], cells[True, False], cells[False, True], cells[False, False])


def is_weighted(cases: Iterable[Case]) -> bool:
    """Whether some cases stand for more others than the rest do."""
    return len({c.weight for c in cases}) > 1


def effective(cases: Sequence[Case], hit: Callable[[Case], bool]) -> tuple[float, float]:
    """(share of cases that are a hit, by weight; the n of independent cases that would say as much of it).

    p = sum(w y) / sum(w). n is the smaller of Kish's sum(w)^2 / sum(w^2) (1965, Survey Sampling, section 11.7) and p(1 - p) / v, v = C/(C - 1)
    sum over C clusters (sum w (y - p))^2 / sum(w)^2 (Cochran 1977, Sampling Techniques, section 3.12); for p of 0 or 1, or one cluster, the
    smaller of Kish's and the number of clusters. With weights alike it is that of `intervals.clustered_wilson`. ValueError for no case.
    """
    total = sum(c.weight * c.times for c in cases)
    if not total:
        raise ValueError("no case")
    p = sum(c.weight * c.times for c in cases if hit(c)) / total
    off: dict[str, float] = defaultdict(float)
    for c in cases:
        off[c.cluster] += c.weight * c.times * (hit(c) - p)
    kish = total**2 / sum(c.weight**2 * c.times for c in cases)
    clusters = len(off)
    hits = {hit(c) for c in cases}
    if clusters == 1 or len(hits) == 1:
        return (float(hits.pop()) if len(hits) == 1 else p), min(kish, clusters)
    variance = clusters / (clusters - 1) * sum(v**2 for v in off.values()) / total**2
    return p, min(kish, p * (1 - p) / variance) if variance > 0 else kish


def share(cases: Sequence[Case], hit: Callable[[Case], bool]) -> Measure:
    """The share of cases that are a hit, by weight, with a 95% Wilson interval on the effective n.

    Rough where few weights are large: there one such case moves all.
    """
    from statsmodels.stats.proportion import proportion_confint

    if not cases:
        return NOTHING
    p, n = effective(cases, hit)
    low, high = proportion_confint(p * n, n, alpha=0.05, method="wilson")
    method = (
        "wilson, horvitz-thompson, n effective by kish and cluster" if is_weighted(cases) else "wilson, n effective by cluster"
    )
    return Measure(p, Interval(0.0 if p == 0 else float(low), 1.0 if p == 1 else float(high), method))


def precision(cases: Sequence[Case]) -> Measure:
    """Of what is flagged, the share that is so: TP / (TP + FP). Not where the labelled are not a sample of what is judged."""
    return share([c for c in cases if c.said], lambda c: c.truth)


def recall(cases: Sequence[Case]) -> Measure:
    """Of what is so, the share that is flagged: TP / (TP + FN), the sensitivity."""
    return share([c for c in cases if c.truth], lambda c: c.said)


def specificity(cases: Sequence[Case]) -> Measure:
    """Of what is not so, the share that is not flagged: TN / (TN + FP)."""
    return share([c for c in cases if not c.truth], lambda c: not c.said)


def f1(cases: Sequence[Case]) -> Measure:
    """2 TP / (2 TP + FP + FN), by way of F* = TP / (TP + FP + FN), which is a share with an interval; F1 = 2 F* / (1 + F*) rises with it.

    Hand, Christen & Kirielle (2021), "F*: an interpretable transformation of the F-measure", Machine Learning 110, equation 3.
    """
    star = share([c for c in cases if c.said or c.truth], lambda c: c.said and c.truth)
    if star.value is None or star.interval is None:
        return NOTHING
    low, high, method = star.interval
    value, low, high = (2 * x / (1 + x) for x in (star.value, low, high))
    return Measure(value, Interval(low, high, method))


def kappa(cases: Sequence[Case]) -> Measure:
    """Cohen's kappa of detector and label: (po - pe) / (1 - pe). Its interval is that of po, pe taken as known, as Cohen's own error has it.

    Cohen (1960), Educational and Psychological Measurement 20, formulas 1 and 7 (there by a normal interval). None where both say the same throughout.
    """
    agreed = share(cases, lambda c: c.said == c.truth)
    tp, fp, fn, tn = counts(cases, weighted=True)
    total = tp + fp + fn + tn
    if agreed.value is None or agreed.interval is None or not total:
        return NOTHING
    chance = ((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)) / total**2
    if chance == 1:
        return NOTHING
    value, low, high = ((x - chance) / (1 - chance) for x in (agreed.value, *agreed.interval[:2]))
    return Measure(value, Interval(max(-1.0, low), high, agreed.interval.method))


class Ranking(NamedTuple):
    """What a score is worth: areas under the ROC and the precision-recall curve; recall where at most 1% and 5% of the others are flagged."""

    auroc: Measure
    auprc: float
    recall_at_1: float
    recall_at_5: float


def ranking(cases: Sequence[Case], *, draws: int = 1000, seed: int = 0) -> Ranking | None:
    """By scikit-learn, weighted; AUPRC is average precision. None where no case has a score, or all labels are alike.

    Recall at a share of false positives is the largest that a threshold reaches, nothing interpolated. The interval of AUROC: 2.5% and
    97.5% points of `draws` samples of whole clusters (Davison & Hinkley 1997, section 3.8); none where fewer than 10 clusters hold a positive, or a
    negative. AUPRC of a useless score is the share of positives, not 0.5. MissingExtra without scikit-learn.
    """
    scored = [c for c in cases if c.score is not None]
    if len({c.truth for c in scored}) < 2:
        return None
    try:
        from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
    except ImportError:
        raise MissingExtra("AUROC", "stats") from None

    truth, score = [c.truth for c in scored], [c.score for c in scored]
    weight = [c.weight * c.times for c in scored]
    false, true, _ = roc_curve(truth, score, sample_weight=weight, drop_intermediate=False)
    at = [max(float(t) for f, t in zip(false, true, strict=True) if f <= most + 1e-12) for most in (0.01, 0.05)]
    area = Measure(float(roc_auc_score(truth, score, sample_weight=weight)), _bootstrapped(scored, draws, seed))
    return Ranking(area, float(average_precision_score(truth, score, sample_weight=weight)), *at)


def _bootstrapped(cases: Sequence[Case], draws: int, seed: int) -> Interval | None:
    """AUROC over samples of clusters. A score has few values, so a sample is a histogram of each class over them."""
    import numpy as np

    clusters = {name: i for i, name in enumerate(sorted({c.cluster for c in cases}))}
    scores = {value: i for i, value in enumerate(sorted({c.score for c in cases if c.score is not None}))}
    cells = np.zeros((2, len(clusters), len(scores)))
    for c in cases:
        cells[int(c.truth), clusters[c.cluster], scores[c.score or 0.0]] += c.weight * c.times
    if min((cells[kind].sum(axis=1) > 0).sum() for kind in (0, 1)) < FEW:
        return None
    rng = np.random.default_rng(seed)
    areas = []
    for _ in range(draws):
        picked = np.bincount(rng.integers(len(clusters), size=len(clusters)), minlength=len(clusters))
        no, yes = picked @ cells[0], picked @ cells[1]
        if no.sum() and yes.sum():
            below = np.concatenate([[0.0], np.cumsum(no)[:-1]]) + no / 2
            areas.append(float(yes @ below / (yes.sum() * no.sum())))
    low, high = np.quantile(areas, [0.025, 0.975], method="linear")
    return Interval(float(low), float(high), "bootstrap over clusters, percentile")


def best_threshold(cases: Sequence[Case]) -> float | None:
    """The score from which to flag: the largest recall + specificity - 1 (Youden 1950, Cancer 3), by weight; of equals the highest.

    None without scores, or where all labels are alike. Chosen on some cases it looks better there than it is: report it on others.
    """
    scored = [c for c in cases if c.score is not None]
    best: tuple[float, float] | None = None
    for at in sorted({c.score for c in scored if c.score is not None})[1:]:
        tp, fp, fn, tn = counts((c._replace(said=(c.score or 0.0) >= at) for c in scored), weighted=True)
        if not (tp + fn and tn + fp):
            return None
        best = max(best or (-1.0, at), (tp / (tp + fn) + tn / (tn + fp) - 1, at))
    return best[1] if best else None


def mcnemar(first_only: int, second_only: int) -> float:
    """Two-sided exact p-value that two detectors are right equally often: cases that only the first, only the second has right.

    McNemar (1947), Psychometrika 12; exact, by the binomial of the discordant pairs, by statsmodels. Cases are taken as independent: not for
    repeats of few tasks. None discordant gives 1.
    """
    from statsmodels.stats.contingency_tables import mcnemar as test

    if first_only + second_only == 0:
        return 1.0
    return float(test([[0, first_only], [second_only, 0]], exact=True).pvalue)
