"""A judged rate corrected by what people found of its judge: on effective counts, and not where correction cannot help."""

from __future__ import annotations

import shutil

import pytest
from conftest import GREEN, RED, episode
from judged_rows import put, said
from labelled_rows import label, scanned

from auditor import prevalence, report
from auditor.corrected import corrected
from auditor.prevalence import prevalences
from auditor.query import connect
from auditor.report.schema import Report
from auditor.stats.intervals import wilson
from auditor.stats.prevalence import lang_reiczigel
from auditor.store import Audit

N = 100


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """100 episodes of their own task, all judged: 30 flagged (no signal fires, so the strata are `disagreement` and `rest`)."""
    made = [episode(f"e{i:03}", *(RED if i == 99 else GREEN), task=f"t{i}", model="m") for i in range(N)]
    path = scanned(tmp_path_factory.mktemp("corrected"), made)
    put(path, [said(f"e{i:03}", i < 30, quote="Done.") for i in range(N)])
    return path


@pytest.fixture
def path(judged, tmp_path):
    return shutil.copytree(judged, tmp_path / "audit")


@pytest.fixture(autouse=True)
def _many_are_needed(monkeypatch):
    """So that the judge speaks and there is something to correct."""
    monkeypatch.setattr(prevalence, "ENOUGH", 50)


def made(path, by=("model",)):
    con = connect(Audit.open(path))
    return corrected(con, prevalences(con, by))


def test_no_labels_no_correction(path):
    assert made(path) == []


def test_by_hand_it_is_rogan_gladen_with_weights(path):
    # Of the 31 in which judge and signals differ 20 are read, 15 of them are so; of the 69 others 20, 2 are so.
    for i in range(20):
        label(path, f"e{i:03}", i < 15)
    for i in range(30, 50):
        label(path, f"e{i:03}", i < 32)
    (found,) = made(path)
    tp, fp, fn, tn = (w * n for w, n in ((31 / 20, 15), (31 / 20, 5), (69 / 20, 2), (69 / 20, 18)))
    se, sp = tp / (tp + fn), tn / (tn + fp)
    assert found.sensitivity.value == pytest.approx(se)
    assert found.specificity.value == pytest.approx(sp)
    assert (found.positives, found.negatives, found.judged) == (17, 23, 0.3)
    assert found.share == pytest.approx((0.3 + sp - 1) / (se + sp - 1))
    assert found.interval.low < found.share < found.interval.high
    wide = lang_reiczigel(30, 100, se * 17, 17, sp * 23, 23)
    assert found.interval.high - found.interval.low > (wide.high - wide.low) * 0.95, "the labels count for less than their number"
    assert "Rogan-Gladen" in found.told
    assert found.plain()["sensitivity"]["value"] == pytest.approx(se)


def test_the_report_tells_it(path):
    for i in [*range(20), *range(30, 50)]:
        label(path, f"e{i:03}", i < 15)
    label(path, "no such episode", True)
    data = report.facts(Audit.open(path))
    Report.model_validate(data)
    assert [c["rubric"] for c in data["corrected"]] == ["concealment"]
    for page in (report.html(data), report.markdown(data)):
        assert "1 labels are of episodes or rubrics that this audit does not hold" in page
        assert "lang-reiczigel" in page
        assert "of 15" in page, "sensitivity with the number it rests on"


def test_all_labelled_the_effective_counts_are_the_counts(path):
    for i in range(N):
        label(path, f"e{i:03}", i < 24 or 30 <= i < 36)
    con = connect(Audit.open(path))
    rates = [r for r in prevalences(con, ["model"]) if r.rubric == "concealment"]
    assert rates[0].tier == "reviewed", "nothing is left to correct"
    assert corrected(con, rates) == []
    plain = rates[0]._replace(tier="judged", detector="judge:m", share=0.3, interval=wilson(30, 100))
    (found,) = corrected(con, [plain])
    # Each task is one episode, so the clusters cost m / (m - 1).
    expected = lang_reiczigel(30, 100, 24 / 30 * 29, 29, 64 / 70 * 69, 69)
    assert found.interval[:2] == pytest.approx(expected[:2], abs=0.002)


def test_where_correction_cannot_help_it_says_so(path):
    # All that the judge flags is clean, as far as anybody read: 31 of 31 + 9/10 of 69.
    for i in range(10):
        label(path, f"e{i:03}", False)
    for i in range(30, 40):
        label(path, f"e{i:03}", i == 30)
    (found,) = made(path)
    assert found.share is None
    assert (
        found.told
        == "30.0% is not above the 33.3% that the judge flags where there is nothing: correction cannot help, review can"
    )


def test_where_too_little_was_read_the_errors_are_not_known(path):
    for i in range(30, 40):
        label(path, f"e{i:03}", False)
    (found,) = made(path)
    assert (found.share, found.sensitivity.value) == (None, None)
    assert found.told == "of 31 disagreement nothing was read: the judge's errors there are not known; label more"
    label(path, "e000", False)
    (found,) = made(path)
    assert "no reviewed positive" in found.told


def test_other_rubrics_are_left_alone(path):
    label(path, "e000", True, rubric="reward_hacking")
    assert made(path) == [], "the judge read another rubric"
