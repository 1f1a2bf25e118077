"""What a judged rate would be if the judge made no errors: corrected by its sensitivity and specificity on the reviewed labels.

Both are weighted as in `validate` and pooled over models: what is measured is the judge, not whom it reads. A correction needs a rate
above what the judge flags where there is nothing (1 - specificity); below it only review helps, and that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import duckdb

from auditor.prevalence import Prevalence
from auditor.rates import percent
from auditor.stats import accuracy
from auditor.stats.accuracy import Case, Measure
from auditor.stats.intervals import Interval
from auditor.stats.prevalence import correctable, lang_reiczigel, rogan_gladen
from auditor.truth import agreed
from auditor.validate import Key, cells, plain


class Corrected(NamedTuple):
    """One judged rate, corrected; `share` and `interval` are None where it cannot be, and `told` says why and what helps.

    `positives` and `negatives` are the reviewed episodes, of all models, of which the judge's word is known.
    """

    group: str
    rubric: str
    detector: str
    judged: float
    sensitivity: Measure
    specificity: Measure
    positives: int
    negatives: int
    share: float | None
    interval: Interval | None
    told: str

    def plain(self) -> dict[str, Any]:
        """As JSON types."""
        low, high, method = self.interval or (None, None, None)
        told = {**self._asdict(), "sensitivity": plain(self.sensitivity), "specificity": plain(self.specificity)}
        del told["interval"]
        return {**told, "low": low, "high": high, "method": method}


def corrected(con: duckdb.DuckDBPyConnection, rates: Sequence[Prevalence]) -> list[Corrected]:
    """Of the headline rates that are judged, flagged (no level) and known: each with what its judge's errors make of it.

    None in an audit without reviewed labels of that rubric. Rogan & Gladen (1978) with the interval of Lang & Reiczigel (2014), all counts effective:
    those of the labels by `accuracy.effective`, those of the rate by the n of which a Wilson interval is as wide as the rate's own.
    """
    wanted = [r for r in rates if r.tier == "judged" and r.at_least is None and r.share is not None]
    if not wanted:
        return []
    labels = agreed(con)
    if not labels.rows:
        return []
    known = cells(con, labels)
    labelled = {row.rubric for row in labels.rows}
    found = []
    for rate in wanted:
        if rate.rubric in labelled:
            cell = known.get(Key(rate.rubric, rate.detector, "all"))
            found.append(_corrected(rate, cell.cases if cell else [], labels.unread.get(rate.rubric)))
    return found


def _corrected(rate: Prevalence, cases: Sequence[Case], lacking: str | None) -> Corrected:
    so, not_so = [c for c in cases if c.truth], [c for c in cases if not c.truth]
    judged = rate.share or 0.0
    share, interval, told = _correct(judged, rate.interval, so, not_so)
    if lacking:
        share, interval, told = None, None, f"of {lacking} nothing was read: the judge's errors there are not known; label more"
    return Corrected(
        rate.group, rate.rubric, rate.detector, judged, accuracy.recall(cases), accuracy.specificity(cases), sum(c.times for c in so),
        sum(c.times for c in not_so), share, interval, told,
    )  # fmt: skip


def _correct(
    judged: float, of_judged: Interval, so: Sequence[Case], not_so: Sequence[Case]
) -> tuple[float | None, Interval | None, str]:
    """The corrected share, its interval, and what to say of it."""
    if not so or not not_so:
        lacking = "positive" if not so else "negative"
        return None, None, f"no reviewed {lacking} of which the judge's word is known: its errors are not known; label more"
    (se, positives), (sp, negatives) = accuracy.effective(so, lambda c: c.said), accuracy.effective(not_so, lambda c: not c.said)
    n = _as_wide(judged, of_judged)
    if not correctable(judged * n, n, sp):
        floor = f"{percent(judged)} is not above the {percent(1 - sp)} that the judge flags where there is nothing"
        return None, None, f"{floor}: correction cannot help, review can"
    try:
        share = rogan_gladen(judged * n, n, se, sp)
        interval = lang_reiczigel(judged * n, n, se * positives, positives, sp * negatives, negatives)
    except ValueError:
        return None, None, "the judge is not shown to be better than chance: correction cannot help, review can"
    ends = Interval(min(interval.low, share), max(interval.high, share), f"{interval.method}, effective counts")
    return share, ends, "corrected by the judge's errors on reviewed episodes (Rogan-Gladen)"


def _as_wide(share: float, interval: Interval) -> float:
    """The n of which the Wilson interval of `share` is as wide as `interval`; it falls with n, so that there is one."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    z2 = float(norm.ppf(0.975)) ** 2
    width = interval.high - interval.low

    def off(n: float) -> float:
        wilson: float = 2 * (z2 * (share * (1 - share) / n + z2 / (4 * n * n))) ** 0.5 / (1 + z2 / n)
        return wilson - width

    low, high = 1e-3, 1e9
    if off(low) <= 0:
        return low
    return high if off(high) >= 0 else float(brentq(off, low, high))
