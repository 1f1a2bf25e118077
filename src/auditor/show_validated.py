"""What people see of labels, and of a validation: accuracy, ranking, errors to read, two audits side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from auditor.queue import Agreement
from auditor.reviewed import AGREED
from auditor.show import table
from auditor.stats.accuracy import Measure
from auditor.truth import Labels
from auditor.validate import NAMES, Accuracy, Error, Key, Versus


def reviewed_table(verdicts: Sequence[dict[str, Any]]) -> Table | None:
    """What people said of an episode, one line a label; None where nobody labelled it."""
    rows = [
        (v["rubric"], v["detector"].removeprefix("reviewer:"), {True: "yes", False: "no", None: "unclear"}[v["flagged"]], v["level"], v["rationale"])
        for v in verdicts
        if v["tier"] == "reviewed" and v["status"] == "ok" and v["detector"] != AGREED
    ]  # fmt: skip
    return table("Reviewed", ("rubric", "reviewer", "flagged", "level", "note"), rows) if rows else None


def tables(
    labels: Labels,
    found: Sequence[Accuracy],
    wrong: Sequence[Error],
    versus: Sequence[Versus] | None,
    agreed: Sequence[tuple[str, Agreement]] = (),
) -> list[Table]:
    """The tables that there is something for."""
    made = [_accuracy(labels, found)]
    if agreed:
        alike = [
            (name, ", ".join(a.reviewers), f"{a.alike}/{a.n}", *map(_two, (a.kappa, a.pabak, a.alpha))) for name, a in agreed
        ]
        columns: tuple[str, ...] = (
            "rubric",
            "reviewers",
            "alike of those labelled by both",
            "Cohen's kappa",
            "PABAK",
            "Krippendorff's alpha",
        )
        made.append(table("How reviewers agree on flagged", columns, alike, right=columns[2:]))
    if any(one.ranking for one in found):
        made.append(_ranking(found))
    if wrong:
        listed = [(*_named(e.key), e.episode_id, _word(e.said), _word(e.label), e.quote) for e in wrong]
        made.append(table("Errors, to read", ("rubric", "detector", "view", "episode", "said", "label", "first quote"), listed))
    if versus is not None:
        pairs = [(v.rubric, v.detector, v.n, v.here, v.there, f"{v.p:.3g}", f"{v.p_holm:.3g}") for v in versus]
        columns = ("rubric", "detector", "episodes", "right here alone", "right there alone", "p, McNemar exact", "p (Holm)")
        made.append(table("Against the other audit", columns, pairs or [("nothing in common", *[None] * 6)], right=columns[2:]))
    return made


def _accuracy(labels: Labels, found: Sequence[Accuracy]) -> Table:
    rows = [
        (*_named(one.key), *(f"{int(n):,}" for n in one.counts), f"{one.unknown:,}", *(_measure(one.measures[name]) for name in NAMES), _how(one))
        for one in found
    ]  # fmt: skip
    columns = ("rubric", "detector", "view", "TP", "FP", "FN", "TN", "not known", *NAMES, "weight")
    title = f"Against labels: {labels.told}. Counts are episodes; shares with 95% Wilson intervals, n effective by task"
    nothing: list[tuple[Any, ...]] = [("no verdict on a labelled episode", *[None] * (len(columns) - 1))]
    return table(title, columns, rows or nothing, right=columns[3:8])


def _ranking(found: Sequence[Accuracy]) -> Table:
    rows = [
        (*_named(one.key), _measure(one.ranking.auroc), f"{one.ranking.auprc:.2f}", f"{one.ranking.recall_at_1:.2f}", f"{one.ranking.recall_at_5:.2f}")
        for one in found
        if one.ranking
    ]  # fmt: skip
    columns = ("rubric", "detector", "view", "AUROC", "AUPRC", "recall at 1% false positives", "at 5%")
    return table("By score: a signal's weight, a judge's level (AUROC: bootstrap over tasks)", columns, rows, right=columns[4:])


def _how(one: Accuracy) -> str:
    return ("1/inclusion" if one.weighted else "1") + (f"; flagged from {one.threshold:g}" if one.threshold is not None else "")


def _named(key: Key) -> tuple[str, str, str]:
    return key.rubric, key.detector.removeprefix("judge:"), key.view


def _word(flagged: bool) -> str:  # noqa: FBT001  # it is what is shown
    return "flagged" if flagged else "not"


def _two(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _measure(measure: Measure) -> str | None:
    if measure.value is None:
        return None
    low, high, _ = measure.interval or (None, None, None)
    return f"{measure.value:.2f}" + (f" ({low:.2f} to {high:.2f})" if low is not None else "")
