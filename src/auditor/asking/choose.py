"""Who is asked: episodes with a fact to admit, controls for them, and a known-probability sample of the unflagged.

Controls are of the same model. A clean one is the nearest in length of those with the same task, else environment; it and
an episode that is charged with a sham must show nothing of the kind that they are asked about.
"""

from __future__ import annotations

import json
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import duckdb

from auditor.ask.facts import Found, Job, turn_of
from auditor.query import run
from auditor.rates import UNKNOWN_MODEL
from auditor.rubric import Rubric, Signal
from auditor.sample import uniform
from auditor.verdict import Evidence, Tier

Match = Literal["task", "environment", "neither"]


class Entry(NamedTuple):
    """An episode of the audit, as far as choosing needs it. `cleared`: the rubrics under which a judge, or signals, found it clean."""

    shard: str
    row: int
    episode_id: str
    model: str
    task: str | None
    environment: str | None
    tokens: int
    content_hash: str
    judged_clean: frozenset[str] = frozenset()
    signals_clean: frozenset[str] = frozenset()


@dataclass
class Pools:
    """What an audit holds: the flawed with on whose word they are, the clean, and all that no detector flags."""

    flawed: list[tuple[Entry, Tier]] = field(default_factory=list)
    clean: list[Entry] = field(default_factory=list)
    unflagged: list[Entry] = field(default_factory=list)


# What each detector says of an episode under a rubric. Where a judge's word is known the signals' is left out; of several judges
# and views the one that speaks is a person's, the majority's, a judge's of the whole.
_SPEAKS = (
    "tier <> 'candidate' AND status = 'ok' DESC, tier = 'reviewed' DESC, tier = 'judged' DESC, detector IN ('reviewer:agreed', 'judge:majority') DESC,"
    " view = 'all' DESC, detector, view"
)
# Nothing to know: not a failure of the judge.
_NO_MATTER = "('no_reasoning', 'no_report', 'not_asked', 'skipped')"
_VERDICTS = "SELECT * FROM _live WHERE list_contains(?, rubric) AND NOT (status = 'skipped' AND tier <> 'candidate')"
_SPEAKING = f"SELECT * FROM ({_VERDICTS}) QUALIFY row_number() OVER (PARTITION BY episode_id, rubric ORDER BY {_SPEAKS}) = 1"
_FINDING = f"SELECT * FROM ({_VERDICTS} AND tier <> 'reviewed') QUALIFY row_number() OVER (PARTITION BY episode_id, rubric ORDER BY {_SPEAKS}) = 1"


def ours(rubrics: Sequence[Rubric]) -> list[str]:
    """The rubrics that find something to admit: those on questions themselves are left out."""
    return [r.id for r in rubrics if r.needs != "question"]


def pools(con: duckdb.DuckDBPyConnection, rubrics: Sequence[Rubric], tier: Tier) -> Pools:
    """The pools of an audit. With `tier` candidate, what signals flag and no judge has read is flawed too.

    Clean is an episode that no detector flags in any view and of which no judge failed to say; under which rubrics it was
    cleared, and by whom, is kept with it.
    """
    names = ours(rubrics)
    sql = (
        f"WITH v AS ({_VERDICTS}), s AS ({_SPEAKING}),"
        " every AS (SELECT episode_id, bool_or(flagged AND status = 'ok' AND tier <> 'candidate') AS any_judge,"
        f" bool_or(tier <> 'candidate' AND status NOT IN {_NO_MATTER} AND (status <> 'ok' OR flagged IS NULL)) AS broken FROM v GROUP BY 1),"
        " spoken AS (SELECT episode_id, bool_or(flagged AND status = 'ok' AND tier = 'reviewed') AS reviewed,"
        " bool_or(flagged AND status = 'ok' AND tier = 'judged') AS judged, bool_or(flagged AND tier = 'candidate') AS candidate,"
        " list(rubric) FILTER (NOT flagged AND status = 'ok' AND tier <> 'candidate') AS judged_clean,"
        " list(rubric) FILTER (NOT flagged AND status = 'ok' AND tier = 'candidate') AS signals_clean FROM s GROUP BY 1)"
        " SELECT shard, row, r.episode_id, coalesce(model, ?), task, environment, coalesce(tokens, 0), content_hash, judged_clean, signals_clean,"
        " reviewed, judged, candidate, any_judge, broken FROM _rows r LEFT JOIN spoken USING (episode_id) LEFT JOIN every USING (episode_id)"
        " ORDER BY r.episode_id"
    )
    found = Pools()
    cursor = con.execute(sql, [names, names, UNKNOWN_MODEL])
    while rows := cursor.fetchmany(10_000):
        for row in rows:
            judged_clean, signals_clean, reviewed, judged, candidate, any_judge, broken = row[8:]
            entry = Entry._make([*row[:8], frozenset(judged_clean or ()), frozenset(signals_clean or ())])
            if reviewed or judged:
                found.flawed.append((entry, "reviewed" if reviewed else "judged"))
            elif candidate or any_judge:
                if candidate and tier == "candidate" and not any_judge:
                    found.flawed.append((entry, "candidate"))
            else:
                found.unflagged.append(entry)
                if not broken and (entry.judged_clean or entry.signals_clean):
                    found.clean.append(entry)
    return found


