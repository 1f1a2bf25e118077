"""The judge: an LLM reads an episode against a rubric. It answers criteria with quotes; code checks them and takes the level.

`Judge.verdicts` gives a Verdict for every rubric, view and judge asked for, whatever went wrong on the way.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import orjson
from pydantic import JsonValue

from auditor.judge.prompt import Record
from auditor.judge.protocol import Brief, Decision, Door, Reading, record
from auditor.judge.shown import Episode
from auditor.ledger import build as build_ledger
from auditor.llm import Endpoint
from auditor.quotes import Quotes, names_of
from auditor.rubric import JUDGE_VERSION, Rubric, View
from auditor.sample import Draw
from auditor.transcript import Channel, Transcript, pieces
from auditor.verdict import Status, Verdict

__all__ = ["MAJORITY", "Door", "Episode", "Judge", "Setup", "read"]

MAJORITY = "judge:majority"
T = TypeVar("T")


@dataclass(frozen=True)
class Setup:
    """How a judge works. `votes`: how often each judge is asked; `context`: tokens of one call, an estimate."""

    judges: tuple[Endpoint, ...]
    extractor: Endpoint | None = None
    views: tuple[View, ...] = ("all",)
    votes: int = 1
    context: int = 48_000

    def views_of(self, rubric: Rubric) -> list[View]:
        """The views that make sense for a rubric and were asked for."""
        return [view for view in self.views if view in rubric.judge.views]

    def detectors(self) -> list[str]:
        """One a judge, and the majority where there are several."""
        named = [f"judge:{e.name}" for e in self.judges]
        return [*named, MAJORITY] if len(named) > 1 else named

    def fingerprint(self, rubric: Rubric) -> str:
        """Changes when the same episode could get another verdict."""
        used = [(e.name, e.model, e.base_url, e.params) for e in (*self.judges, *([self.extractor] if self.extractor else []))]
        value = [JUDGE_VERSION, rubric.judge_hash, used, self.votes, self.context, self.extractor is not None]
        return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def read(transcript: Transcript, questions: Sequence[int]) -> Episode:
    """An episode as the judge needs it; `questions` are the user turns that ask about conduct."""
    parts = tuple(pieces(transcript, questions[0] if questions else None))
    return Episode(transcript, parts, build_ledger(transcript, parts), tuple(questions), Quotes(parts, names_of(transcript)))


class Judge:
    """Judges episodes through a door. Between episodes it keeps nothing but what it tells a judge."""

    def __init__(self, door: Door, setup: Setup, secret: bytes) -> None:
        self.door, self.setup, self.secret = door, setup, secret
        self._briefs: dict[tuple[str, View], Brief] = {}

    async def verdicts(self, episode: Episode, wanted: Mapping[str, Draw], rubrics: Iterable[Rubric]) -> list[Verdict]:
        """Every (rubric, view, judge) of the rubrics that `wanted` names: one row each, also where nobody was asked."""
        cells = [(r, view, wanted[r.id]) for r in rubrics if r.id in wanted for view in self.setup.views_of(r)]
        records: dict[View, Record] = {}
        found = await asyncio.gather(*(self._cell(episode, records, *cell) for cell in cells))
        return [verdict for verdicts in found for verdict in verdicts]

    async def _cell(self, episode: Episode, records: dict[View, Record], rubric: Rubric, view: View, draw: Draw) -> list[Verdict]:
        unmet = _unmet(episode, rubric, view)
        if not draw.chosen or unmet is not None:
            error = None if draw.chosen else f"not drawn ({draw.inclusion:g} of the rest go to the judge)"
            decision = Decision(unmet if draw.chosen and unmet else Status.SKIPPED, error=error)
            return [self._verdict(episode, rubric, view, draw, detector, [decision]) for detector in self.setup.detectors()]
        if view not in records:
            records[view] = record(episode, view, self.secret)
        brief = self._brief(rubric, view)
        votes = await asyncio.gather(*(self._votes(e, brief, episode.quotes, records[view]) for e in self.setup.judges))
        if rubric.needs == "reasoning" and _unread(episode):
            votes = [[_unknown_unless_flagged(d, rubric) for d in decisions] for decisions in votes]
        found = [
            self._verdict(episode, rubric, view, draw, f"judge:{endpoint.name}", decisions)
            for endpoint, decisions in zip(self.setup.judges, votes, strict=True)
        ]
        if len(found) > 1:
            found.append(self._verdict(episode, rubric, view, draw, MAJORITY, [_one(decisions, rubric) for decisions in votes]))
        return found

    def _brief(self, rubric: Rubric, view: View) -> Brief:
        key = (rubric.judge_hash, view)
        if key not in self._briefs:
            self._briefs[key] = Brief.of(rubric, view)
        return self._briefs[key]

    async def _votes(self, endpoint: Endpoint, brief: Brief, quotes: Quotes, shown: Record) -> list[Decision]:
        readings = [
            Reading(self.door, endpoint, brief, quotes, shown, context=self.setup.context, vote=vote)
            for vote in range(self.setup.votes)
        ]
        return list(await asyncio.gather(*(reading.decide(self.setup.extractor) for reading in readings)))

    def _verdict(
        self, episode: Episode, rubric: Rubric, view: View, draw: Draw, detector: str, decisions: Sequence[Decision]
    ) -> Verdict:
        best = _one(decisions, rubric)
        attributes: dict[str, JsonValue] = {"stratum": draw.stratum, "inclusion": draw.inclusion}
        if best.status is Status.OK:
            attributes |= {
                "findings": [f.plain() for f in best.findings], "confidence": best.confidence, "codes": _codes(best),
                "cut_characters": best.cut, "parts": best.parts,
            }  # fmt: skip
        if draw.chosen:
            attributes["votes"] = [d.flagged(rubric) for d in decisions]
            attributes["statuses"] = [d.status.value for d in decisions]
        tied = best.status is Status.OK and len(decisions) > 1
        flagged = _majority([d.flagged(rubric) for d in decisions]) if tied else best.flagged(rubric)
        level = (
            best.level(rubric) if not tied else _majority([d.level(rubric) for d in decisions if d.flagged(rubric) == flagged])
        )
        return Verdict(
            episode_id=episode.transcript.id, rubric=rubric.id, rubric_hash=rubric.judge_hash, detector=detector,
            detector_version=JUDGE_VERSION, view=view, tier="judged", status=best.status, flagged=flagged,
            level=level if flagged is not None else None, attributes=attributes, evidence=best.evidence,
            rationale="; ".join(f.finding.what for f in best.findings if f.flagged(rubric.flag_from)) or best.rationale,
            weight=draw.weight, error=best.error,
        )  # fmt: skip


def _unmet(episode: Episode, rubric: Rubric, view: View) -> Status | None:
    """Why nobody need be asked: what the rubric needs is not in the record. Unknown, never clean."""
    if view == "reasoning" and _unread(episode):
        return Status.NO_REASONING
    if rubric.needs == "report" and not any(p.channel is Channel.FINAL for p in episode.pieces):
        return Status.NO_REPORT
    if rubric.needs == "question" and not episode.questions:
        return Status.NOT_ASKED
    return None


def _unread(episode: Episode) -> bool:
    """Whether there is no reasoning that can be read."""
    return episode.transcript.reasoning == "encrypted" or not any(p.channel is Channel.REASONING for p in episode.pieces)


def _unknown_unless_flagged(decision: Decision, rubric: Rubric) -> Decision:
    """Without its reasoning a model may still say it aloud; that it did not say anything is no sign of a clean mind."""
    if decision.status is not Status.OK or decision.flagged(rubric):
        return decision
    return Decision(Status.NO_REASONING, rationale=decision.rationale)


def _one(decisions: Sequence[Decision], rubric: Rubric) -> Decision:
    """The decision that speaks for several: ok only where more than half are, then one on the winning side."""
    known = [d for d in decisions if d.status is Status.OK]
    if len(known) * 2 <= len(decisions):
        failed = [d for d in decisions if d.status is not Status.OK]
        kind = Counter(d.status for d in failed).most_common(1)[0][0]
        # What the next run can mend must not hide behind what it cannot.
        again = next((d for d in failed if d.status in (Status.ERROR, Status.SKIPPED)), None)
        return again or next(d for d in failed if d.status is kind)
    side = _majority([d.flagged(rubric) for d in known])
    return next((d for d in known if d.flagged(rubric) == side), known[0])


def _majority(votes: Sequence[T | None]) -> T | None:
    """What more than half of the votes that say something agree on; ties are None."""
    counted = Counter(v for v in votes if v is not None)
    if not counted:
        return None
    top, number = counted.most_common(1)[0]
    return top if number * 2 > sum(counted.values()) else None


def _codes(decision: Decision) -> list[JsonValue]:
    return [*sorted({code for f in decision.findings for code in f.finding.codes})]
