"""Words that set two groups apart: the formula by hand, and what it is for."""

from __future__ import annotations

from math import log, sqrt

import pytest

from auditor.stats.log_odds import informative


def test_by_hand():
    found = {o.word: o for o in informative({"a": 8, "b": 2}, {"a": 10, "b": 80}, prior=50)}
    alpha = 50 * 18 / 100
    delta = log((8 + alpha) / (10 + 50 - 8 - alpha)) - log((10 + alpha) / (90 + 50 - 10 - alpha))
    assert found["a"].delta == pytest.approx(delta)
    assert found["a"].z == pytest.approx(delta / sqrt(1 / (8 + alpha) + 1 / (10 + alpha)))


def test_swapped_groups_give_the_negative():
    a, b = {"x": 3, "y": 5, "z": 1}, {"x": 30, "y": 2}
    there, back = informative(a, b), informative(b, a)
    assert {o.word: o.z for o in there} == pytest.approx({o.word: -o.z for o in back})
    assert [o.word for o in there] == ["y", "z", "x"]


def test_a_rare_word_does_not_beat_a_common_one():
    common = {"the": 500, "quietly": 40, "once": 1}
    found = informative(common, {"the": 5000, "quietly": 40})
    assert [o.word for o in found][:2] == ["quietly", "once"]
    assert informative({}, {"a": 1}) == []
    assert informative({"a": 2}, {"a": 1}) == [], "of one word nothing can be said"
