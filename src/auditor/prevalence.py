"""How often: one rate for each group of episodes and rubric, on the best tier of belief there is, with its interval and its gaps.

The headline is what people reviewed if that is enough, else what a judge found, weighted by how its episodes were drawn,
else candidates; tiers are never mixed in one number. Episodes of elicited behaviour are a group of their own, always, and so
are those of earlier checkpoints: a release is never pooled with its snapshots, whatever the groups are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import duckdb

from auditor.errors import QueryError
from auditor.query import run
from auditor.rates import UNKNOWN_MODEL
from auditor.stats.intervals import Interval, clustered_wilson, design_effect
from auditor.stats.prevalence import Stratum, missing_bounds, two_phase

COLUMNS = ("model", "checkpoint", "environment", "task", "elicitation", "reasoning_kind", "epoch", "format", "passed")
ENOUGH = 50
"""So many reviewed episodes make the headline."""
_ELICITED = "CASE WHEN elicitation IN ('impossible_task', 'instructed', 'prefilled') THEN 'elicited' ELSE 'natural' END"
# A log that does not say is of neither.
_STAGE = "CASE WHEN checkpoint IS NULL THEN 'unknown' WHEN lower(checkpoint) = 'release' THEN 'release' ELSE 'snapshot' END"
SPEAKS = "tier = 'reviewed' DESC, detector = 'judge:majority' DESC, detector"
"""ORDER BY: of the verdicts on an episode that are not candidates, the one that speaks comes first."""
# A task is a cluster; an episode whose log names none is its own. What is not known needs no cluster.
_CLUSTER = (
    "CASE WHEN hit IS NOT NULL AND task IS NOT NULL THEN coalesce(environment, '') END, CASE WHEN hit IS NOT NULL THEN task END"
)
# Nothing could be known: the record lacks what the rubric needs. Such episodes are outside of the question.
_OUTSIDE = frozenset(("no_reasoning", "no_report", "not_asked"))


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
        others = [
            f"{name} {value}" for name, value in self.by.items() if name not in ("model", "checkpoint") and value is not None
        ]
        told = ", ".join([*([told] if told else []), *others]).strip() or "all"
        apart = (
            [f"{self.stage}{'s' if self.stage == 'snapshot' else ''}"]
            if "checkpoint" not in self.by and self.stage != "unknown"
            else []
        )
        apart += ["elicited"] if self.elicited == "elicited" else []
        return told + (f" ({', '.join(apart)})" if apart else "")

    def plain(self) -> dict[str, Any]:
        """As one flat row."""
        low, high, method = self.interval
        told = self._asdict()
        del told["by"], told["interval"]
        return {**self.by, "group": self.group, **told, "low": low, "high": high, "method": method}


class _Cell(NamedTuple):
    """Clusters that look alike, `times` of them: in each, hits and episodes over all strata, of candidates, of the sampled rest.

    Of episodes without an answer `why` says why, and they are one cell; so are those that name no task (`alone`).
    """

    why: str | None
    alone: bool
    k: int
    n: int
    k_candidate: int
    n_candidate: int
    k_rest: int
    n_rest: int
    times: int

    def of(self, stratum: str | None) -> tuple[int, int]:
        """(hits, episodes) of one cluster in a stratum, None for the whole."""
        if stratum is None:
            return self.k, self.n
        if stratum == "all":
            return self.k - self.k_candidate - self.k_rest, self.n - self.n_candidate - self.n_rest
        return (self.k_candidate, self.n_candidate) if stratum == "candidate" else (self.k_rest, self.n_rest)


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
    names = ", ".join(f"{sql} AS by_{i}" for i, sql in enumerate(columns))
    hit = (
        "flagged"
        if at_least is None
        else f"CASE WHEN level IS NOT NULL THEN level >= {int(at_least)} WHEN flagged = false THEN false END"
    )
    # Grouped twice, by cluster and then clusters that look alike, so that what is fetched does not grow with the episodes; and one
    # detector's word on one rubric at a time, so that a million tasks fit into memory.
    sql = (
        f"WITH v AS (SELECT episode_id, rubric, tier, detector, CASE WHEN status = 'ok' THEN {hit} END AS hit,"
        " CASE WHEN starts_with(error, 'not drawn') THEN 'not drawn' WHEN status = 'ok' THEN 'unclear' ELSE status END AS why,"
        " CASE WHEN tier <> 'candidate' THEN json_extract_string(attributes, '$.stratum') END AS stratum"
        " FROM verdicts WHERE view = 'all' AND rubric = ? AND detector = ?),"
        f" cells AS (SELECT {names}{', ' if names else ''}{_ELICITED} AS elicited, {_STAGE} AS stage, rubric, tier, detector, {_CLUSTER} AS cluster,"
        " CASE WHEN hit IS NULL THEN why END AS why, count(*) FILTER (hit) AS k, count(*) AS n,"
        " count(*) FILTER (hit AND stratum = 'candidate') AS k_candidate, count(*) FILTER (stratum = 'candidate') AS n_candidate,"
        " count(*) FILTER (hit AND stratum = 'rest') AS k_rest, count(*) FILTER (stratum = 'rest') AS n_rest"
        # Both sides have a condition, as DuckDB takes one to keep a fifth: it then holds the episodes in memory, not their verdicts.
        " FROM v JOIN (SELECT * FROM episodes WHERE episode_id IS NOT NULL) e USING (episode_id) GROUP BY ALL)"
        f" SELECT {''.join(f'by_{i}, ' for i in range(len(columns)))}elicited, stage, rubric, tier, detector, why, cluster IS NULL,"
        " k, n, k_candidate, n_candidate, k_rest, n_rest, count(*) FROM cells GROUP BY ALL ORDER BY ALL"
    )
    _, detectors_of = run(
        con, "SELECT DISTINCT rubric, detector FROM verdicts WHERE view = 'all' AND (? IS NULL OR rubric = ?)", [rubric, rubric]
    )
    rows = [row for pair in detectors_of for row in run(con, sql, pair)[1]]
    width = len(columns)
    rows.sort(key=lambda row: [(value is None, value) for value in row[: width + 3]])
    found: dict[tuple[Any, ...], dict[tuple[str, str], list[_Cell]]] = defaultdict(lambda: defaultdict(list))
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


def rank(detector: tuple[str, str]) -> tuple[int, bool, str]:
    """Whose word goes first, of (tier, detector): as `SPEAKS`, over all tiers."""
    return ("reviewed", "judged", "candidate").index(detector[0]), detector[1] != "judge:majority", detector[1]


def _headline(detectors: Mapping[tuple[str, str], list[_Cell]], at_least: int | None) -> dict[str, Any] | None:
    """The tier that speaks: reviewed if there is enough, else the majority or the first judge, else signals."""
    ranked = sorted(detectors, key=rank)
    few = 0
    for tier, detector in ranked:
        cells = detectors[tier, detector]
        known = sum(c.n * c.times for c in cells if c.why is None)
        if tier == "reviewed" and known < ENOUGH:
            few = known
            continue
        if tier == "candidate" and at_least is not None:
            break
        if known or tier == "candidate" or (tier, detector) == ranked[-1]:
            made = _rate(cells, tier, detector)
            if few:
                made["why"] += f"; {few} reviewed episodes are too few (from {ENOUGH})"
            return made
    return None


def _rate(cells: Sequence[_Cell], tier: str, detector: str) -> dict[str, Any]:
    inside = [c for c in cells if c.why not in _OUTSIDE]
    known = [c for c in inside if c.why is None]
    unknown, outside = Counter[str](), Counter[str]()
    for c in cells:
        if c.why is not None:
            (outside if c.why in _OUTSIDE else unknown)[c.why] += c.n * c.times
    k, n = sum(c.k * c.times for c in known), sum(c.n * c.times for c in known)
    share, interval, why = _estimate(inside, known, tier)
    missing = sum(unknown.values()) - unknown["not drawn"]
    best, worst = missing_bounds(k, n, missing) if n + missing else (None, None)
    means = [a / b for a, b in _clusters(known)]
    return {
        "tier": tier, "detector": detector, "k": k, "n": n, "episodes": sum(c.n * c.times for c in inside), "tasks": len(means), "share": share,
        "interval": interval, "best": best, "worst": worst, "task_mean": sum(means) / len(means) if means else None,
        "unknown": dict(unknown.most_common()), "outside": dict(outside.most_common()), "why": why,
    }  # fmt: skip


def _clusters(cells: Sequence[_Cell], stratum: str | None = None) -> list[tuple[int, int]]:
    """(hits, known) of each cluster, in a stratum or over all."""
    found: list[tuple[int, int]] = []
    for cell in cells:
        k, n = cell.of(stratum)
        if cell.alone:
            found += [(1, 1)] * k + [(0, 1)] * (n - k)
        elif n:
            found += [(k, n)] * cell.times
    return found


def _estimate(inside: Sequence[_Cell], known: Sequence[_Cell], tier: str) -> tuple[float | None, Interval, str]:
    """The share with its interval: plain where every episode was looked at, two-phase where the rest was drawn from."""
    sizes = {name: sum(c.of(name)[1] * c.times for c in inside) for name in ("all", "candidate", "rest")}
    words = {"candidate": "candidates: signals fired, nobody has judged", "judged": "judged", "reviewed": "reviewed by a person"}
    if not sizes["candidate"] + sizes["rest"]:
        pairs = _clusters(known)
        interval = clustered_wilson([a for a, _ in pairs], [b for _, b in pairs])
        n = sum(b for _, b in pairs)
        return (sum(a for a, _ in pairs) / n if n else None), interval, words[tier]
    strata = []
    drawn = {}
    for name, size in sizes.items():
        pairs = _clusters(known, name)
        k, drawn[name] = sum(a for a, _ in pairs), sum(b for _, b in pairs)
        spread = design_effect(*zip(*pairs, strict=True)) if len(pairs) > 1 else 1.0
        if size:
            strata.append(Stratum(size, k, drawn[name], drawn[name] / spread))
    told = f"{words[tier]}: {drawn['candidate']:,} of {sizes['candidate']:,} candidates and {drawn['rest']:,} drawn from {sizes['rest']:,} others, weighted"
    if not any(drawn.values()):
        return None, Interval(0.0, 1.0, "nothing known"), told
    estimate = two_phase(strata)
    if sizes["rest"] and not drawn["rest"]:
        return None, estimate.interval, f"{told}; of the others nothing is known"
    return estimate.share, estimate.interval, told
