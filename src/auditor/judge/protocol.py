"""The judge's protocol for one episode, rubric and view: ask, check the quotes, ask once more, unite the parts of a long run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from pydantic import JsonValue

from auditor.judge import answer as answers
from auditor.judge import chunks, prompt
from auditor.judge.answer import Answer, Collected, Decided
from auditor.judge.card import card
from auditor.judge.shown import Episode, Line, lines
from auditor.llm import Endpoint
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
        self, endpoint: Endpoint, messages: list[dict[str, str]], schema: dict[str, Any] | None, *, sample: int
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


class Protocolled:
    """One judge on one episode, rubric and view; `sample` tells its votes apart."""

    def __init__(
        self,
        door: Door,
        endpoint: Endpoint,
        rubric: Rubric,
        view: View,
        episode: Episode,
        *,
        secret: bytes,
        context: int,
        sample: int,
    ) -> None:
        self.door, self.endpoint, self.rubric, self.view, self.episode = door, endpoint, rubric, view, episode
        self.sample = sample * _SAMPLES
        self.mark = prompt.nonce(secret, content_hash(episode.transcript))
        self.card = card(episode, view)
        self.shown = lines(episode, view)
        told = len(prompt.system(rubric, view)) + len(prompt.data(self.card, (), self.mark))
        self.budget = max(context * _CHARACTERS_A_TOKEN - told, 6_000)

    async def decide(self, extractor: Endpoint | None = None) -> Decision:
        """Judge the episode: in one call where it fits, else in parts and a last call over what they found."""
        if extractor is not None:
            return await self._extracted(extractor)
        parts = chunks.split(self.shown, self.budget)
        cut = self._cut(parts)
        if len(parts) == 1:
            return (await self._judge(prompt.ask(self.rubric, self.view, self._record(parts[0]))))._replace(cut=cut)
        calls = [prompt.ask(self.rubric, self.view, self._record(part), (i + 1, len(parts))) for i, part in enumerate(parts)]
        decisions = await asyncio.gather(*map(self._judge, calls))
        united = [f for d in decisions for f in d.findings if f.supported]
        bad = next((d for d in decisions if d.status is not Status.OK), None)
        if united:
            last = await self._judge(
                prompt.decide(self.rubric, self.view, self._window(united), [f.plain() | _quoted(f) for f in united])
            )
            united = _settled(united, last)
            bad = bad or (last if last.status is not Status.OK else None)
        whole = Decision(Status.OK, tuple(united), _last(decisions), "", None, len(parts), cut)
        # A part that could not be read leaves the episode unknown, unless what was read flags it.
        if bad is not None and whole.flagged(self.rubric) is not True:
            return bad._replace(findings=(), parts=len(parts), cut=cut)
        return whole

    async def _extracted(self, extractor: Endpoint) -> Decision:
        parts = chunks.split(self.shown, self.budget)
        calls = [prompt.extract(self.rubric, self.view, self._record(part)) for part in parts]
        said = await asyncio.gather(*(self._ask(extractor, c, answers.extract_schema(), answers.parse_extract, 0) for c in calls))
        found: list[Evidence] = []
        for one in said:
            if not isinstance(one.answer, Collected):
                return Decision(one.status, error=f"extraction: {one.error}", parts=len(parts), cut=self._cut(parts))
            found += [
                p for q in one.answer.evidence if (p := self.episode.quotes.find(q.message, q.channel, q.quote)) is not None
            ]
        shown = chunks.window(self.shown, {e.message for e in found}, self.budget)
        decision = await self._judge(prompt.ask(self.rubric, self.view, self._record(shown)))
        hidden = sum(len(line.text) for line in self.shown) - sum(len(line.text) for line in shown)
        return decision._replace(parts=len(parts), cut=max(hidden, 0) + self._cut(parts))

    async def _judge(self, messages: prompt.Messages) -> Decision:
        """One call, its quotes checked; where a yes has no valid quote, one more that says so."""

        def read(text: str) -> Answer | str:
            return answers.parse(text, self.rubric)

        form = answers.schema(self.rubric)
        said = await self._ask(self.endpoint, messages, form, read, 0)
        if said.answer is None:
            return Decision(said.status, error=said.error)
        found, problems = answers.check(said.answer, self.rubric, self.episode.quotes)
        if self._unsupported(found):
            retry = await self._ask(self.endpoint, prompt.again(messages, said.text, problems), form, read, _TRIES)
            if retry.answer is None:
                return Decision(retry.status, error=retry.error)
            said = retry
            found, problems = answers.check(retry.answer, self.rubric, self.episode.quotes)
        assert said.answer is not None
        decision = Decision(Status.OK, tuple(found), said.answer.rationale, said.answer.confidence)
        if self._unsupported(found) and decision.flagged(self.rubric) is not True:
            return Decision(Status.UNSUPPORTED, rationale=said.answer.rationale, error="; ".join(problems)[:500])
        return decision

    def _unsupported(self, found: Sequence[Decided]) -> bool:
        """Whether a finding would be flagged, or could be, if only it had its quotes."""
        return any(f.flagged(self.rubric.flag_from) is None and (not f.supported or f.unproved) for f in found)

    async def _ask(
        self, endpoint: Endpoint, messages: prompt.Messages, form: dict[str, Any], read: Callable[[str], T | str], first: int
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

    def _record(self, shown: Sequence[Line]) -> str:
        return prompt.data(self.card, shown, self.mark)

    def _window(self, found: Sequence[Decided]) -> str:
        return self._record(chunks.window(self.shown, {e.message for f in found for e in f.evidence}, self.budget))

    def _cut(self, parts: Sequence[Sequence[Line]]) -> int:
        """Characters that no part shows: each message counts once, as its fullest showing."""
        least: dict[tuple[int, str], int] = {}
        for part in parts:
            for line in part:
                key = (line.message, line.channel.value)
                least[key] = min(line.cut, least.get(key, line.cut))
        return sum(least.values())


def _quoted(found: Decided) -> dict[str, JsonValue]:
    return {"quotes": [{"m": e.message, "channel": e.channel.value, "quote": e.quote[:400]} for e in found.evidence]}


def _settled(united: list[Decided], last: Decision) -> list[Decided]:
    """The last call's word on every finding it speaks of (by a quote in common), the parts' own word on the others."""
    if last.status is not Status.OK:
        return united
    spoken = {(e.message, e.channel) for f in last.findings if f.supported for e in f.evidence}
    left = [f for f in united if not spoken & {(e.message, e.channel) for e in f.evidence}]
    return [*(f for f in last.findings if f.supported), *left]


def _last(decisions: Sequence[Decision]) -> str:
    return " ".join(f"[part {i + 1}] {d.rationale}" for i, d in enumerate(decisions) if d.rationale)[:2000]
