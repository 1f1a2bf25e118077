"""A detector against labels: every number by scikit-learn or by hand, and weights that undo a queue's preference."""

from __future__ import annotations

import random

import pytest
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from auditor.stats import accuracy
from auditor.stats.accuracy import Case
from auditor.stats.intervals import clustered_wilson


def made(n, seed, weights=(1.0,)):
    rng = random.Random(seed)
    cases = []
    for i in range(n):
        truth = rng.random() < 0.3
        score = min(4, max(0, round(rng.gauss(2.2 if truth else 0.8, 1))))
        cases.append(Case(f"t{i % 40}", score >= 2, truth, float(score), rng.choice(weights)))
    return cases


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 20.0, 3.5)])
def test_every_value_is_that_of_scikit_learn(weights):
    cases = made(300, 1, weights)
    y, s, w = [c.truth for c in cases], [c.said for c in cases], [c.weight for c in cases]
    assert accuracy.precision(cases).value == pytest.approx(metrics.precision_score(y, s, sample_weight=w))
    assert accuracy.recall(cases).value == pytest.approx(metrics.recall_score(y, s, sample_weight=w))
    assert accuracy.specificity(cases).value == pytest.approx(metrics.recall_score(y, s, sample_weight=w, pos_label=False))
    assert accuracy.f1(cases).value == pytest.approx(metrics.f1_score(y, s, sample_weight=w))
    assert accuracy.kappa(cases).value == pytest.approx(metrics.cohen_kappa_score(y, s, sample_weight=w))
    tn, fp, fn, tp = metrics.confusion_matrix(y, s, sample_weight=w).ravel()
    assert accuracy.counts(cases, weighted=True) == pytest.approx((tp, fp, fn, tn))
    found = accuracy.ranking(cases)
    score = [c.score for c in cases]
    assert found.auroc.value == pytest.approx(metrics.roc_auc_score(y, score, sample_weight=w))
    assert found.auprc == pytest.approx(metrics.average_precision_score(y, score, sample_weight=w))
    assert found.auroc.interval.low < found.auroc.value < found.auroc.interval.high


def test_cases_alike_may_be_one_row():
    cases = [Case("a", True, True, 3.0, 2.0)] * 3 + [Case("b", False, True, 0.0, 5.0)] * 2 + [Case("c", False, False, 1.0)] * 4
    packed = [Case("a", True, True, 3.0, 2.0, 3), Case("b", False, True, 0.0, 5.0, 2), Case("c", False, False, 1.0, 1.0, 4)]
    for measure in (accuracy.precision, accuracy.recall, accuracy.f1, accuracy.kappa, accuracy.ranking):
        assert measure(cases) == measure(packed)


def test_unweighted_intervals_are_clustered_wilson():
    cases = made(200, 2)
    positive = [c for c in cases if c.truth]
    tasks = sorted({c.cluster for c in positive})
    k = [sum(c.said for c in positive if c.cluster == t) for t in tasks]
    n = [sum(c.cluster == t for c in positive) for t in tasks]
    assert accuracy.recall(cases).interval[:2] == pytest.approx(clustered_wilson(k, n)[:2])
    for same in (True, False):
        alike = [c._replace(said=same) for c in positive]
        assert accuracy.recall(alike).interval[:2] == pytest.approx(clustered_wilson([n * same for n in n], n)[:2])
    one = [c._replace(cluster="t") for c in positive]
    assert accuracy.recall(one).interval[:2] == pytest.approx(clustered_wilson([sum(k)], [sum(n)])[:2])


def test_weighted_intervals_rest_on_fewer():
    # One case stands for 90 of 100: what it says is nearly all that is known.
    cases = [Case(f"t{i}", i % 2 == 0, True) for i in range(10)] + [Case("t10", True, True, None, 90.0)]
    found = accuracy.recall(cases)
    assert found.value == pytest.approx(95 / 100)
    kish = 100**2 / (10 + 90**2)
    variance = 11 / 10 * (5 * (1 - 0.95) ** 2 + 5 * 0.95**2 + (90 * 0.05) ** 2) / 100**2
    low, high = proportion_confint(0.95 * min(kish, 0.95 * 0.05 / variance), min(kish, 0.95 * 0.05 / variance), method="wilson")
    assert found.interval[:2] == pytest.approx((low, high))
    assert "kish" in found.interval.method
    assert accuracy.recall([c._replace(said=True) for c in cases]).interval.low < 0.3


def test_a_queue_that_prefers_flagged_episodes_does_not_flatter():
    # 2,000 episodes, of which the detector finds 40 of 80. All flagged are labelled, and one in ten of the rest.
    covered = 0
    values = []
    for seed in range(200):
        rng = random.Random(seed)
        world = [Case(f"t{i}", i < 40 or 80 <= i < 120, i < 80) for i in range(2000)]
        sample = [c if c.said else c._replace(weight=10.0) for c in world if c.said or rng.random() < 0.1]
        found = accuracy.recall(sample)
        values.append(found.value)
        covered += found.interval.low <= 0.5 <= found.interval.high
    assert sum(values) / len(values) == pytest.approx(0.53, abs=0.05)
    assert covered >= 180
    naive = [accuracy.recall([c._replace(weight=1.0) for c in sample]).value]
    assert naive[0] > 0.8


def test_what_is_not_defined_is_none():
    assert accuracy.precision([Case("a", False, True)]).value is None
    assert accuracy.recall([]).interval is None
    assert accuracy.f1([Case("a", False, False)]).value is None
    assert accuracy.kappa([Case("a", False, False)]).value is None
    assert accuracy.ranking([Case("a", True, True, 1.0)]) is None
    few = [Case(f"t{i}", True, i < 4, float(i)) for i in range(20)]
    assert accuracy.ranking(few).auroc.interval is None, "4 tasks with a positive"


def test_recall_at_few_false_positives_is_reached_by_a_threshold():
    cases = [Case(f"n{i}", False, False, 1.0 if i < 3 else 0.0) for i in range(100)]
    cases += [Case(f"p{i}", False, True, 2.0 if i < 4 else 1.0) for i in range(10)]
    found = accuracy.ranking(cases)
    assert (found.recall_at_1, found.recall_at_5) == (0.4, 1.0)


def test_the_best_threshold_is_youdens():
    cases = [Case("a", False, False, 0.0, 1.0, 90), Case("b", False, False, 1.0, 1.0, 10), Case("c", False, True, 1.0, 1.0, 2)]
    cases += [Case("d", False, True, 2.0, 1.0, 2)]
    assert accuracy.best_threshold(cases) == 1.0  # 1 + 0.9 against 0.5 + 1
    assert accuracy.best_threshold(cases[:2]) is None
    assert accuracy.best_threshold([Case("a", True, True)]) is None


def test_mcnemar_is_exact():
    assert accuracy.mcnemar(0, 0) == 1.0
    assert accuracy.mcnemar(1, 9) == pytest.approx(2 * sum((1, 10)) / 2**10)
    assert accuracy.mcnemar(3, 4) == mcnemar([[5, 3], [4, 5]], exact=True).pvalue
