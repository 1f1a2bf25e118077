"""Counts and rates per model, read from the views of an audit. Every rate carries k, n, interval and method.

Nothing unknown counts as clean: n holds only verdicts with status ok, the rest is shown as `unknown` by reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import duckdb

from auditor.asked import CLASSES, UNANSWERED, UNCLASSIFIED
from auditor.query import run
from auditor.stats.agreement import nominal_alpha
from auditor.stats.intervals import Interval, wilson

UNKNOWN_MODEL = "unknown"
VIEWS = ("all", "actions", "reasoning")
ELICITED = "CASE WHEN elicitation IN ('impossible_task', 'instructed', 'prefilled') THEN 'elicited' ELSE 'natural' END"
NATURAL = f"({ELICITED}) = 'natural'"
# A log that does not say is of neither.
STAGE = "CASE WHEN checkpoint IS NULL THEN 'unknown' WHEN lower(checkpoint) = 'release' THEN 'release' ELSE 'snapshot' END"
APART = {"natural": "", "elicited": "elicited", "unknown": "", "release": "release", "snapshot": "snapshots"}
"""Never pooled with others: what a group of episodes is called by its elicitation and its checkpoint."""


class Rate(NamedTuple):
    """k of n episodes of one model, with its interval; `unknown` counts those that have no answer, by reason.

    A judge's rates stand apart by `detector` and by `stratum`: candidates, the sampled rest, or all. None of them but
    that of `all` is a prevalence, and they are never pooled. `view` is `all` but where a judge was shown only parts.
    """

    model: str
    rubric: str
    tier: str
    detector: str
    stratum: str | None
    k: int
    n: int
    interval: Interval
    unknown: dict[str, int]
    view: str = "all"
    apart: str = ""

    @property
    def who(self) -> str:
        """The model, and what sets these episodes apart from its others."""
        return f"{self.model} ({self.apart})" if self.apart else self.model

    @property
    def of(self) -> str:
        """Which episodes, in words."""
        return _of(self.stratum, self.view)

    @property
    def share(self) -> float | None:
        """k / n, None for n = 0."""
        return self.k / self.n if self.n else None

    def plain(self) -> dict[str, Any]:
        """As JSON types."""
        low, high, method = self.interval
        return {
            "model": self.model, "apart": self.apart, "rubric": self.rubric, "tier": self.tier, "detector": self.detector, "stratum": self.stratum, "view": self.view,
            "of": self.of, "k": self.k, "n": self.n, "rate": self.share, "low": low, "high": high, "method": method, "unknown": self.unknown,
        }  # fmt: skip


class Admission(NamedTuple):
    """What one model answered when asked inside its logs: `counts` by class over the last question of each episode."""

    model: str
    asked: int
    counts: dict[str, int]

    def rate(self, answer_class: str) -> tuple[int, int, Interval]:
        """k, n and interval of one class."""
        k = self.counts.get(answer_class, 0)
        return k, self.asked, wilson(k, self.asked)


class Model(NamedTuple):
    """One model: how many episodes, of which environments and formats, with which reasoning."""

    model: str
    episodes: int
    tasks: int
    environments: list[str]
    reasoning: dict[str, int]
    passed: int
    scored: int


def models(con: duckdb.DuckDBPyConnection) -> list[Model]:
    """All models, those that a log does not name last, under `unknown`."""
    _, rows = run(
        con,
        "SELECT model, count(*), count(DISTINCT task), list_sort(list(DISTINCT environment) FILTER (environment IS NOT NULL)),"
        " count(*) FILTER (passed), count(passed) FROM episodes GROUP BY model ORDER BY model NULLS LAST",
    )
    _, kinds = run(con, "SELECT model, reasoning_kind, count(*) FROM episodes GROUP BY ALL ORDER BY ALL")
    reasoning: dict[str | None, dict[str, int]] = {}
    for model, kind, count in kinds:
        reasoning.setdefault(model, {})[kind] = count
    return [
        Model(m or UNKNOWN_MODEL, episodes, tasks, list(environments or []), reasoning.get(m, {}), passed, scored)
        for m, episodes, tasks, environments, passed, scored in rows
    ]


_REASONS = ("not drawn", "budget", "waiting")
_STRATA = {"candidate": "candidates", "rest": "sampled rest", "all": "all episodes"} | {
    name: name for name in ("disagreement", "high", "flagged", "by hand")
}
_STRATUM = "CASE WHEN tier <> 'candidate' THEN json_extract_string(attributes, '$.stratum') END"
# The whole of each episode; of a judge that was shown only parts of it, those.
_WHOLE = "(view = 'all' OR (rubric, detector) NOT IN (SELECT DISTINCT (rubric, detector) FROM verdicts WHERE view = 'all'))"


def _of(stratum: str | None, view: str = "all") -> str:
    named = _STRATA.get(stratum or "", "stratum not known")
    return named if view == "all" else f"{named}, {view} alone"


def rates(con: duckdb.DuckDBPyConnection) -> list[Rate]:
    """Per model, rubric, detector and stratum, over the whole of each episode (view `all`), candidates before judged.

    A judge that was asked only with other views has a rate for each of them. Elicited episodes, releases and snapshots stand apart.
    """
    apart, source = "'natural' AS elicited, 'unknown' AS stage", "verdicts v"
    if run(con, f"SELECT 1 FROM episodes WHERE checkpoint IS NOT NULL OR ({ELICITED}) = 'elicited' LIMIT 1")[1]:
        apart, source = f"{ELICITED} AS elicited, {STAGE} AS stage", "verdicts v JOIN episodes e USING (episode_id)"
    _, rows = run(
        con,
        f"SELECT * FROM (SELECT {apart}, v.model, rubric, tier, detector, {_STRATUM} AS stratum, view,"
        " v.status, flagged, CASE WHEN v.status = 'skipped' THEN error END AS why, count(*)"
        f" FROM {source} GROUP BY ALL) ORDER BY tier, model NULLS LAST, elicited DESC,"
        " list_position(['release', 'unknown', 'snapshot'], stage), rubric, detector, stratum, view, status, flagged, why",
    )
    found: dict[tuple[Any, ...], tuple[int, int, dict[str, int]]] = {}
    whole = {(rubric, detector) for _, _, _, rubric, _, detector, _, view, *_ in rows if view == "all"}
    for elicited, stage, model, *cell, status, flagged, why, count in rows:
        rubric, _, detector, _, view = cell
        if view != "all" and (rubric, detector) in whole:
            continue
        key = (model or UNKNOWN_MODEL, ", ".join(filter(None, (APART[stage], APART[elicited]))), *cell)
        k, n, unknown = found.get(key, (0, 0, {}))
        if status == "ok" and flagged is not None:
            k, n = k + (count if flagged else 0), n + count
        else:
            reason = "unclear" if status == "ok" else next((r for r in _REASONS if (why or "").startswith(r)), status)
            unknown = {**unknown, reason: unknown.get(reason, 0) + count}
        found[key] = (k, n, unknown)
    return [
        Rate(model, rubric, tier, detector, stratum, k, n, wilson(k, n), unknown, view, apart)
        for (model, apart, rubric, tier, detector, stratum, view), (k, n, unknown) in found.items()
    ]


class Views(NamedTuple):
    """One judge on one stratum by view: of `known` episodes each view flags `flagged`; `union` are flagged in any view.

    `episodes` are known in at least one view. `unknown` of them are flagged in none and not known in some: neither
    clean nor counted in `union`.
    """

    model: str
    rubric: str
    detector: str
    stratum: str | None
    episodes: int
    known: dict[str, int]
    flagged: dict[str, int]
    union: int
    unknown: int

    @property
    def of(self) -> str:
        """Which episodes, in words."""
        return _of(self.stratum)

    def plain(self) -> dict[str, Any]:
        """As JSON types."""
        return {**self._asdict(), "of": self.of}


def by_view(con: duckdb.DuckDBPyConnection) -> list[Views]:
    """Judged verdicts by view, where there is more than one view."""
    counts = ", ".join(f"count(view_{v}), count(*) FILTER (view_{v})" for v in VIEWS)
    flags = ", ".join(f"bool_or(flag) FILTER (view = '{v}') AS view_{v}" for v in VIEWS)
    # Most judges have one view alone: their episodes need not be grouped.
    several = (
        "SELECT (rubric, detector) FROM verdicts WHERE tier = 'judged' GROUP BY rubric, detector HAVING min(view) < max(view)"
    )
    _, rows = run(
        con,
        f"WITH cells AS (SELECT model, rubric, detector, {_STRATUM} AS stratum, episode_id, view, CASE WHEN status = 'ok' THEN flagged END AS flag"
        f" FROM verdicts WHERE tier = 'judged' AND (rubric, detector) IN ({several})), episode AS (SELECT model, rubric, detector, stratum, episode_id, {flags}, list(DISTINCT view) AS views,"
        " coalesce(bool_or(flag), false) AS yes, count(flag) > 0 AS known, count(flag) < count(*) AS gap FROM cells GROUP BY 1, 2, 3, 4, 5)"
        " SELECT model, rubric, detector, stratum, list_distinct(flatten(list(views))), count(*) FILTER (known), count(*) FILTER (yes),"
        f" count(*) FILTER (known AND NOT yes AND gap), {counts} FROM episode GROUP BY 1, 2, 3, 4"
        " HAVING count(*) FILTER (known) > 0 AND max(len(views)) > 1 ORDER BY model NULLS LAST, rubric, detector, stratum",
    )
    found = []
    for model, rubric, detector, stratum, views, episodes, union, unknown, *pairs in rows:
        each = {v: pairs[2 * i : 2 * i + 2] for i, v in enumerate(VIEWS) if v in views}
        known, flagged = {v: n for v, (n, _) in each.items()}, {v: k for v, (_, k) in each.items()}
        found.append(Views(model or UNKNOWN_MODEL, rubric, detector, stratum, episodes, known, flagged, union, unknown))
    return found


class Agreement(NamedTuple):
    """Krippendorff's alpha (nominal) of all votes of all judges; None where it is not defined (no variation)."""

    rubric: str
    view: str
    raters: int
    episodes: int
    alpha: float | None

    @property
    def told(self) -> str:
        """Alpha in words."""
        if self.alpha is not None:
            return f"{self.alpha:.2f}"
        return "not defined (all votes agree)" if self.episodes else "not defined (no episode has two votes)"


