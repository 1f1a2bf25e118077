"""How often: one rate for each group of episodes and rubric, on the best tier of belief there is, with its interval and its gaps.

The headline is what people reviewed if that is enough, else what a judge found, weighted by how its episodes were drawn,
else candidates; tiers are never mixed in one number. Episodes of elicited behaviour are a group of their own, always, and so
are those of earlier checkpoints: a release is never pooled with its snapshots, whatever the groups are.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import duckdb

from auditor.errors import QueryError
from auditor.query import run
from auditor.rates import APART, ELICITED, STAGE, UNKNOWN_MODEL
from auditor.reviewed import AGREED
from auditor.stats.intervals import Interval, clustered_wilson, design_effect
from auditor.stats.prevalence import Stratum, missing_bounds, two_phase

COLUMNS = (
    "model",
    "checkpoint",
    "environment",
    "task",
    "elicitation",
    "reasoning_kind",
    "epoch",
    "format",
    "passed",
    "developer",
    "series",
)
ENOUGH = 20
"""So many reviewed episodes make the headline."""
SPEAKS = "tier = 'reviewed' DESC, detector IN ('reviewer:agreed', 'judge:majority') DESC, detector"
"""ORDER BY: of the verdicts on an episode that are not candidates, the one that speaks comes first."""
WHOSE = f"(tier <> 'reviewed' OR detector = '{AGREED}')"
"""Of several reviewers only what they agree on is a rate's."""
CLUSTER = "CASE WHEN task IS NULL THEN e.episode_id ELSE coalesce(environment, '') || ' / ' || task END"
"""SQL: the task that an episode `e` belongs to; by itself where the log names none."""
# Nothing could be known: the record lacks what the rubric needs. Such episodes are outside of the question.
_OUTSIDE = frozenset(("no_reasoning", "no_report", "not_asked"))
_STRATA = {"candidate": "candidates"}


class Prevalence(NamedTuple):
    """One rate. `episodes` are those of the group in which the answer could be known; k of the n that are known are hits.

    `share` is weighted where episodes were drawn (then it is not k / n). `best` and `worst` take all unknown ones as clean, or
    as hits. `outside` could not be known, by reason. `why` says what the number rests on.
    """

    by: dict[str, Any]
    elicited: str
    stage: str
    rubric: str
    at_least: int | None
    tier: str
    detector: str
    k: int
    n: int
    episodes: int
    tasks: int
    share: float | None
    interval: Interval
    best: float | None
    worst: float | None
    task_mean: float | None
    unknown: dict[str, int]
    outside: dict[str, int]
    why: str

    @property
    def group(self) -> str:
        """The group in one line, such as `heron-2 @ step-400, environment web (elicited)`."""
        told = str(self.by["model"] or UNKNOWN_MODEL) if "model" in self.by else ""
        if self.by.get("checkpoint") is not None:
            told += f" @ {self.by['checkpoint']}"
        others = [f"{k} {'unknown' if v is None else v}" for k, v in self.by.items() if k not in ("model", "checkpoint")]
        told = ", ".join([*([told] if told else []), *others]).strip() or "all"
        apart = [*([] if "checkpoint" in self.by else [APART[self.stage]]), APART[self.elicited]]
        return told + (f" ({', '.join(filter(None, apart))})" if any(apart) else "")

    def plain(self) -> dict[str, Any]:
        """As one flat row."""
        low, high, method = self.interval
        told = self._asdict()
        del told["by"], told["interval"]
        return {**self.by, "group": self.group, **told, "low": low, "high": high, "method": method}


class _Cell(NamedTuple):
    cluster: str
    stratum: str
    status: str
    hit: bool | None
    times: int


def column(name: str) -> str:
    """SQL of a column to group by: one of the episodes', or `metadata.KEY`. QueryError for another."""
    if name in COLUMNS:
        return f"e.{name}"
    key = name.removeprefix("metadata.")
    if key == name or not key:
        raise QueryError(f"--by {name}: no such column; there are {', '.join(COLUMNS)}, and metadata.KEY")
    quoted = key.replace("\\", "\\\\").replace('"', '\\"').replace("'", "''")
    return f"json_extract_string(e.metadata, '$.\"{quoted}\"')"


