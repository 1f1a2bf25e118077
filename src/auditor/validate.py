"""How good the detectors are: each rubric, detector and view held against labels, and two audits against each other.

What a detector does not know (refused, not drawn, nothing to judge) and what a label leaves open is in no count but `unknown`. Weights:
of a label 1 / inclusion of its stratum, of a judged verdict 1 / inclusion of the draw. `how` says whether they were needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import duckdb

from auditor.prevalence import CLUSTER
from auditor.sample import uniform
from auditor.stats import accuracy
from auditor.stats.accuracy import Case, Measure, Ranking, Table
from auditor.stats.compare import holm
from auditor.truth import Labels, Truth

NAMES = ("precision", "recall", "specificity", "f1", "kappa")
_MEASURES = (accuracy.precision, accuracy.recall, accuracy.specificity, accuracy.f1, accuracy.kappa)
_SCORE = "CASE WHEN v.tier = 'judged' THEN v.level::DOUBLE ELSE CAST(json_extract(v.attributes, '$.weight') AS DOUBLE) END"
_ROWS = (
    f"SELECT v.rubric, v.detector, v.view, v.episode_id, {CLUSTER} AS cluster, CASE WHEN v.status = 'ok' THEN v.flagged END AS said, t.flagged AS truth,"
    f" CASE WHEN v.status = 'ok' THEN {_SCORE} END AS score, t.weight * CASE WHEN v.tier = 'judged' THEN v.weight ELSE 1 END AS weight"
    " FROM _truth t JOIN verdicts v USING (episode_id, rubric) JOIN episodes e USING (episode_id) WHERE v.tier <> 'reviewed'"
)


class Key(NamedTuple):
    """One detector on one rubric in one view."""

    rubric: str
    detector: str
    view: str


class Accuracy(NamedTuple):
    """What one detector is worth. `counts` are episodes; where `weighted`, the measures are of their weights.

    `unknown` episodes have a label or could have one, and the label or the detector does not say. `threshold`: the score from which it counts as flagged,
    None for its own word. `ranking` is None where there is no score, or one kind of label alone.
    """

    key: Key
    counts: Table
    unknown: int
    tasks: int
    weighted: bool
    threshold: float | None
    measures: dict[str, Measure]
    ranking: Ranking | None

    @property
    def how(self) -> str:
        """By which counts, in words."""
        return "weighted by 1 / inclusion" if self.weighted else "each episode once"

    def plain(self) -> dict[str, Any]:
        """As JSON types."""
        told: dict[str, Any] = {
            **self.key._asdict(), **{k: int(v) for k, v in self.counts._asdict().items()}, "n": int(sum(self.counts)), "unknown": self.unknown,
            "tasks": self.tasks, "how": self.how, "threshold": self.threshold,
        }  # fmt: skip
        for name, measure in self.measures.items():
            told[name] = plain(measure)
        if self.ranking is not None:
            told |= {**self.ranking._asdict(), "auroc": plain(self.ranking.auroc)}
        return told


def plain(measure: Measure) -> dict[str, Any]:
    """A measure as JSON types."""
    low, high, method = measure.interval or (None, None, None)
    return {"value": measure.value, "low": low, "high": high, "method": method}


class Chosen(NamedTuple):
    """Which score counts as flagged: `at` for all, or, with `choose`, the best on one half of the tasks, reported on the other."""

    at: float | None = None
    choose: bool = False
    seed: int = 0

    def first_half(self, cluster: str) -> bool:
        """Whether a task is of the half on which the threshold is chosen."""
        return uniform(f"threshold\0{cluster}", self.seed) < 0.5


class Cell(NamedTuple):
    """The cases of one detector; `other`: of each label or verdict that is not known its task."""

    cases: list[Case]
    other: list[str]


@contextmanager
def _labelled(con: duckdb.DuckDBPyConnection, rows: Sequence[Truth]) -> Iterator[None]:
    """The labels as a table `_truth`, as long as this lasts."""
    import pyarrow as pa

    kinds = (pa.string(), pa.string(), pa.bool_(), pa.float64())
    columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
    arrays = [pa.array(column, type=kind) for column, kind in zip(columns, kinds, strict=True)]
    con.register("_truth", pa.Table.from_arrays(arrays, names=list(Truth._fields)))
    try:
        yield
    finally:
        con.unregister("_truth")


def cells(con: duckdb.DuckDBPyConnection, labels: Labels, at: float | None = None) -> dict[Key, Cell]:
    """What each detector said of the labelled episodes; `at` is a score from which it counts as flagged."""
    sql = f"SELECT rubric, detector, view, cluster, said, truth, score, weight, count(*) FROM ({_ROWS}) GROUP BY ALL ORDER BY ALL"
    found: dict[Key, Cell] = defaultdict(lambda: Cell([], []))
    with _labelled(con, labels.rows):
        cursor = con.execute(sql)
        while rows := cursor.fetchmany(10_000):
            for *key, cluster, said, truth, score, weight, times in rows:
                cell = found[Key(*key)]
                word = said if at is None else None if score is None else score >= at
                if word is None or truth is None:
                    cell.other.extend([cluster] * times)
                else:
                    cell.cases.append(Case(cluster, word, truth, score, weight, times))
    return found


def accuracies(con: duckdb.DuckDBPyConnection, labels: Labels, chosen: Chosen = Chosen()) -> list[Accuracy]:  # noqa: B008  # immutable
    """Each rubric, detector and view that has a verdict on a labelled episode. MissingExtra without scikit-learn."""
    return [_accuracy(key, cell, chosen) for key, cell in sorted(cells(con, labels, chosen.at).items(), key=_order)]


def _order(entry: tuple[Key, Cell]) -> tuple[Any, ...]:
    key = entry[0]
    return key.rubric, key.detector != "signals", key.detector, key.view != "all", key.view


def _accuracy(key: Key, cell: Cell, chosen: Chosen) -> Accuracy:
    cases, other, threshold = cell.cases, cell.other, chosen.at
    if chosen.choose:
        threshold = accuracy.best_threshold([c for c in cases if chosen.first_half(c.cluster)])
        cases, other = [c for c in cases if not chosen.first_half(c.cluster)], [c for c in other if not chosen.first_half(c)]
        if threshold is not None:
            other = other + [c.cluster for c in cases if c.score is None for _ in range(c.times)]
            cases = [c._replace(said=c.score >= threshold) for c in cases if c.score is not None]
    measures = {name: measure(cases) for name, measure in zip(NAMES, _MEASURES, strict=True)}
    tasks = len({c.cluster for c in cases})
    return Accuracy(
        key, accuracy.counts(cases), len(other), tasks, accuracy.is_weighted(cases), threshold, measures, accuracy.ranking(cases)
    )


class Error(NamedTuple):
    """An episode of which detector and label say different things, with the first words that the detector quotes."""

    key: Key
    episode_id: str
    said: bool
    label: bool
    quote: str | None


def errors(con: duckdb.DuckDBPyConnection, labels: Labels, found: Sequence[Accuracy], chosen: Chosen, most: int) -> list[Error]:
    """At most `most` of each detector, rubric and view, by id, false alarms first; judged by the threshold of `found`."""
    told = []
    first = (
        "SELECT episode_id, rubric, detector, view, arg_min(quote, (message, start)) AS quote FROM evidence"
        " WHERE rubric = ? AND detector = ? AND view = ? GROUP BY ALL"
    )
    said = "CASE WHEN ?::DOUBLE IS NULL THEN said ELSE score >= ? END"
    sql = (
        f"SELECT r.episode_id, cluster, {said} AS word, truth, quote FROM ({_ROWS} AND v.rubric = ? AND v.detector = ? AND v.view = ?) r"
        f" LEFT JOIN ({first}) USING (episode_id, rubric, detector, view) WHERE word <> truth ORDER BY word DESC, r.episode_id LIMIT ?"
    )
    with _labelled(con, labels.rows):
        for one in found:
            rows = con.execute(
                sql, [one.threshold, one.threshold, *one.key, *one.key, None if chosen.choose else most]
            ).fetchall()
            mine = [row for row in rows if not (chosen.choose and chosen.first_half(row[1]))][:most]
            told += [Error(one.key, episode, word, truth, quote) for episode, _, word, truth, quote in mine]
    return told


class Versus(NamedTuple):
    """Two audits on the same labelled episodes (view all): how many only the one, only the other has right; McNemar's exact p, Holm over all."""

    rubric: str
    detector: str
    n: int
    here: int
    there: int
    p: float
    p_holm: float