def agreement(con: duckdb.DuckDBPyConnection) -> list[Agreement]:
    """Per rubric and view, where there are two raters or more: every vote of a judge is one."""
    votes = (
        "(SELECT rubric, view, detector, episode_id, CAST(json_extract(attributes, '$.votes') AS BOOLEAN[]) AS votes FROM verdicts"
        " WHERE tier = 'judged' AND detector <> 'judge:majority' AND json_extract(attributes, '$.votes') IS NOT NULL)"
    )
    _, rows = run(con, f"SELECT rubric, view, detector, coalesce(max(len(votes)), 0) FROM {votes} GROUP BY ALL ORDER BY ALL")
    raters: Counter[tuple[str, str]] = Counter()
    for rubric, view, _, most in rows:
        raters[rubric, view] += most
    told = []
    for (rubric, view), several in raters.items():
        if several < 2:
            continue
        # Who voted how makes no difference to alpha: episodes with equal numbers of yes and no are alike.
        _, rows = run(
            con,
            f"SELECT yes, no, count(*) FROM (SELECT count(*) FILTER (vote) AS yes, count(*) FILTER (NOT vote) AS no FROM"
            f" (SELECT episode_id, unnest(votes) AS vote FROM {votes} WHERE rubric = ? AND view = ?) GROUP BY episode_id) GROUP BY ALL ORDER BY ALL",
            [rubric, view],
        )
        cells = [([True] * yes + [False] * no, times) for yes, no, times in rows if yes + no > 1]
        most = max((len(cell) for cell, _ in cells), default=0)
        table = [[vote for cell, times in cells for vote in [(cell + [None] * most)[i]] * times] for i in range(most)]
        told.append(Agreement(rubric, view, several, sum(times for _, times in cells), nominal_alpha(table)))
    return told


