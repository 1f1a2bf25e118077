"""Agreement between raters."""

from __future__ import annotations

from collections.abc import Sequence


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