def against(here: duckdb.DuckDBPyConnection, there: duckdb.DuckDBPyConnection, labels: Labels) -> list[Versus]:
    """Each rubric and detector that both audits have, over episodes that both know."""
    a, b = (_right(con, labels) for con in (here, there))
    found = []
    for key in sorted(a.keys() & b.keys()):
        both = a[key].keys() & b[key].keys()
        only = sum(a[key][e] and not b[key][e] for e in both), sum(b[key][e] and not a[key][e] for e in both)
        if both:
            found.append(Versus(*key, len(both), *only, accuracy.mcnemar(*only), 1.0))
    return [one._replace(p_holm=p) for one, p in zip(found, holm([one.p for one in found]), strict=True)]


def _right(con: duckdb.DuckDBPyConnection, labels: Labels) -> dict[tuple[str, str], dict[str, bool]]:
    """(rubric, detector) → episode → whether it is right, of those that it knows."""
    found: dict[tuple[str, str], dict[str, bool]] = defaultdict(dict)
    with _labelled(con, labels.rows):
        cursor = con.execute(
            f"SELECT rubric, detector, episode_id, said = truth FROM ({_ROWS} AND v.view = 'all') WHERE said = truth IS NOT NULL"
        )
        while rows := cursor.fetchmany(10_000):
            for rubric, detector, episode, right in rows:
                found[rubric, detector][episode] = right
    return found