def admissions(con: duckdb.DuckDBPyConnection) -> list[Admission]:
    """Answers inside logs per model; of an episode with several questions the last answer counts."""
    _, rows = run(
        con,
        "SELECT model, answer_class, count(*) FROM (SELECT episode_id, first(model) AS model, arg_max(answer_class, question) AS answer_class"
        " FROM answers WHERE mode = 'log' GROUP BY episode_id) GROUP BY ALL ORDER BY model NULLS LAST",
    )
    found: dict[str, dict[str, int]] = {}
    for model, answer_class, count in rows:
        found.setdefault(model or UNKNOWN_MODEL, {})[answer_class] = count
    order = [*CLASSES.values(), UNCLASSIFIED, UNANSWERED]
    return [Admission(m, sum(c.values()), {k: c[k] for k in order if k in c}) for m, c in found.items()]


def top_candidates(con: duckdb.DuckDBPyConnection, model: str, limit: int = 10) -> list[dict[str, Any]]:
    """The heaviest candidates of a model with the first words that prove each."""
    condition = "model IS NULL" if model == UNKNOWN_MODEL else "model = ?"
    order = "weight DESC, least(len(evidence), 3) DESC, rubric, episode_id"
    columns, rows = run(
        con,
        "SELECT episode_id, rubric, rationale, weight, evidence, task, environment, source FROM (SELECT episode_id, rubric, rationale,"
        " CAST(json_extract(attributes, '$.weight') AS INT) AS weight, evidence FROM _live"
        f" WHERE flagged AND tier = 'candidate' AND {condition} AND len(evidence) > 0 ORDER BY {order} LIMIT {int(limit)})"
        f" JOIN episodes USING (episode_id) ORDER BY {order}",
        [] if model == UNKNOWN_MODEL else [model],
    )
    return _first_words(columns, rows, ("signal", "message", "channel", "quote"))


