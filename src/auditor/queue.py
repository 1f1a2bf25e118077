"""What a reviewer reads next: where detectors disagree first, something of every stratum soon; and how reviewers agree.

Within a stratum (`auditor.reviewed`) the order is a hash of episode and seed, so that whoever stops anywhere has read a random
sample of each stratum, and two reviewers with the same seed read the same episodes.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import duckdb

from auditor.errors import MissingExtra, QueryError
from auditor.labels import Label, standing
from auditor.query import run
from auditor.reviewed import STRATA
from auditor.sample import uniform
from auditor.stats.agreement import cohen_kappa, nominal_alpha, pabak

_REST = "rest"
_TURNS = ("disagreement", "high", "disagreement", _REST, "flagged", "disagreement", "high", _REST)
"""Whose turn it is, over and over: what says most first, and of every stratum something, for of one that nobody read nothing is known."""


class Queued(NamedTuple):
    """An episode to label. `inclusion`: the share of its stratum that somebody has labelled once this queue is done."""

    episode_id: str
    stratum: str
    inclusion: float


def queue(con: duckdb.DuckDBPyConnection, rubric: str, *, reviewer: str, n: int, seed: int = 0) -> list[Queued]:
    """At most `n` episodes that `reviewer` has not labelled under `rubric`, in the order in which to read them.

    Disagreements have three places of eight, what is high two, the flagged one, the rest two (at least one); a stratum that is used
    up gives its places to the next. Episodes that somebody picked by hand are left out: they stand for themselves. The order
    within a stratum is that of `sample.uniform(episode_id, seed)`, taken by DuckDB's sha256 of the same bytes, so that no more
    than `n` ids a stratum leave it. QueryError for a rubric that the audit does not hold.
    """
    if n <= 0:
        return []
    sizes = _sizes(con, rubric)
    _, rows = run(
        con,
        "SELECT episode_id, stratum, labelled FROM (SELECT s.episode_id, drawn_from AS stratum, l.episode_id IS NOT NULL AS labelled,"
        " sha256(? || chr(0) || s.episode_id) AS place FROM _strata s LEFT JOIN _labelled l USING (episode_id, rubric)"
        " WHERE s.rubric = ? AND drawn_from IS NOT NULL AND l.drawn IS DISTINCT FROM false AND s.episode_id NOT IN"
        " (SELECT episode_id FROM _labels WHERE reviewer = ? AND rubric = ?))"
        " QUALIFY row_number() OVER (PARTITION BY stratum ORDER BY place) <= ? ORDER BY list_position(?, stratum), place",
        [str(seed), rubric, reviewer, rubric, n, list(STRATA)],
    )
    picked = _mixed(rows, n)
    drawn = {name: done + sum(s == name and not labelled for _, s, labelled in picked) for name, (_, done) in sizes.items()}
    return [Queued(episode, stratum, drawn[stratum] / sizes[stratum][0]) for episode, stratum, _ in picked]


def _sizes(con: duckdb.DuckDBPyConnection, rubric: str) -> dict[str, tuple[int, int]]:
    """(episodes, of them labelled) of each stratum, those picked by hand left out."""
    _, rows = run(
        con,
        "SELECT drawn_from, count(*), count(l.episode_id) FROM _strata s LEFT JOIN _labelled l USING (episode_id, rubric)"
        " WHERE s.rubric = ? AND drawn_from IS NOT NULL AND l.drawn IS DISTINCT FROM false GROUP BY 1",
        [rubric],
    )
    if not rows and not run(con, "SELECT 1 FROM _strata WHERE rubric = ? LIMIT 1", [rubric])[1]:
        known = ", ".join(str(r[0]) for r in run(con, "SELECT DISTINCT rubric FROM _strata ORDER BY 1")[1])
        raise QueryError(f"--rubric {rubric}: none in this audit; there are {known or 'none'}")
    return {stratum: (size, done) for stratum, size, done in rows}


def _mixed(rows: Sequence[tuple[str, str, bool]], n: int) -> list[tuple[str, str, bool]]:
    """At most `n` of the rows, their strata by turns; the last place goes to the rest where a queue is shorter than its first turn."""
    waiting = {name: deque(row for row in rows if row[1] == name) for name in STRATA}
    picked: list[tuple[str, str, bool]] = []
    for place in range(n):
        turn = _REST if place == n - 1 < _TURNS.index(_REST) else _TURNS[place % len(_TURNS)]
        stratum = next((name for name in (turn, *STRATA) if waiting[name]), None)
        if stratum is None:
            break
        picked.append(waiting[stratum].popleft())
    return picked


def shuffled(queued: Iterable[Queued], seed: int = 0) -> list[Queued]:
    """The same episodes in an order that tells nothing of their strata, for blind reading; within each stratum it is as before."""
    return sorted(queued, key=lambda one: uniform(one.episode_id, seed))


class Agreement(NamedTuple):
    """How reviewers agree on flagged, over the `n` episodes that at least two of them labelled with a yes or a no.

    `alike`: all who know it say the same. Of two: Cohen's kappa (None without scikit-learn) and PABAK, read together where flags
    are rare; of all Krippendorff's alpha. None where not defined.
    """

    reviewers: tuple[str, ...]
    n: int
    alike: int
    kappa: float | None
    pabak: float | None
    alpha: float | None


def agreement(labels: Iterable[Label], rubric: str) -> list[Agreement]:
    """Each pair of reviewers of a rubric, and all of them where they are more than two."""
    said: dict[str, dict[str, bool | None]] = {}
    for one in standing(labels):
        if one.rubric == rubric:
            said.setdefault(one.reviewer, {})[one.episode_id] = one.flagged
    names = sorted(said)
    pairs = list(itertools.combinations(names, 2))
    return [_agreement(group, said) for group in [*pairs, *([tuple(names)] if len(names) > 2 else [])]]


def by_rubric(labels: Sequence[Label], rubric: str | None = None) -> list[tuple[str, Agreement]]:
    """(rubric, agreement) of all rubrics that have labels, or of one."""
    names = sorted({one.rubric for one in labels} if rubric is None else {rubric})
    return [(name, one) for name in names for one in agreement(labels, name)]


def _agreement(names: tuple[str, ...], said: dict[str, dict[str, bool | None]]) -> Agreement:
    episodes = sorted({episode for name in names for episode in said[name]})
    table = [[said[name].get(episode) for episode in episodes] for name in names]
    known = [[v for v in column if v is not None] for column in zip(*table, strict=True)]
    n, alike = sum(len(c) > 1 for c in known), sum(len(c) > 1 and len({*c}) == 1 for c in known)
    two = table if len(names) == 2 else None
    return Agreement(names, n, alike, _kappa(*two) if two else None, pabak(*two) if two else None, nominal_alpha(table))


def _kappa(a: Sequence[bool | None], b: Sequence[bool | None]) -> float | None:
    with contextlib.suppress(MissingExtra):
        return cohen_kappa(a, b)
    return None