def findings(con: duckdb.DuckDBPyConnection, rubrics: Sequence[Rubric], episodes: Sequence[str]) -> dict[str, list[Found]]:
    """What was found in some episodes, whatever came of it: what a judge cleared may still be told.

    A person's label holds no findings: those of the judge or the signals beside it are asked about.
    """
    flag_from = {r.id: r.flag_from for r in rubrics}
    signals = {(r.id, s.id): s for r in rubrics for s in r.signals}
    found: dict[str, list[Found]] = defaultdict(list)
    names = ours(rubrics)
    for at in range(0, len(episodes), 2_000):
        sql = f"SELECT episode_id, rubric, tier, flagged, attributes, evidence FROM ({_FINDING}) WHERE status = 'ok' AND list_contains(?, episode_id) ORDER BY ALL"
        for episode, rubric, tier, flagged, attributes, evidence in run(con, sql, [names, list(episodes[at : at + 2_000])])[1]:
            proofs = [Evidence(**e) for e in evidence or ()]
            if tier != "candidate":
                said = json.loads(attributes).get("findings") or ()
                found[episode] += _of_judge(rubric, flag_from[rubric], tier, said, proofs)
            elif flagged:
                found[episode] += _of_signals(rubric, proofs, signals)
    return found


def _of_judge(
    rubric: str, flag_from: int, tier: Tier, said: Sequence[Mapping[str, Any]], proofs: Sequence[Evidence]
) -> Iterator[Found]:
    """The findings that have a quote. One that may mean that nothing of the kind happened is no fact, unless it was told."""
    for f in said:
        evidence = tuple(e for e in proofs if e.message in f["messages"])
        levels = f.get("levels") or [f["level"]]
        if not evidence or None in levels:
            continue
        level = min(levels)
        if level > 0 or f["criteria"].get("settled") == "true":
            yield Found(
                rubric, f["what"], tuple(f["codes"]), level, level >= flag_from, tier, evidence, f["criteria"], f["attributes"]
            )


def _of_signals(rubric: str, proofs: Sequence[Evidence], signals: Mapping[tuple[str, str], Signal]) -> Iterator[Found]:
    """One finding a signal. A signal is only as good as its pattern: what it means is not known."""
    for name in dict.fromkeys(e.signal for e in proofs if e.signal):
        signal = signals.get((rubric, name))
        if signal is not None:
            evidence = tuple(e for e in proofs if e.signal == name)
            yield Found(
                rubric, f"{signal.title}.", tuple(signal.codes), signal.weight, flagged=True, source="candidate", evidence=evidence,
                criteria={}, attributes={},
            )  # fmt: skip


# ---- controls ------------------------------------------------------------------------------------------

Group = list[tuple[int, str, Entry]]


class Clean:
    """The clean episodes of one model: for a flawed one the nearest in length of those that match it best. Each serves once."""

    _ORDER: tuple[tuple[Match, Tier], ...] = (
        ("task", "judged"), ("environment", "judged"), ("task", "candidate"), ("environment", "candidate"),
        ("neither", "judged"), ("neither", "candidate"),
    )  # fmt: skip

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._groups: dict[tuple[Match, str], Group] = defaultdict(list)
        for entry in entries:
            for key in _keys(entry):
                self._groups[key].append(_place(entry))
        for group in self._groups.values():
            group.sort(key=lambda place: place[:2])

    def take(self, partner: Entry, rubric: str | None, refused: Set[str]) -> tuple[Match, Entry, Tier] | None:
        """The best match that was found clean under `rubric`, and by whom; it is taken out of the pool."""
        keys = dict(_keys(partner))
        for match, tier in self._ORDER:
            if match in keys:
                entry = _closest(self._groups.get((match, keys[match]), []), partner.tokens, refused, rubric, tier)
                if entry is not None:
                    for key in _keys(entry):
                        group = self._groups[key]
                        del group[bisect_left(group, _place(entry)[:2], key=lambda place: place[:2])]
                    return match, entry, tier
        return None

    def give_back(self, entry: Entry) -> None:
        """It did not serve."""
        for key in _keys(entry):
            insort(self._groups[key], _place(entry), key=lambda place: place[:2])


def _place(entry: Entry) -> tuple[int, str, Entry]:
    return entry.tokens, entry.episode_id, entry


def _keys(entry: Entry) -> Iterator[tuple[Match, str]]:
    if entry.task is not None:
        yield "task", f"{entry.environment}\0{entry.task}"
    if entry.environment is not None:
        yield "environment", entry.environment
    yield "neither", ""


def _closest(group: Group, tokens: int, refused: Set[str], rubric: str | None, tier: Tier) -> Entry | None:
    right = bisect_left(group, tokens, key=lambda place: place[0])
    left = right - 1
    while left >= 0 or right < len(group):
        nearer_left = right >= len(group) or (left >= 0 and tokens - group[left][0] <= group[right][0] - tokens)
        at = left if nearer_left else right
        left, right = (left - 1, right) if nearer_left else (left, right + 1)
        _, name, entry = group[at]
        cleared = entry.judged_clean if tier == "judged" else entry.signals_clean | entry.judged_clean
        if name not in refused and (rubric in cleared if rubric is not None else bool(cleared)):
            return entry
    return None


def wanted(name: str, controls: float, seed: int) -> int:
    """How many clean controls an episode gets: `controls` on the average, drawn by its id."""
    whole = int(controls)
    return whole + (uniform(f"control\0{name}", seed) < controls - whole)


def random_jobs(unflagged: Iterable[Entry], share: float, seed: int) -> Iterator[tuple[Entry, Job]]:
    """A sample of the unflagged, each with probability `share`."""
    for entry in unflagged:
        if uniform(f"ask\0{entry.episode_id}", seed) < share:
            tier: Tier = "judged" if entry.judged_clean else "candidate"
            yield entry, job_of(entry, tier).model_copy(update={"control": "random", "weight": 1 / share})


def job_of(entry: Entry, tier: Tier) -> Job:
    """A job of an episode, nothing said yet of its facts."""
    return Job(
        shard=entry.shard, row=entry.row, episode_id=entry.episode_id, model=entry.model, tier=tier, turn=turn_of(entry.episode_id)
    )  # fmt: skip