def _first_words(columns: Sequence[str], rows: Sequence[tuple[Any, ...]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows with three of their quotes, those of the earliest messages."""
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    for row in found:
        first = sorted(row["evidence"], key=lambda e: e["message"])[:3]
        row["evidence"] = [{name: quote[name] for name in names} for quote in first]
    return found


def top_judged(con: duckdb.DuckDBPyConnection, model: str, limit: int = 10) -> list[dict[str, Any]]:
    """The judged episodes of a model with the highest levels, with the first words that prove each.

    An episode stands once a rubric, with the majority's words where it flagged; `judges` are all that flagged it.
    """
    condition = "model IS NULL" if model == UNKNOWN_MODEL else "model = ?"
    order = "level DESC NULLS LAST, rubric, episode_id"
    columns, rows = run(
        con,
        "WITH v AS (SELECT episode_id, rubric, detector, view, level, rationale, evidence,"
        " list(DISTINCT detector) FILTER (detector <> 'judge:majority') OVER (PARTITION BY episode_id, rubric) AS judges FROM _live"
        f" WHERE flagged AND status = 'ok' AND tier = 'judged' AND {_WHOLE} AND {condition}"
        " QUALIFY row_number() OVER (PARTITION BY episode_id, rubric"
        " ORDER BY detector = 'judge:majority' DESC, level DESC NULLS LAST, detector, view) = 1 AND len(evidence) > 0)"
        " SELECT episode_id, rubric, detector, view, level, rationale, list_sort(judges) AS judges, evidence, task, environment, source"
        f" FROM (SELECT * FROM v ORDER BY {order} LIMIT {int(limit)}) JOIN episodes USING (episode_id) ORDER BY {order}",
        [] if model == UNKNOWN_MODEL else [model],
    )
    return _first_words(columns, rows, ("message", "channel", "quote"))


def percent(share: float | None) -> str:
    """A share as people read it: 4.2%, 0.31%, – for nothing."""
    if share is None:
        return "–"
    return f"{share * 100:.1f}%" if share >= 0.01 or share == 0 else f"{share * 100:.2g}%"


def signed(value: float | None) -> str:
    """A difference of shares: +0.42, −0.03, – for nothing."""
    return "–" if value is None else f"{value:+.2f}".replace("-", "−")
