"""What other rubrics would change in an audit: signals are run again in memory, nothing is written, no judge is called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import duckdb

from auditor.ledger import build as build_ledger
from auditor.plan import scan_options
from auditor.query import run
from auditor.rubric import Rubric
from auditor.signals import Scanner
from auditor.sources import Sources
from auditor.store import Audit
from auditor.transcript import Transcript, pieces
from auditor.verdict import Verdict


class Change(NamedTuple):
    """An episode of which signals would say something else; None is not known, or, before, a rubric that is new. `signals` are what fires now."""

    rubric: str
    episode_id: str
    before: bool | None
    after: bool | None
    signals: tuple[str, ...]


class Diff(NamedTuple):
    """One rubric: `compared` episodes, how many become flagged, are flagged no more, or change between known and not known.

    `state` is new, removed, changed (its signals) or same. `unread` could not be read again; `stale` judged verdicts would be asked for again.
    """

    rubric: str
    state: str
    compared: int
    flagged: int
    unflagged: int
    known: int
    unread: int
    stale: int


def diff(audit: Audit, con: duckdb.DuckDBPyConnection, rubrics: Sequence[Rubric]) -> tuple[list[Diff], list[Change]]:
    """Each rubric of the audit or of `rubrics`, and each episode that changes. Rubrics whose signals are the same are not run."""
    before = {name for commit in audit.commits() for name in commit.rubrics}
    same = {r.id for r in rubrics if all(c.rubrics.get(r.id, ("", ""))[1] == r.signals_hash for c in audit.commits())}
    rerun = [r for r in rubrics if r.id not in same]
    changes: list[Change] = []
    compared: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    if rerun:
        for names, verdicts in _again(audit, con, Scanner(rerun)):
            for rubric in rerun:
                said = names.get(rubric.id)
                verdict = verdicts.get(rubric.id)
                if verdict is None:
                    unread[rubric.id] += 1
                    continue
                compared[rubric.id] += 1
                if verdict.flagged != said:
                    changes.append(_change(said, verdict))
    stale = _stale(con, rubrics)
    found = [
        _sum(r.id, "same" if r.id in same else "changed" if r.id in before else "new", compared, unread, stale, changes) for r in rubrics
    ]  # fmt: skip
    gone = sorted(before - {r.id for r in rubrics})
    return [*found, *(_sum(name, "removed", compared, unread, stale, changes) for name in gone)], changes


def _change(said: bool | None, verdict: Verdict) -> Change:  # noqa: FBT001  # a verdict, not a switch
    fired = verdict.attributes.get("signals")
    return Change(
        verdict.rubric, verdict.episode_id, said, verdict.flagged, tuple(map(str, fired)) if isinstance(fired, list) else ()
    )


def _sum(
    name: str, state: str, compared: Mapping[str, int], unread: Mapping[str, int], stale: Mapping[str, int], changes: Sequence[Change]
) -> Diff:  # fmt: skip
    mine = [c for c in changes if c.rubric == name]
    flagged, unflagged = sum(c.after is True for c in mine), sum(c.before is True for c in mine)
    return Diff(
        name, state, compared.get(name, 0), flagged, unflagged, len(mine) - flagged - unflagged, unread.get(name, 0), stale.get(name, 0)
    )  # fmt: skip


def _again(
    audit: Audit, con: duckdb.DuckDBPyConnection, scanner: Scanner
) -> Iterator[tuple[dict[str, bool | None], dict[str, Verdict]]]:
    """Of each episode: rubric → what signals said, rubric → their verdict now ({} where it cannot be read any more)."""
    sources = Sources(audit, scan_options(audit, audit.where))
    for commit in audit.commits():
        _, rows = run(con, "SELECT row, episode_id, content_hash FROM _rows WHERE shard = ? ORDER BY row", [commit.shard])
        _, told = run(con, "SELECT row, rubric, flagged FROM _live WHERE shard = ? AND detector = 'signals'", [commit.shard])
        said: dict[int, dict[str, bool | None]] = {row: {} for row, _, _ in rows}
        for row, rubric, flagged in told:
            said[row][rubric] = flagged
        names = {row: name for row, name, _ in rows}
        for row, transcript in sources.read(commit, {row: content for row, _, content in rows}):
            yield said.pop(row), _verdicts(transcript.model_copy(update={"id": names[row]}), scanner)
        yield from ((one, {}) for one in said.values())


def _verdicts(transcript: Transcript, scanner: Scanner) -> dict[str, Verdict]:
    questions = scanner.questions(transcript)
    parts = list(pieces(transcript, questions[0] if questions else None))
    found = scanner.findings(transcript, parts, build_ledger(transcript, parts), asked=bool(questions))
    return {v.rubric: v for v in scanner.verdicts(transcript, parts, found, asked=bool(questions))}


def _stale(con: duckdb.DuckDBPyConnection, rubrics: Sequence[Rubric]) -> dict[str, int]:
    """Judged verdicts whose rubric a judge would be told otherwise; of removed rubrics all."""
    hashes = {r.id: r.judge_hash for r in rubrics}
    _, rows = run(
        con,
        "SELECT rubric, rubric_hash, count(*) FROM verdicts WHERE tier = 'judged' AND detector <> 'judge:majority' AND status <> 'skipped' GROUP BY ALL",
    )
    found: Counter[str] = Counter()
    for rubric, made_with, count in rows:
        found[rubric] += count if hashes.get(rubric) != made_with else 0
    return dict(found)
