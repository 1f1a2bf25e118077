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
from auditor.rates import APART, ELICITED, STAGE, UNKNOWN_MODEL
from auditor.reviewed import AGREED, STRATA
from auditor.stats.intervals import Interval, clustered_wilson, design_effect
from auditor.stats.prevalence import Stratum, missing_bounds, two_phase

COLUMNS = tuple("model checkpoint environment task elicitation reasoning_kind epoch format passed developer series".split())
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
ALL = "all"
"""The stratum of what was not drawn: all of it was looked at."""
# A task is a cluster; episodes whose log names none are alike, each by itself. What is not known needs no cluster.
_TASK = (
    "CASE WHEN hit IS NOT NULL AND task IS NOT NULL THEN coalesce(environment, '') END AS place,"
    " CASE WHEN hit IS NOT NULL THEN task END AS cluster"
)


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
    """Clusters that look alike, `times` of them: in each, hits and episodes over all strata, and of each stratum.

    Of episodes without an answer `why` says why, and they are one cell; so are those that name no task (`alone`).
    """

    why: str | None
    alone: bool
    k: int
    n: int
    strata: dict[str, tuple[int, int]]
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
    hit = (
        "flagged"
        if at_least is None
        else f"CASE WHEN level IS NOT NULL THEN level >= {int(at_least)} WHEN flagged = false THEN false END"
    )
    pairs = run(
        con,
        f"SELECT DISTINCT rubric, detector FROM verdicts WHERE view = 'all' AND {WHOSE} AND (? IS NULL OR rubric = ?)",
        [rubric, rubric],
    )[1]
    width = len(columns)
    rows = []
    for name, detector in pairs:
        strata = _strata_of(detector)
        for (
            *head,
            why,
            alone,
            k,
            n,
            times,
        ) in run(con, _cells_sql(columns, hit, strata), [name, detector])[1]:
            # The counts of the strata stand at the end of `head`.
            counts = head[width + 5 :]
            inside = {s: (counts[2 * i], counts[2 * i + 1]) for i, s in enumerate(strata) if counts[2 * i + 1]}
            rest = k - sum(a for a, _ in inside.values()), n - sum(b for _, b in inside.values())
            rows.append((*head[: width + 5], _Cell(why, alone, k, n, inside | ({ALL: rest} if rest[1] else {}), times)))
    rows.sort(key=lambda row: [(value is None, value) for value in row[: width + 3]])
    found: dict[tuple[Any, ...], dict[tuple[str, str], list[_Cell]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        elicited, stage, name, tier, detector, cell = row[width:]
        found[(*row[:width], elicited, stage, name)][tier, detector].append(cell)
    told = []
    for key, detectors in found.items():
        made = _headline(detectors, at_least)
        if made is not None:
            told.append(
                Prevalence(dict(zip(by, key[:width], strict=True)), key[width], key[width + 1], key[width + 2], at_least, **made)
            )
    return told


def _strata_of(detector: str) -> tuple[str, ...]:
    """The strata from which episodes were drawn for a detector."""
    return () if detector == "signals" else STRATA if detector == AGREED else ("candidate", "rest")


def _cells_sql(columns: Sequence[str], hit: str, strata: Sequence[str]) -> str:
    """One detector's word on one rubric: grouped by cluster, and then clusters that look alike.

    So what is fetched does not grow with the episodes; and a detector at a time, so that a million tasks fit into memory.
    """
    names = "".join(f"{sql} AS by_{i}, " for i, sql in enumerate(columns))
    counts = "".join(
        f" count(*) FILTER (hit AND stratum = '{s}') AS k_{i}, count(*) FILTER (stratum = '{s}') AS n_{i},"
        for i, s in enumerate(strata)
    )
    told = "".join(f" k_{i}, n_{i}," for i in range(len(strata)))
    return (
        f"WITH v AS (SELECT episode_id, rubric, tier, detector, CASE WHEN status = 'ok' THEN {hit} END AS hit,"
        " CASE WHEN starts_with(error, 'not drawn') THEN 'not drawn' WHEN status = 'ok' THEN 'unclear' ELSE status END AS why,"
        " CASE WHEN tier <> 'candidate' THEN json_extract_string(attributes, '$.stratum') END AS stratum"
        " FROM verdicts WHERE view = 'all' AND rubric = ? AND detector = ?),"
        f" cells AS (SELECT {names}{ELICITED} AS elicited, {STAGE} AS stage, rubric, tier, detector, {_TASK},"
        f" CASE WHEN hit IS NULL THEN why END AS why,{counts} count(*) FILTER (hit) AS k, count(*) AS n"
        f" FROM v JOIN episodes e USING (episode_id) GROUP BY ALL)"
        f" SELECT {''.join(f'by_{i}, ' for i in range(len(columns)))}elicited, stage, rubric, tier, detector,{told} why, cluster IS NULL, k, n, count(*)"
        " FROM cells GROUP BY ALL ORDER BY ALL"
    )


def rank(detector: tuple[str, str]) -> tuple[int, bool, str]:
    """Whose word goes first, of (tier, detector): as `SPEAKS`, over all tiers."""
    return ("reviewed", "judged", "candidate").index(detector[0]), detector[1] not in (AGREED, "judge:majority"), detector[1]


def _headline(detectors: Mapping[tuple[str, str], list[_Cell]], at_least: int | None) -> dict[str, Any] | None:
    """The tier that speaks: reviewed if there is enough, else the majority or the first judge, else signals."""
    ranked = sorted(detectors, key=rank)
    short = ""
    for tier, detector in ranked:
        cells = detectors[tier, detector]
        known = sum(c.n * c.times for c in cells if c.why is None)
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
    inside = [c for c in cells if c.why not in _OUTSIDE]
    unread = {s for c in inside for s in c.strata} - {s for c in inside if c.why is None for s in c.strata} - {ALL}
    return f"{known} reviewed episodes leave a stratum unread ({', '.join(sorted(unread))})" if unread else ""


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
        k, n = (cell.k, cell.n) if stratum is None else cell.strata.get(stratum, (0, 0))
        if cell.alone:
            found += [(1, 1)] * (k * cell.times) + [(0, 1)] * ((n - k) * cell.times)
        elif n:
            found += [(k, n)] * cell.times
    return found


def _estimate(inside: Sequence[_Cell], known: Sequence[_Cell], tier: str) -> tuple[float | None, Interval, str]:
    """The share with its interval: plain where every episode was looked at, two-phase where the rest was drawn from."""
    sizes: Counter[str] = Counter()
    for cell in inside:
        for name, (_, n) in cell.strata.items():
            sizes[name] += n * cell.times
    words = {"candidate": "candidates: signals fired, nobody has judged", "judged": "judged", "reviewed": "reviewed by a person"}
    if set(sizes) <= {ALL}:
        pairs = _clusters(known)
        interval = clustered_wilson([a for a, _ in pairs], [b for _, b in pairs])
        n = sum(b for _, b in pairs)
        return (sum(a for a, _ in pairs) / n if n else None), interval, words[tier]
    strata, drawn = [], {}
    for name, size in sorted(sizes.items()):
        pairs = _clusters(known, name)
        k, drawn[name] = sum(a for a, _ in pairs), sum(b for _, b in pairs)
        spread = design_effect(*zip(*pairs, strict=True)) if len(pairs) > 1 else 1.0
        strata.append(Stratum(size, k, drawn[name], drawn[name] / spread))
    of = ", ".join(f"{drawn[name]:,} of {sizes[name]:,} {_STRATA.get(name, name)}" for name in sorted(sizes))
    told = f"{words[tier]}: {of}, weighted"
    if not any(drawn.values()):
        return None, Interval(0.0, 1.0, "nothing known"), told
    estimate = two_phase(strata)
    if unread := [_STRATA.get(name, name) for name in sorted(sizes) if not drawn[name] and name != ALL]:
        return None, estimate.interval, f"{told}; of the {' and the '.join(unread)} nothing is known"
    return estimate.share, estimate.interval, told
