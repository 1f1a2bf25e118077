"""What a shard holds that a judge needs: its candidates, its episodes, and which of its verdicts are still good."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson

from auditor.judge import Setup
from auditor.judging.options import JudgeOptions
from auditor.plan import Options
from auditor.rubric import Rubric, View
from auditor.store import Audit, Commit
from auditor.verdict import Status, Verdict


class Cell(NamedTuple):
    """One judge on one rubric in one view; `hash` is over all that its verdicts depend on."""

    rubric: Rubric
    view: View
    detector: str
    hash: str


def cells(setup: Setup, judging: JudgeOptions, options: Options, rubrics: Iterable[Rubric]) -> Iterator[Cell]:
    """All cells of a run."""
    j = judging
    for rubric in rubrics:
        drawn = [j.judge_on, j.sample_rest, j.seed, rubric.signals_hash] if j.judge_on == "candidates" else [j.judge_on]
        told = orjson.dumps([setup.fingerprint(rubric), drawn, options.fingerprint()])
        for view in setup.views_of(rubric):
            for detector in setup.detectors():
                yield Cell(rubric, view, detector, hashlib.sha256(told).hexdigest()[:16])


def stale(commit: Commit, cell: Cell) -> bool:
    """Whether the live verdicts of a shard are older than the cell, or some of them are open."""
    live = next((j for j in commit.judged if (j.rubric, j.view, j.detector) == (cell.rubric.id, cell.view, cell.detector)), None)
    return live is None or live.hash != cell.hash or live.open > 0


def is_open(verdict: Verdict) -> bool:
    """Whether the next run should try again."""
    if verdict.status is Status.SKIPPED:
        return not (verdict.error or "").startswith("not drawn")
    return verdict.status is Status.ERROR


def candidates(audit: Audit, commit: Commit) -> set[tuple[int, str]]:
    """(row, rubric) of all that signals flagged in a shard."""
    found: set[tuple[int, str]] = set()
    for part in {part for part, _ in commit.rubrics.values()}:
        table = audit.table(part, commit.shard, columns=["row", "rubric", "flagged"])
        for row, rubric, flagged in zip(*(table.column(i).to_pylist() for i in range(3)), strict=True):
            if flagged and commit.rubrics.get(rubric, ("", ""))[0] == part:
                found.add((row, rubric))
    return found


def episodes(audit: Audit, commit: Commit) -> Iterator[tuple[int, str, str | None]]:
    """(row, episode id, model) of a shard."""
    table = audit.table(commit.episodes, commit.shard, columns=["row", "episode_id", "model"])
    yield from zip(*(table.column(i).to_pylist() for i in range(3)), strict=True)