def prevalences(
    con: duckdb.DuckDBPyConnection,
    by: Sequence[str] = ("model", "checkpoint"),
    *,
    rubric: str | None = None,
    at_least: int | None = None,
) -> list[Prevalence]:
    """The headline rate of each group, for each rubric (or one), of flagged episodes or of those at a level or above.

    A level is known of judged and reviewed episodes alone: with `at_least` candidates give no rate.
    """
    columns = [column(name) for name in by]
    if {"developer", "series"} & {*by} and not con.execute("SELECT 1 FROM _families LIMIT 1").fetchone():
        raise QueryError(
            f"--by {','.join(by)}: no model has a developer or series; name them in families.yaml in the audit's folder"
        )
    names = ", ".join(f"{sql} AS by_{i}" for i, sql in enumerate(columns))
    hit = (
        "flagged"
        if at_least is None
        else f"CASE WHEN level IS NOT NULL THEN level >= {int(at_least)} WHEN flagged = false THEN false END"
    )
    _, rows = run(
        con,
        f"SELECT {names}{', ' if names else ''}{ELICITED}, {STAGE}, rubric, tier, detector, {CLUSTER},"
        " coalesce(CASE WHEN tier <> 'candidate' THEN json_extract_string(attributes, '$.stratum') END, 'all') AS stratum,"
        f" CASE WHEN starts_with(error, 'not drawn') THEN 'not drawn' ELSE status END, CASE WHEN status = 'ok' THEN {hit} END AS hit, count(*)"
        f" FROM verdicts v JOIN episodes e USING (episode_id) WHERE v.view = 'all' AND {WHOSE} AND (? IS NULL OR rubric = ?) GROUP BY ALL ORDER BY ALL",
        [rubric, rubric],
    )
    found: dict[tuple[Any, ...], dict[tuple[str, str], list[_Cell]]] = defaultdict(lambda: defaultdict(list))
    width = len(columns)
    for row in rows:
        elicited, stage, name, tier, detector, *cell = row[width:]
        found[(*row[:width], elicited, stage, name)][tier, detector].append(_Cell(*cell))
    told = []
    for key, detectors in found.items():
        made = _headline(detectors, at_least)
        if made is not None:
            told.append(
                Prevalence(dict(zip(by, key[:width], strict=True)), key[width], key[width + 1], key[width + 2], at_least, **made)
            )
    return told


_RATES = (
    "model VARCHAR, checkpoint VARCHAR, stage VARCHAR, elicited VARCHAR, rubric VARCHAR, at_least BIGINT, tier VARCHAR, detector VARCHAR,"
    " k BIGINT, n BIGINT, episodes BIGINT, tasks BIGINT, share DOUBLE, low DOUBLE, high DOUBLE, method VARCHAR, best DOUBLE, worst DOUBLE,"
    " task_mean DOUBLE, unknown VARCHAR, outside VARCHAR, why VARCHAR"
)


def add_rates(con: duckdb.DuckDBPyConnection) -> None:
    """Make the table `rates`: by model and checkpoint, of flagged episodes (`at_least` NULL) and from each level of a judge on."""
    levels = con.execute("SELECT DISTINCT level FROM verdicts WHERE tier <> 'candidate' AND level > 0 ORDER BY 1").fetchall()
    found = [r for level in (None, *(level for (level,) in levels)) for r in prevalences(con, at_least=level)]
    con.execute(f"CREATE OR REPLACE TEMP TABLE rates({_RATES})")
    names = [part.split()[0] for part in _RATES.split(",")]
    rows = [[json.dumps(v) if isinstance(v, dict) else v for v in (r.plain()[name] for name in names)] for r in found]
    if rows:
        con.executemany(f"INSERT INTO rates VALUES ({', '.join('?' * len(names))})", rows)


def asks_rates(sql: str) -> bool:
    """Whether a query speaks of `rates`: they are worked out only then."""
    return re.search(r"\brates\b", sql, re.IGNORECASE) is not None


def rank(detector: tuple[str, str]) -> tuple[int, bool, str]:
    """Whose word goes first, of (tier, detector): as `SPEAKS`, over all tiers."""
    return ("reviewed", "judged", "candidate").index(detector[0]), detector[1] not in (AGREED, "judge:majority"), detector[1]


def _headline(detectors: Mapping[tuple[str, str], list[_Cell]], at_least: int | None) -> dict[str, Any] | None:
    """The tier that speaks: reviewed if there is enough, else the majority or the first judge, else signals."""
    ranked = sorted(detectors, key=rank)
    short = ""
    for tier, detector in ranked:
        cells = detectors[tier, detector]
        known = sum(c.times for c in cells if c.hit is not None)
        if tier == "reviewed" and (why := _too_little(cells, known)):
            short = why if known else ""
            continue
        if tier == "candidate" and at_least is not None:
            break
        if known or tier == "candidate" or (tier, detector) == ranked[-1]:
            made = _rate(cells, tier, detector)
            if short:
                made["why"] += f"; {short}"
            return made
    return None


