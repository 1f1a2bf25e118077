"""Consistency: in how many of a model's tasks and environments it happens at all, and whether environments differ beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import duckdb

from auditor.prevalence import Prevalence
from auditor.rates import NATURAL, UNKNOWN_MODEL
from auditor.stats.compare import benjamini_hochberg, heterogeneity
from auditor.stats.intervals import Interval, wilson


class Spread(NamedTuple):
    """One group and rubric, over natural episodes with a named task whose answer is known, by the detector of its headline.

    `tasks_hit` of `tasks` have at least one hit, and so have `environments_hit` of `environments`. `p` is that of "all
    environments have one rate", by Benjamini and Hochberg over all rows (an exploration), None where nothing can be said. Where only some of the rest were judged, more may have one.
    """

    group: str
    rubric: str
    tier: str
    tasks_hit: int
    tasks: int
    of_tasks: Interval
    environments_hit: int
    environments: int
    of_environments: Interval
    p: float | None

    def plain(self) -> dict[str, Any]:
        """As one flat row."""
        told = self._asdict()
        tasks, environments = told.pop("of_tasks"), told.pop("of_environments")
        return {**told, "tasks_low": tasks.low, "tasks_high": tasks.high, "environments_low": environments.low,
                "environments_high": environments.high}  # fmt: skip


_TASKS = f"""SELECT coalesce(e.model, '{UNKNOWN_MODEL}') AS model, checkpoint, rubric, tier, detector, environment, task,
 count(*) FILTER (flagged) AS k, count(*) AS n FROM verdicts v JOIN episodes e USING (episode_id) WHERE view = 'all' AND v.status = 'ok'
 AND flagged IS NOT NULL AND task IS NOT NULL AND {NATURAL} GROUP BY ALL"""
_GROUP = "model, checkpoint, rubric, tier, detector"


def spreads(con: duckdb.DuckDBPyConnection, rates: Sequence[Prevalence]) -> list[Spread]:
    """One for each headline rate (by model and checkpoint) of natural episodes with two named tasks or more."""
    ranked = f"dense_rank() OVER (ORDER BY {_GROUP}) AS number"
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE _tasks AS SELECT *, {ranked}, dense_rank() OVER (ORDER BY environment) AS place FROM ({_TASKS})"
    )
    numbers = {tuple(key): number for *key, number in con.execute(f"SELECT DISTINCT {_GROUP}, number FROM _tasks").fetchall()}
    found = []
    for rate in rates:
        key = (rate.by["model"] or UNKNOWN_MODEL, rate.by["checkpoint"], rate.rubric, rate.tier, rate.detector)
        if rate.elicited == "natural" and key in numbers:
            columns = con.execute(
                "SELECT place, k, n FROM _tasks WHERE number = ? ORDER BY place, task", [numbers[key]]
            ).fetchnumpy()
            if len(columns["n"]) > 1:
                found.append(_spread(rate, columns["k"], columns["n"], columns["place"]))
    con.execute("DROP TABLE _tasks")
    adjusted = iter(benjamini_hochberg([one.p for one in found if one.p is not None]))
    return [one if one.p is None else one._replace(p=next(adjusted)) for one in found]


def _spread(rate: Prevalence, k: Any, n: Any, place: Any) -> Spread:
    tasks, places, hit = int((k > 0).sum()), len({*place.tolist()}), len({*place[k > 0].tolist()})
    of_tasks, of_places = wilson(tasks, len(n)), wilson(hit, places)
    return Spread(rate.group, rate.rubric, rate.tier, tasks, len(n), of_tasks, hit, places, of_places, heterogeneity(k, n, place))
