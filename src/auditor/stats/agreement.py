"""Agreement between raters."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.errors import MissingExtra


def nominal_alpha(ratings: Sequence[Sequence[bool | None]]) -> float | None:
    """Krippendorff's alpha over nominal ratings: one sequence a rater, one place an episode, None where it did not rate.

    1 is perfect agreement, 0 what chance gives. None where alpha is not defined: fewer than two values that can be paired,
    or every rating the same, which leaves nothing to agree on. Krippendorff (2011), "Computing Krippendorff's
    Alpha-Reliability", section C.
    """
    import krippendorff
    import numpy as np

    table = np.array([[np.nan if v is None else float(v) for v in row] for row in ratings], dtype=float)
    if table.size == 0:
        return None
    paired = table[:, (~np.isnan(table)).sum(axis=0) > 1]
    if paired.size == 0 or len(np.unique(paired[~np.isnan(paired)])) < 2:
        return None
    # The package takes `interval` unless told.
    return float(krippendorff.alpha(reliability_data=paired, level_of_measurement="nominal"))


def cohen_kappa(a: Sequence[bool | None], b: Sequence[bool | None]) -> float | None:
    """Cohen's kappa of two raters, one place an episode: (po - pe) / (1 - pe), po the share alike, pe the share by chance.

    1 is perfect, 0 chance, down to -1. Cohen (1960), Educational and Psychological Measurement 20, formula 1, by scikit-learn,
    unweighted. Places where one is None are left out; None where nothing is left, or both gave one same answer throughout. Not
    alone for rare events: at a few percent it is low even when nearly all is alike (`pabak` beside it). ValueError for unequal
    lengths.
    """
    try:
        from sklearn.metrics import cohen_kappa_score
    except ImportError:
        raise MissingExtra("Cohen's kappa", "stats") from None

    pairs = _both(a, b)
    if len({value for pair in pairs for value in pair}) < 2:
        return None
    first, second = zip(*pairs, strict=True)
    return float(cohen_kappa_score(first, second, labels=[False, True], weights=None))


def pabak(a: Sequence[bool | None], b: Sequence[bool | None]) -> float | None:
    """Prevalence- and bias-adjusted kappa of two raters and two categories: 2 po - 1, po the share alike; from -1 to 1.

    Byrt, Bishop & Carlin (1993), J. of Clinical Epidemiology 46. Places where one is None are left out; None where
    nothing is left. Not alone for rare events: two raters who say no to everything get 1; read it beside `cohen_kappa`.
    ValueError for unequal lengths.
    """
    pairs = _both(a, b)
    return 2 * sum(x == y for x, y in pairs) / len(pairs) - 1 if pairs else None


def _both(a: Sequence[bool | None], b: Sequence[bool | None]) -> list[tuple[bool, bool]]:
    return [(bool(x), bool(y)) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
