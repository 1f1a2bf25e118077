"""Who is asked: episodes with a fact to admit, controls for them, and a known-probability sample of the unflagged.

Controls are of the same model. A clean one is the nearest in length of those with the same task, else environment; it and
an episode that is charged with a sham must show nothing of the kind that they are asked about.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import duckdb

from auditor.ask.facts import Fact, Found, Job, turn_of
from auditor.asking.models import UNKNOWN
from auditor.query import run
from auditor.rubric import Rubric
from auditor.sample import uniform
from auditor.verdict import Evidence, Tier

Match = Literal["task", "environment", "neither"]


class Entry(NamedTuple):
    """An episode of the audit, as far as choosing needs it."""

    shard: str
    row: int
    episode_id: str
    model: str
    task: str | None
    environment: str | None
    tokens: int
    content_hash: str


@dataclass
class Pools:
    """What an audit holds: flawed episodes with their findings, clean ones by how well that is known, and the unflagged."""

    flawed: dict[str, tuple[Entry, Tier, list[Found]]] = field(default_factory=dict)
    clean: list[tuple[Entry, Tier]] = field(default_factory=list)
    findings: dict[str, list[Found]] = field(default_factory=dict)
    """What a judge said of clean episodes: facts that they may well tell."""
    unflagged: list[tuple[Entry, Tier]] = field(default_factory=list)
    """All that no detector flags, also where that is not known to mean clean."""


def pools(con: duckdb.DuckDBPyConnection, rubrics: Sequence[Rubric], tier: Tier) -> Pools:
    """The pools of an audit. With `tier` candidate, candidates that no judge has read are asked too."""
    ours = [r for r in rubrics if r.needs != "question"]
    flag_from = {r.id: r.flag_from for r in ours}
    titles = {(r.id, s.id): s for r in ours for s in r.signals}
    entries = {e.episode_id: e for e in _entries(con)}
    spoken = _spoken(con, [*flag_from])
    found = Pools()
    states: dict[str, list[tuple[str, bool | None, str]]] = defaultdict(list)
    for episode, rubric, level_tier, status, flagged, _, attributes, evidence in spoken:
        states[episode].append((level_tier, flagged if status == "ok" else None, status))
        if status != "ok" or episode not in entries:
            continue
        said = json.loads(attributes)
        proofs = [Evidence(**e) for e in evidence or ()]
        if level_tier == "candidate":
            if flagged and tier == "candidate":
                _add(found, entries[episode], "candidate", _of_signals(rubric, proofs, titles))
            continue
        told = list(_of_judge(rubric, flag_from[rubric], level_tier, said.get("findings") or (), proofs))
        if flagged and any(f.flagged for f in told):
            _add(found, entries[episode], level_tier, told)
        else:
            found.findings.setdefault(episode, []).extend(told)
    for episode, entry in entries.items():
        if episode in found.flawed:
            # What a judge cleared under another rubric may still be told.
            found.flawed[episode][2].extend(found.findings.pop(episode, []))
            continue
        seen = states.get(episode, [])
        flags = [flag for _, flag, _ in seen]
        if True in flags:
            continue
        found.unflagged.append((entry, "judged" if any(t != "candidate" for t, _, _ in seen) else "candidate"))
        broken = any(flag is None and status not in _NO_MATTER for t, flag, status in seen if t != "candidate")
        if False in flags and not broken:
            judged = any(flag is False for t, flag, _ in seen if t != "candidate")
            found.clean.append((entry, "judged" if judged else "candidate"))
    return found


_NO_MATTER = ("no_reasoning", "no_report", "not_asked", "skipped")


def _add(found: Pools, entry: Entry, tier: Tier, told: Iterable[Found]) -> None:
    """An episode is flawed by the best that is known of it: signals count only where nobody has judged."""
    before = found.flawed.get(entry.episode_id)
    if before is None:
        found.flawed[entry.episode_id] = (entry, tier, [*told])
    elif tier != "candidate" or before[1] == "candidate":
        kept = before[2] if before[1] == tier or before[1] != "candidate" else []
        found.flawed[entry.episode_id] = (entry, tier, [*kept, *told])


def _entries(con: duckdb.DuckDBPyConnection) -> Iterator[Entry]:
    sql = "SELECT shard, row, episode_id, model, task, environment, tokens, content_hash FROM _rows ORDER BY episode_id"
    for shard, row, episode, model, task, environment, tokens, content in run(con, sql)[1]:
        yield Entry(shard, row, episode, model or UNKNOWN, task, environment, tokens or 0, content)


def _spoken(con: duckdb.DuckDBPyConnection, rubrics: Sequence[str]) -> list[tuple[Any, ...]]:
    """Per episode and rubric the verdict that speaks in each tier: a person's, the majority's, a judge's of the whole; and the signals'.

    Where a judge has read the episode under a rubric, the signals' word on it is left out.
    """
    speaks = "tier = 'candidate', tier = 'reviewed' DESC, status = 'ok' DESC, detector = 'judge:majority' DESC, view = 'all' DESC, detector, view"
    _, rows = run(
        con,
        "SELECT episode_id, rubric, tier, status, flagged, level, attributes, evidence FROM _live"
        " WHERE list_contains(?, rubric) AND NOT (status = 'skipped' AND tier <> 'candidate')"
        f" QUALIFY row_number() OVER (PARTITION BY episode_id, rubric ORDER BY {speaks}) = 1 ORDER BY episode_id, rubric",
        [list(rubrics)],
    )
    return rows


def _of_judge(
    rubric: str, flag_from: int, tier: Tier, findings: Sequence[Mapping[str, Any]], proofs: Sequence[Evidence]
) -> Iterator[Found]:
    """The findings that have a quote and a level. One that says that nothing of the kind happened is no fact."""
    for f in findings:
        evidence = tuple(e for e in proofs if e.message in f["messages"])
        level = f["level"]
        if not evidence or level is None:
            continue
        told = f["criteria"].get("settled") == "true"
        if level > 0 or told:
            yield Found(
                rubric, f["what"], tuple(f["codes"]), level, level >= flag_from, tier, evidence, f["criteria"], f["attributes"]
            )


def _of_signals(rubric: str, proofs: Sequence[Evidence], signals: Mapping[tuple[str, str], Any]) -> Iterator[Found]:
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


class Clean:
    """The clean episodes of one model: for a flawed one the nearest in length of those that match it best."""

    _ORDER: tuple[tuple[Match, Tier], ...] = (
        ("task", "judged"), ("environment", "judged"), ("task", "candidate"), ("environment", "candidate"),
        ("neither", "judged"), ("neither", "candidate"),
    )  # fmt: skip

    def __init__(self, entries: Iterable[tuple[Entry, Tier]]) -> None:
        self._groups: dict[tuple[Match, Tier, str | None], list[tuple[int, str, Entry]]] = defaultdict(list)
        for entry, tier in entries:
            known: Tier = "judged" if tier != "candidate" else "candidate"
            for match, value in _keys(entry):
                self._groups[match, known, value].append((entry.tokens, entry.episode_id, entry))
        for group in self._groups.values():
            group.sort(key=lambda g: g[:2])

    def nearest(self, partner: Entry, excluded: Set[str]) -> tuple[Match, Entry, Tier] | None:
        """The best match that is not `excluded`, and how well it is known to be clean."""
        values = dict(_keys(partner))
        for match, tier in self._ORDER:
            if match in values:
                group = self._groups.get((match, tier, values[match]), [])
                entry = _closest(group, partner.tokens, excluded)
                if entry is not None:
                    return match, entry, tier
        return None


def _keys(entry: Entry) -> Iterator[tuple[Match, str | None]]:
    if entry.task is not None:
        yield "task", f"{entry.environment}\0{entry.task}"
    if entry.environment is not None:
        yield "environment", entry.environment
    yield "neither", None


def _closest(group: list[tuple[int, str, Entry]], tokens: int, excluded: Set[str]) -> Entry | None:
    right = bisect_left(group, tokens, key=lambda g: g[0])
    left = right - 1
    while left >= 0 or right < len(group):
        nearer_left = right >= len(group) or (left >= 0 and tokens - group[left][0] <= group[right][0] - tokens)
        at = left if nearer_left else right
        left, right = (left - 1, right) if nearer_left else (left, right + 1)
        if group[at][1] not in excluded:
            return group[at][2]
    return None


def wanted(name: str, controls: float, seed: int) -> int:
    """How many clean controls an episode gets: `controls` on the average, drawn by its id."""
    whole = int(controls)
    return whole + (uniform(f"control\0{name}", seed) < controls - whole)


def random_jobs(unflagged: Iterable[tuple[Entry, Tier]], share: float, seed: int) -> Iterator[tuple[Entry, Job]]:
    """A sample of the unflagged, each with probability `share`."""
    for entry, tier in unflagged:
        if uniform(f"ask\0{entry.episode_id}", seed) < share:
            yield entry, job_of(entry, tier).model_copy(update={"control": "random", "weight": 1 / share})


def job_of(entry: Entry, tier: Tier) -> Job:
    """A job of an episode, nothing said yet of its facts."""
    return Job(
        shard=entry.shard, row=entry.row, episode_id=entry.episode_id, model=entry.model, tier=tier, turn=turn_of(entry.episode_id)
    )  # fmt: skip


def shams(
    flawed: Sequence[tuple[Entry, Job]], in_doubt: Mapping[str, set[str]], checkable: set[str], counts: Counter[str]
) -> Iterator[Job]:
    """Each flawed episode charged with a fact of another of the same model, of a kind that it shows nothing of.

    `in_doubt` are the kinds that an episode shows; kinds that the ledger could show come first: of them it is known best
    that they did not happen here.
    """
    by_model: dict[str, list[Fact]] = defaultdict(list)
    for entry, job in flawed:
        if job.charge is not None:
            by_model[entry.model].append(job.charge.model_copy(update={"id": "sham", "true": False}))
    for entry, job in flawed:
        others = [f for f in by_model[entry.model] if f.kind not in in_doubt[entry.episode_id]]
        if not others:
            counts["without a sham"] += 1
            continue
        best = [f for f in others if f.kind in checkable] or others
        sham = best[job.turn % len(best)]
        yield job.model_copy(update={"control": "sham", "facts": (*job.facts, sham), "target": "sham", "pair": job.episode_id})