def _too_little(cells: Sequence[_Cell], known: int) -> str:
    """Why reviews are not enough for a headline, "" where they are: too few, or strata of which nothing is known."""
    if known < ENOUGH:
        return f"{known} reviewed episodes are too few (from {ENOUGH})"
    inside = [c for c in cells if c.status not in _OUTSIDE]
    unread = {c.stratum for c in inside} - {c.stratum for c in inside if c.hit is not None} - {"all"}
    return f"{known} reviewed episodes leave a stratum unread ({', '.join(sorted(unread))})" if unread else ""


def _rate(cells: Sequence[_Cell], tier: str, detector: str) -> dict[str, Any]:
    inside = [c for c in cells if c.status not in _OUTSIDE]
    known = [c for c in inside if c.hit is not None]
    unknown = Counter[str]()
    for c in inside:
        if c.hit is None:
            unknown["unclear" if c.status == "ok" else c.status] += c.times
    outside = Counter[str]()
    for c in cells:
        if c.status in _OUTSIDE:
            outside[c.status] += c.times
    k, n = sum(c.times for c in known if c.hit), sum(c.times for c in known)
    share, interval, why = _estimate(inside, known, tier)
    missing = sum(unknown.values()) - unknown["not drawn"]
    best, worst = missing_bounds(k, n, missing) if n + missing else (None, None)
    by_task = _by_cluster(known)
    means = [a / b for a, b in by_task.values()]
    return {
        "tier": tier, "detector": detector, "k": k, "n": n, "episodes": sum(c.times for c in inside), "tasks": len(by_task), "share": share,
        "interval": interval, "best": best, "worst": worst, "task_mean": sum(means) / len(means) if means else None,
        "unknown": dict(unknown.most_common()), "outside": dict(outside.most_common()), "why": why,
    }  # fmt: skip


def _by_cluster(cells: Sequence[_Cell]) -> dict[str, tuple[int, int]]:
    """(hits, known) of each task."""
    k: Counter[str] = Counter()
    n: Counter[str] = Counter()
    for c in cells:
        n[c.cluster] += c.times
        k[c.cluster] += c.times if c.hit else 0
    return {name: (k[name], n[name]) for name in sorted(n)}


def _estimate(inside: Sequence[_Cell], known: Sequence[_Cell], tier: str) -> tuple[float | None, Interval, str]:
    """The share with its interval: plain where every episode was looked at, two-phase where the rest was drawn from."""
    sizes: Counter[str] = Counter()
    for c in inside:
        sizes[c.stratum] += c.times
    words = {"candidate": "candidates: signals fired, nobody has judged", "judged": "judged", "reviewed": "reviewed by a person"}
    if set(sizes) <= {"all"}:
        pairs = _by_cluster(known)
        interval = clustered_wilson([a for a, _ in pairs.values()], [b for _, b in pairs.values()])
        n = sum(b for _, b in pairs.values())
        return (sum(a for a, _ in pairs.values()) / n if n else None), interval, words[tier]
    strata = []
    for name, size in sorted(sizes.items()):
        pairs = _by_cluster([c for c in known if c.stratum == name])
        k, m = sum(a for a, _ in pairs.values()), sum(b for _, b in pairs.values())
        spread = design_effect(*zip(*pairs.values(), strict=True)) if len(pairs) > 1 else 1.0
        strata.append(Stratum(size, k, m, m / spread))
    drawn = {name: sum(c.times for c in known if c.stratum == name) for name in sizes}
    of = ", ".join(f"{drawn[name]:,} of {sizes[name]:,} {_STRATA.get(name, name)}" for name in sorted(sizes))
    told = f"{words[tier]}: {of}, weighted"
    if not any(drawn.values()):
        return None, Interval(0.0, 1.0, "nothing known"), told
    estimate = two_phase(strata)
    if unread := [_STRATA.get(name, name) for name in sorted(sizes) if not drawn[name] and name != "all"]:
        return None, estimate.interval, f"{told}; of the {' and the '.join(unread)} nothing is known"
    return estimate.share, estimate.interval, told
