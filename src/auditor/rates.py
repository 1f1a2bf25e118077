"""Counts and rates per model, read from the views of an audit. Every rate carries k, n, interval and method.

Nothing unknown counts as clean: n holds only verdicts with status ok, the rest is shown as `unknown` by reason.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import duckdb

from auditor.asked import CLASSES, UNANSWERED, UNCLASSIFIED
from auditor.query import run
from auditor.stats.agreement import nominal_alpha
from auditor.stats.intervals import Interval, wilson

UNKNOWN_MODEL = "unknown"


class Rate(NamedTuple):
    """k of n episodes of one model, with its interval; `unknown` counts those that have no answer, by reason.

    A judge's rates stand apart by `detector` and by `stratum`: candidates, the sampled rest, or all. None of them but
    that of `all` is a prevalence, and they are never pooled.
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

    @property
    def share(self) -> float | None:
        """k / n, None for n = 0."""
        return self.k / self.n if self.n else None

    def plain(self) -> dict[str, Any]:
        """As JSON types."""
        low, high, method = self.interval
        return {
            "model": self.model, "rubric": self.rubric, "tier": self.tier, "detector": self.detector, "stratum": self.stratum, "k": self.k, "n": self.n, "rate": self.share,
            "low": low, "high": high, "method": method, "unknown": self.unknown,
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


def rates(con: duckdb.DuckDBPyConnection) -> list[Rate]:
    """Per model, rubric, detector and stratum, over the whole of each episode (view `all`), candidates before judged."""
    _, rows = run(
        con,
        "SELECT model, rubric, tier, detector, CASE WHEN tier = 'judged' THEN json_extract_string(attributes, '$.stratum') END AS stratum,"
        " status, flagged, CASE WHEN status = 'skipped' THEN error END AS why, count(*) FROM verdicts"
        " WHERE view = 'all' GROUP BY ALL ORDER BY tier, model NULLS LAST, rubric, detector, stratum, status, flagged, why",
    )
    found: dict[tuple[str, str, str, str, str | None], tuple[int, int, dict[str, int]]] = {}
    for model, rubric, tier, detector, stratum, status, flagged, why, count in rows:
        key = (model or UNKNOWN_MODEL, rubric, tier, detector, stratum)
        k, n, unknown = found.get(key, (0, 0, {}))
        if status == "ok" and flagged is not None:
            k, n = k + (count if flagged else 0), n + count
        else:
            reason = "unclear" if status == "ok" else next((r for r in _REASONS if (why or "").startswith(r)), status)
            unknown = {**unknown, reason: unknown.get(reason, 0) + count}
        found[key] = (k, n, unknown)
    return [Rate(*key, k, n, wilson(k, n), unknown) for key, (k, n, unknown) in found.items()]


class Views(NamedTuple):
    """Of episodes with a known verdict in at least one view: how many are flagged in each, and in any (the union)."""

    model: str
    rubric: str
    detector: str
    episodes: int
    flagged: dict[str, int]
    union: int


def by_view(con: duckdb.DuckDBPyConnection) -> list[Views]:
    """Judged verdicts by view, where there is more than one."""
    _, rows = run(
        con,
        "WITH known AS (SELECT model, rubric, detector, episode_id, view, flagged FROM verdicts WHERE tier = 'judged' AND status = 'ok' AND flagged IS NOT NULL)"
        " SELECT model, rubric, detector, count(DISTINCT episode_id), count(DISTINCT episode_id) FILTER (flagged),"
        " count(*) FILTER (flagged AND view = 'all'), count(*) FILTER (flagged AND view = 'actions'), count(*) FILTER (flagged AND view = 'reasoning'),"
        " list(DISTINCT view) FROM known GROUP BY 1, 2, 3 HAVING count(DISTINCT view) > 1 ORDER BY model NULLS LAST, rubric, detector",
    )
    return [
        Views(
            m or UNKNOWN_MODEL,
            r,
            d,
            n,
            {v: k for v, k in zip(("all", "actions", "reasoning"), ks, strict=True) if v in views},
            union,
        )
        for m, r, d, n, union, *ks, views in rows
    ]


class Agreement(NamedTuple):
    """Krippendorff's alpha (nominal) of all votes of all judges; None where it is not defined (no variation)."""

    rubric: str
    view: str
    raters: int
    episodes: int
    alpha: float | None


def agreement(con: duckdb.DuckDBPyConnection) -> list[Agreement]:
    """Per rubric and view, where there are two raters or more: every vote of a judge is one."""
    _, rows = run(
        con,
        "SELECT rubric, view, episode_id, detector, json_extract(attributes, '$.votes') FROM verdicts"
        " WHERE tier = 'judged' AND detector <> 'judge:majority' AND json_extract(attributes, '$.votes') IS NOT NULL ORDER BY ALL",
    )
    found: dict[tuple[str, str], dict[str, dict[str, bool | None]]] = {}
    for rubric, view, episode, detector, votes in rows:
        cells = found.setdefault((rubric, view), {}).setdefault(episode, {})
        cells.update({f"{detector} {i}": vote for i, vote in enumerate(json.loads(votes))})
    told = []
    for (rubric, view), episodes in found.items():
        raters = sorted({name for cells in episodes.values() for name in cells})
        if len(raters) > 1:
            table = [[cells.get(name) for cells in episodes.values()] for name in raters]
            rated = sum(sum(v is not None for v in cells.values()) > 1 for cells in episodes.values())
            told.append(Agreement(rubric, view, len(raters), rated, nominal_alpha(table)))
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
    condition = "v.model IS NULL" if model == UNKNOWN_MODEL else "v.model = ?"
    columns, rows = run(
        con,
        "SELECT v.episode_id, v.rubric, v.rationale, CAST(json_extract(v.attributes, '$.weight') AS INT) AS weight,"
        " list(struct_pack(signal := e.signal, message := e.message, channel := e.channel, quote := e.quote) ORDER BY e.message)[:3] AS evidence,"
        " any_value(p.task) AS task, any_value(p.environment) AS environment, any_value(p.source) AS source"
        " FROM verdicts v JOIN evidence e USING (episode_id, rubric, detector, view) JOIN episodes p USING (episode_id)"
        f" WHERE v.flagged AND v.tier = 'candidate' AND {condition} GROUP BY 1, 2, 3, 4 ORDER BY weight DESC, len(evidence) DESC, v.rubric, v.episode_id LIMIT {int(limit)}",
        [] if model == UNKNOWN_MODEL else [model],
    )
    return [dict(zip(columns, row, strict=True)) for row in rows]


def top_judged(con: duckdb.DuckDBPyConnection, model: str, limit: int = 10) -> list[dict[str, Any]]:
    """The judged episodes of a model with the highest levels, with the first words that prove each."""
    condition = "v.model IS NULL" if model == UNKNOWN_MODEL else "v.model = ?"
    columns, rows = run(
        con,
        "SELECT v.episode_id, v.rubric, v.detector, v.level, v.rationale,"
        " list(struct_pack(message := e.message, channel := e.channel, quote := e.quote) ORDER BY e.message)[:3] AS evidence,"
        " any_value(p.task) AS task, any_value(p.environment) AS environment, any_value(p.source) AS source"
        " FROM verdicts v JOIN evidence e USING (episode_id, rubric, detector, view) JOIN episodes p USING (episode_id)"
        f" WHERE v.flagged AND v.tier = 'judged' AND v.view = 'all' AND {condition}"
        f" GROUP BY 1, 2, 3, 4, 5 ORDER BY v.level DESC NULLS LAST, v.rubric, v.episode_id, v.detector LIMIT {int(limit)}",
        [] if model == UNKNOWN_MODEL else [model],
    )
    return [dict(zip(columns, row, strict=True)) for row in rows]


def percent(share: float | None) -> str:
    """A share as people read it: 4.2%, 0.31%, – for nothing."""
    if share is None:
        return "–"
    return f"{share * 100:.1f}%" if share >= 0.01 or share == 0 else f"{share * 100:.2g}%"
