"""An audit as a notebook sees it: SQL and rates as pandas frames."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from auditor.prevalence import prevalences
from auditor.query import connect, run
from auditor.rates_view import provide
from auditor.store import Audit

if TYPE_CHECKING:
    import pandas as pd


class OpenAudit(Audit):
    """An audit to read, with its numbers as frames."""

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """One SELECT over the documented views (see `auditor.query`). QueryError for anything else."""
        import pandas as pd

        with closing(connect(self)) as con:
            provide(con, query)
            columns, rows = run(con, query, parameters)
        return pd.DataFrame(rows, columns=columns)

    def rates(
        self, by: Sequence[str] = ("model", "checkpoint"), *, rubric: str | None = None, at_least: int | None = None
    ) -> pd.DataFrame:
        """One row a group and rubric: the headline rate with its interval, tier, and what is not known of it.

        `by` are columns of the episodes, or `metadata.KEY`. With `at_least` a level counts in place of the flag. Columns: the
        groups, group, elicited, stage, rubric, at_least, tier, detector, k, n, episodes, tasks, share, best, worst, task_mean, unknown,
        outside, why, low, high, method (`auditor.prevalence.Prevalence` says what each is).
        """
        import pandas as pd

        with closing(connect(self)) as con:
            return pd.DataFrame([r.plain() for r in prevalences(con, by, rubric=rubric, at_least=at_least)])
