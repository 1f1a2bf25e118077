"""The judge's protocol for one episode, rubric and view: ask, check the quotes, ask once more, unite the parts of a long run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from pydantic import JsonValue

from auditor.judge.answer import Answer, Collected, Decided, check, extract_schema, parse, parse_extract, schema
from auditor.judge.card import card
from auditor.judge.chunks import split, window
from auditor.judge.prompt import Messages, Record, again, ask, decide, extract, nonce, system
from auditor.judge.shown import Episode, Line, lines
from auditor.llm import Endpoint
from auditor.quotes import Quotes
from auditor.replies import Reply
from auditor.rubric import Rubric, View
from auditor.transcript import content_hash
from auditor.verdict import Evidence, Status

_TRIES = 3
"""How often a call is made before its answer counts as unparseable."""
_CHARACTERS_A_TOKEN = 3
_SAMPLES = 100
T = TypeVar("T")


class Door(Protocol):
    """Where calls go: a server, a batch file, a count."""

    async def ask(
        self, endpoint: Endpoint, messages: list[dict[str, Any]], schema: dict[str, Any] | None, *, sample: int
    ) -> Reply:
        """The reply to a call; `sample` tells apart calls that are equal."""


class Decision(NamedTuple):
    """What one judge said once about one episode under one rubric in one view. Only status ok says anything of the episode."""

    status: Status
    findings: tuple[Decided, ...] = ()
    rationale: str = ""
    confidence: str = ""
    error: str | None = None
    parts: int = 1
    cut: int = 0

    def flagged(self, rubric: Rubric) -> bool | None:
        """Whether any finding is flagged; None where none is and one of them might be."""
        if self.status is not Status.OK:
            return None
        each = [f.flagged(rubric.flag_from) for f in self.findings]
        return True if True in each else None if None in each else False

    def level(self, rubric: Rubric) -> int | None:
        """The highest level of the findings; None where an unclear one could be higher, or it is not known."""
        if self.status is not Status.OK:
            return None
        kept = [f for f in self.findings if f.supported or f.flagged(rubric.flag_from) is False]
        if not kept:
            return None if self.findings else rubric.no_finding
        sure = max(min(f.levels, default=-1) for f in kept)
        return sure if sure >= max(max(f.levels, default=-1) for f in kept) and sure >= 0 else None

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """All verified quotes, in order of message."""
        return tuple(sorted({e for f in self.findings for e in f.evidence}, key=lambda e: (e.message, e.channel, e.start, e.end)))


class _Said(NamedTuple, Generic[T]):
    """An answer that could be read, or the status that stands in its place."""

    status: Status
    answer: T | None = None
    text: str = ""
    error: str | None = None


class Brief(NamedTuple):
    """What a judge is told and how it shall answer: made once for each rubric and view."""

    rubric: Rubric
    view: View
    told: str
    form: dict[str, Any]

    @classmethod
    def of(cls, rubric: Rubric, view: View) -> Brief:
        """The brief of a rubric and view."""
        return cls(rubric, view, system(rubric, view), schema(rubric))


def record(episode: Episode, view: View, secret: bytes) -> Record:
    """What a view shows of an episode."""
    return Record(nonce(secret, content_hash(episode.transcript)), tuple(card(episode, view)), tuple(lines(episode, view)))


class Reading:
    """One judge reading one episode by one brief; `vote` tells equal readings apart."""

    def __init__(
        self, door: Door, endpoint: Endpoint, brief: Brief, quotes: Quotes, shown: Record, *, context: int, vote: int = 0
    ) -> None:
        self.door, self.endpoint, self.brief, self.quotes, self.record = door, endpoint, brief, quotes, shown
        self.rubric = brief.rubric
        self.sample = vote * _SAMPLES
        self.budget = max(context * _CHARACTERS_A_TOKEN - len(brief.told) - len(shown.text(())), 6_000)

    async def decide(self, extractor: Endpoint | None = None) -> Decision:
        """Judge the episode: in one call where it fits, else in parts and a last call over what they found."""
        parts = split(self.record.shown, self.budget)
        cut = _cut(parts)
        if extractor is not None:
            return await self._extracted(extractor, parts)
        if len(parts) == 1:
            return (await self._judge(ask(self.brief.told, self.record.text(parts[0]))))._replace(cut=cut)
        calls = [ask(self.brief.told, self.record.text(part), (i + 1, len(parts))) for i, part in enumerate(parts)]
        decisions = await asyncio.gather(*map(self._judge, calls))
        united = [f for d in decisions for f in d.findings if f.supported]
        bad = next((d for d in decisions if d.status is not Status.OK), None)
        if united:
            last = await self._last(united)
            united = _settled(united, last)
            bad = bad or (last if last.status is not Status.OK else None)
        rationale = " ".join(f"[part {i + 1}] {d.rationale}" for i, d in enumerate(decisions) if d.rationale)[:2000]
        whole = Decision(Status.OK, tuple(united), rationale, "", None, len(parts), cut)
        # A part that could not be read leaves the episode unknown, unless what was read flags it.
        if bad is not None and whole.flagged(self.rubric) is not True:
            return bad._replace(findings=(), parts=len(parts), cut=cut)
        return whole

    async def _last(self, united: Sequence[Decided]) -> Decision:
        """One more reading of the findings of all parts, named F1, F2 …, and of the messages around their quotes."""
        told: list[dict[str, JsonValue]] = [
            {"name": f"F{i + 1}", **f.plain(), "quotes": [_told(e, self.quotes) for e in f.evidence]}
            for i, f in enumerate(united)
        ]
        near = window(self.record.shown, {e.message for f in united for e in f.evidence}, self.budget)
        form = schema(self.rubric, len(united))
        return await self._judge(decide(self.brief.told, self.record.text(near, told)), form)

    async def _extracted(self, extractor: Endpoint, parts: Sequence[Sequence[Line]]) -> Decision:
        calls = [extract(self.brief.told, self.record.text(part)) for part in parts]
        said = await asyncio.gather(*(self._ask(extractor, c, extract_schema(), parse_extract, 0) for c in calls))
        found: list[Evidence] = []
        for one in said:
            if not isinstance(one.answer, Collected):
                return Decision(one.status, error=f"extraction: {one.error}", parts=len(parts), cut=_cut(parts))
            found += [p for q in one.answer.evidence if (p := self.quotes.find(q.message, q.channel, q.quote)) is not None]
        near = window(self.record.shown, {e.message for e in found}, self.budget)
        decision = await self._judge(ask(self.brief.told, self.record.text(near)))
        hidden = sum(len(line.text) for line in self.record.shown) - sum(len(line.text) for line in near)
        return decision._replace(parts=len(parts), cut=max(hidden, 0) + _cut(parts))

    async def _judge(self, messages: Messages, form: dict[str, Any] | None = None) -> Decision:
        """One call, its quotes checked; where a yes has no valid quote, one more that says so."""

        def read(text: str) -> Answer | str:
            return parse(text, self.rubric)

        form = self.brief.form if form is None else form
        said = await self._ask(self.endpoint, messages, form, read, 0)
        if said.answer is None:
            return Decision(said.status, error=said.error)
        found, problems = check(said.answer, self.rubric, self.quotes)
        if self._unsupported(found):
            retry = await self._ask(self.endpoint, again(messages, said.text, problems), form, read, _TRIES)
            if retry.answer is None:
                return Decision(retry.status, error=retry.error)
            said = retry
            found, problems = check(retry.answer, self.rubric, self.quotes)
        assert said.answer is not None
        decision = Decision(Status.OK, tuple(found), said.answer.rationale, said.answer.confidence)
        if self._unsupported(found) and decision.flagged(self.rubric) is not True:
            return Decision(Status.UNSUPPORTED, rationale=said.answer.rationale, error="; ".join(problems)[:500])
        return decision

    def _unsupported(self, found: Sequence[Decided]) -> bool:
        """Whether a finding would be flagged, or could be, if only it had its quotes."""
        return any(f.flagged(self.rubric.flag_from) is None and (not f.supported or f.unproved) for f in found)

    async def _ask(
        self, endpoint: Endpoint, messages: Messages, form: dict[str, Any], read: Callable[[str], T | str], first: int
    ) -> _Said[T]:
        """A call whose answer can be read; tried anew where it cannot."""
        error = ""
        for attempt in range(_TRIES):
            reply = await self.door.ask(endpoint, messages, form, sample=self.sample + first + attempt)
            if reply.status != "ok":
                return _Said(Status(reply.status), error=reply.error)
            value = read(reply.text)
            if not isinstance(value, str):
                return _Said(Status.OK, value, reply.text)
            error = value
        return _Said(Status.UNPARSEABLE, error=error)


def _cut(parts: Sequence[Sequence[Line]]) -> int:
    """Characters that no part shows: each message counts once, as its fullest showing."""
    least: dict[tuple[int, str], int] = {}
    for part in parts:
        for line in part:
            key = (line.message, line.channel.value)
            least[key] = min(line.cut, least.get(key, line.cut))
    return sum(least.values())


def _told(e: Evidence, quotes: Quotes) -> JsonValue:
    return {"m": e.message, "channel": e.channel.value, "quote": quotes.show(e.quote[:400])}


def _settled(united: list[Decided], last: Decision) -> list[Decided]:
    """The last reading's word on every finding that it names, the parts' own word on the others."""
    spoken = [f for f in last.findings if f.supported]
    settled = {name for f in spoken for name in f.finding.of}
    return [*spoken, *(f for i, f in enumerate(united) if f"F{i + 1}" not in settled)]
