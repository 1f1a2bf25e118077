"""Two models side by side: paired by task where they share tasks, else as two groups. Each rubric is a planned contrast."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import duckdb

from auditor.errors import QueryError
from auditor.prevalence import ENOUGH, WHOSE, rank
from auditor.query import run
from auditor.rates import NATURAL, UNKNOWN_MODEL
from auditor.stats.compare import boschloo, holm, newcombe, paired_by_task
from auditor.stats.intervals import Interval

PAIRED = 6
"""Fewer shared tasks can give no p-value below 0.05, so that the two are compared as groups."""
_HIT = "CASE WHEN level IS NOT NULL THEN level >= ? WHEN flagged = false THEN false END"


class Contrast(NamedTuple):
    """One rubric: the two shares (means over shared tasks where paired), their difference, and its p-value, Holm over rubrics.

    Tiers are never mixed: both shares are of `tier`, by `detector`.
    """

    rubric: str
    at_least: int | None
    tier: str
    detector: str
    tasks: int
    a: float
    b: float
    k: tuple[int, int]
    n: tuple[int, int]
    difference: float
    interval: Interval
    p: float
    p_holm: float
    method: str

    def plain(self) -> dict[str, Any]:
        """As one flat row."""
        told = self._asdict()
        low, high, method = told.pop("interval")
        (k_a, k_b), (n_a, n_b) = told.pop("k"), told.pop("n")
        return {**told, "k_a": k_a, "n_a": n_a, "k_b": k_b, "n_b": n_b, "low": low, "high": high, "interval": method}


class _Side(NamedTuple):
    hits: float
    known: float
    k: int
    n: int


def contrasts(
    con: duckdb.DuckDBPyConnection, a: str, b: str, *, rubric: str | None = None, at_least: int | None = None
) -> list[Contrast]:
    """Model `a` less model `b`, natural episodes alone, in each rubric (or one), on the best tier that both have.

    Within a task shares are weighted by 1 / inclusion probability. QueryError for a model that is not in the audit.
    """
    _, names = run(con, f"SELECT DISTINCT coalesce(model, '{UNKNOWN_MODEL}') FROM episodes ORDER BY 1")
    known = [row[0] for row in names]
    if missing := [m for m in (a, b) if m not in known]:
        raise QueryError(f"--models: {missing[0]!r} is no model of this audit; there are {', '.join(known)}")
    hit = "flagged" if at_least is None else _HIT
    _, rows = run(
        con,
        f"WITH v AS (SELECT coalesce(v.model, '{UNKNOWN_MODEL}') AS model, rubric, tier, detector, coalesce(environment, '') || ' / ' || task AS task,"
        f" weight, CASE WHEN status = 'ok' THEN {hit} END AS hit FROM verdicts v JOIN episodes e USING (episode_id) WHERE v.view = 'all'"
        f" AND {WHOSE} AND {NATURAL} AND (? IS NULL OR rubric = ?))"
        " SELECT rubric, tier, detector, model, task, sum(weight) FILTER (hit), sum(weight), count(*) FILTER (hit), count(*) FROM v"
        " WHERE model IN (?, ?) AND hit IS NOT NULL GROUP BY ALL ORDER BY ALL",
        [*([at_least] if at_least is not None else []), rubric, rubric, a, b],
    )
    found: dict[str, dict[tuple[str, str], dict[str, dict[str | None, _Side]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )
    for name, tier, detector, model, task, hits, weight, k, n in rows:
        if tier != "candidate" or at_least is None:
            found[name][tier, detector][model][task] = _Side(hits or 0.0, weight, k, n)
    made = [c for name, detectors in sorted(found.items()) if (c := _contrast(name, at_least, detectors, a, b)) is not None]
    return [c._replace(p_holm=p) for c, p in zip(made, holm([c.p for c in made]) if made else [], strict=True)]


def _knows(side: dict[str | None, _Side], tier: str) -> bool:
    return sum(s.n for s in side.values()) >= (ENOUGH if tier == "reviewed" else 1)


def _contrast(
    rubric: str, at_least: int | None, detectors: dict[tuple[str, str], dict[str, dict[str | None, _Side]]], a: str, b: str
) -> Contrast | None:
    """On the best tier that knows something of both (enough, of reviews); None where there is none."""
    both = [d for d, models in detectors.items() if all(_knows(models.get(m, {}), d[0]) for m in (a, b))]
    if not both:
        return None
    tier, detector = min(both, key=rank)
    here, there = detectors[tier, detector][a], detectors[tier, detector][b]
    shared = sorted(t for t in here if t is not None and t in there)
    k = (sum(s.k for s in here.values()), sum(s.k for s in there.values()))
    n = (sum(s.n for s in here.values()), sum(s.n for s in there.values()))
    if len(shared) >= PAIRED:
        shares = [[side[t].hits / side[t].known for t in shared] for side in (here, there)]
        mean_a, mean_b = (sum(s) / len(s) for s in shares)
        paired = paired_by_task([x - y for x, y in zip(*shares, strict=True)])
        less, interval, p = paired.mean, paired.interval, paired.p
        method = f"paired over {len(shared)} tasks, sign flips"
    else:
        mean_a, mean_b = (sum(s.hits for s in side.values()) / sum(s.known for s in side.values()) for side in (here, there))
        less, interval, p = mean_a - mean_b, newcombe(k[0], n[0], k[1], n[1]), boschloo(k[0], n[0], k[1], n[1])
        method = f"two groups ({len(shared)} shared tasks are too few to pair), boschloo or fisher mid-p; episodes taken as independent"
    return Contrast(rubric, at_least, tier, detector, len(shared), mean_a, mean_b, k, n, less, interval, p, p, method)
