"""One episode on the ladder: every rung forked from the same end, the answers coded as they come.

The first question goes alone: it shows whether the endpoint takes the run's own messages, and fills its prompt cache for
the forks, which share every byte before the question.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from auditor.ask import endstate
from auditor.ask.classes import ADMITS, classify
from auditor.ask.coding import Coded, Coder
from auditor.ask.endstate import EndState, Mode
from auditor.ask.facts import Job
from auditor.ask.questions import Questions, Rung
from auditor.asked import UNANSWERED
from auditor.judge import Door
from auditor.judge.prompt import nonce
from auditor.llm import Endpoint
from auditor.quotes import names_of
from auditor.replies import Reply
from auditor.text import visible
from auditor.transcript import Transcript, content_hash
from auditor.verdict import Status

_SLOT = re.compile(r"\{(\w+)\}")
_ENOUGH = 3
"""So many episodes refused as messages, and none taken: the endpoint is asked in rendered form from then on."""
_REFUSED_FORM = "refused form"
_REFUSALS = ("messages", "500")
"""Failures of a conversation after which it is tried in one message; some servers fail where they should refuse."""
_DRY = "…" * 400


@dataclass
class Player:
    """The endpoint that plays a model of the logs. `context`: tokens that it takes, None where only the server knows.

    `reasoning`: the message field by which it takes earlier reasoning. The counts are what was learnt in this run.
    """

    endpoint: Endpoint
    context: int | None = None
    reasoning: str | None = None
    refused: int = 0
    taken: int = 0
    _first: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def refuses(self) -> bool:
        """Whether it is known by now to take no tool messages."""
        return self.refused >= _ENOUGH and not self.taken

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Episodes begin one by one until it is known which form the endpoint takes."""
        await self._first.acquire()
        alone = not (self.taken or self.refuses)
        if not alone:
            self._first.release()
        try:
            yield
        finally:
            if alone:
                self._first.release()


class Asked(NamedTuple):
    """One question and what came of it. `wording` is its place in the list of wordings, `seed` what was sent."""

    rung: str
    sample: int
    wording: int
    question: str
    status: str
    mode: Mode | None = None
    reasoning_in_context: bool | None = None
    seed: int | None = None
    answer: str = ""
    reasoning: str | None = None
    answer_class: str | None = None
    coded: Coded | None = None
    error: str | None = None


class Ladder:
    """Asks jobs. `rungs` in the order of the questions; a rung that goes on from another needs that one too."""

    def __init__(
        self, door: Door, questions: Questions, coder: Coder, secret: bytes, rungs: Sequence[Rung], samples: int, seed: int,
        *, dry: bool = False,
    ) -> None:  # fmt: skip
        self.door, self.questions, self.coder, self.secret = door, questions, coder, secret
        self.rungs, self.samples, self.seed, self.dry = tuple(rungs), samples, seed, dry

    def rungs_of(self, job: Job) -> list[Rung]:
        """The rungs that make sense for a job: a sham is a charge, and without a fact there is nothing specific to ask."""
        if job.control == "sham":
            return [r for r in self.rungs if r.names_fact]
        return [r for r in self.rungs if not r.specific or job.charge is not None]

    async def ask(self, job: Job, t: Transcript, until: int | None, player: Player) -> list[Asked]:
        """All rungs and samples of a job. The run is taken up to message `until`, the first question inside the log."""
        rungs = self.rungs_of(job)
        chains = [(r, n) for r in rungs if r.after is None for n in range(self.samples)]
        ended = t.model_copy(update={"messages": t.messages[:until]}) if until is not None else t
        if not endstate.speaks(ended):
            return [
                self.unasked(job, r, n, Status.SKIPPED, "the model says and does nothing in this run")
                for r in rungs
                for n in range(self.samples)
            ]
        mark = nonce(self.secret, content_hash(t))
        third = endstate.third_person(ended, mark)
        lead = next((c for c in chains if not c[0].fresh), None)
        done: list[Asked] = []
        state = third
        if lead is not None:
            state, done = await self._lead(job, ended, lead, rungs, player, mark)
        rest = [c for c in chains if c != lead]
        for found in await asyncio.gather(
            *(self._chain(job, ended, c, rungs, third if c[0].fresh else state, player) for c in rest)
        ):
            done += found
        order = {r.id: i for i, r in enumerate(self.rungs)}
        return sorted((_settled(a) for a in done), key=lambda a: (order[a.rung], a.sample))

    async def _lead(
        self, job: Job, t: Transcript, lead: tuple[Rung, int], rungs: Sequence[Rung], player: Player, mark: str
    ) -> tuple[EndState, list[Asked]]:
        """The first chain of an episode, and the state that the others are forked from: rendered, where messages are refused."""
        state = endstate.native(t, player.reasoning)
        if not isinstance(state, str):
            async with player.turn():
                if not player.refuses:
                    found = await self._chain(job, t, lead, rungs, state, player)
                    if found[0].status != _REFUSED_FORM:
                        player.taken += found[0].status == "ok"
                        return state, found
                    player.refused += 1
        state = endstate.rendered(t, mark)
        return state, await self._chain(job, t, lead, rungs, state, player)

    async def _chain(
        self, job: Job, t: Transcript, head: tuple[Rung, int], rungs: Sequence[Rung], state: EndState, player: Player
    ) -> list[Asked]:
        """A question, and the rungs that go on from its answer."""
        rung, sample = head
        found = [await self._one(job, t, rung, sample, state, player, ())]
        for follower in (r for r in rungs if r.after == rung.id):
            before = found[0]
            if before.status == "ok" and before.answer_class not in ADMITS | {"false_confession", "over_confession"}:
                found.append(await self._one(job, t, follower, sample, state, player, (before,)))
            else:
                again = before.status in ("error", "skipped", _REFUSED_FORM)
                why = f"{rung.id} was admitted" if before.status == "ok" else f"{rung.id} was not answered ({before.status})"
                found.append(self.unasked(job, follower, sample, Status.SKIPPED if again else Status.NOT_ASKED, why))
        return found

    async def _one(
        self, job: Job, t: Transcript, rung: Rung, sample: int, state: EndState, player: Player, before: tuple[Asked, ...]
    ) -> Asked:
        wording, question = self.word(job, rung, sample)
        turns = [text for a in before for text in (a.question, a.answer)] + [question]
        blank = Asked(rung.id, sample, wording, question, "", None, state.reasoning)
        if player.context is not None and state.tokens > player.context:
            told = f"about {state.tokens:,} tokens, and the endpoint takes {player.context:,} (context in the file of models)"
            return blank._replace(status=Status.TOO_LONG.value, error=told)
        seed = self.seed + sample
        reply = await self.door.ask(_seeded(player.endpoint, state, seed), state.fork(*turns), None, sample=sample)
        if self.dry and reply.status == "skipped":
            reply = Reply(status="ok", text=f"{job.episode_id} {job.control} {rung.id} {sample} {_DRY}")  # no two are alike
        if state.mode == "native" and reply.kind in _REFUSALS:
            return blank._replace(status=_REFUSED_FORM, error=reply.error)
        text, reasoning = _apart(reply)
        sent = reply.status in ("ok", "refused", "truncated")
        asked = blank._replace(
            status=reply.status, mode=state.mode if sent else None, seed=seed if sent and "seed" not in reply.left_out else None,
            answer=text, reasoning=reasoning, error=reply.error,
        )  # fmt: skip
        if reply.status != "ok":
            return asked
        if not text.strip():
            return asked._replace(status=UNANSWERED, answer_class=UNANSWERED, error="no text in the answer")
        coded = await self.coder.code(job, rung, t, question, text, names_of(t, player.endpoint.model))
        if coded.status is not Status.OK:
            return asked._replace(
                coded=coded, error=f"not coded: {coded.status.value}{f', {coded.error}' if coded.error else ''}"
            )
        denied = any(a.answer_class in ("denial", "doubling_down") for a in before)
        name = classify(
            job, rung, coded.stances, no_access=coded.no_access, confesses=coded.confesses, denied_before=denied
        )  # fmt: skip
        return asked._replace(coded=coded, answer_class=name)

    def word(self, job: Job, rung: Rung, sample: int) -> tuple[int, str]:
        """Which wording a job gets for a sample, and the question as it is put."""
        charge = job.charge
        kind = self.questions.kind(charge.kind) if charge is not None else self.questions.kinds[-1]
        wordings = self.questions.wordings(rung, kind)
        place = (job.turn + sample) % len(wordings)
        slots = {"question": wordings[place]}
        text = _filled(rung.frame, slots)
        if charge is None:
            return place, text
        quote = "\n".join(f"> {line}" for line in visible(charge.evidence.quote).splitlines())
        slots = {"fact": charge.text, "quote": quote, "where": f"message {charge.evidence.message} of the run"}
        return place, _filled(text, slots)

    def unasked(self, job: Job, rung: Rung, sample: int, status: Status, why: str) -> Asked:
        """The row of a question that is not put."""
        wording, question = self.word(job, rung, sample)
        return Asked(rung.id, sample, wording, question, status.value, error=why)


def _filled(text: str, slots: dict[str, str]) -> str:
    """The slots filled in one pass: what is put in is never read as a slot again."""
    return _SLOT.sub(lambda m: slots.get(m.group(1), m.group()), text)


def _seeded(to: Endpoint, state: EndState, seed: int) -> Endpoint:
    """The endpoint with this call's parameters: the seed, and the tools of the run, off."""
    params: dict[str, Any] = {**to.params, "seed": seed}
    if state.tools:
        params |= {"tools": state.tools, "tool_choice": "none"}
    return to.model_copy(update={"params": params})


def _apart(reply: Reply) -> tuple[str, str | None]:
    """The answer, and its reasoning: what the server gave apart, or the thoughts before the answer (some templates open their tag)."""
    thoughts, end, answer = reply.text.rpartition("</think>")
    if not end:
        return reply.text, reply.reasoning
    return answer.lstrip(), reply.reasoning or thoughts.replace("<think>", "", 1).strip() or None


def _settled(asked: Asked) -> Asked:
    return asked._replace(status=Status.ERROR.value) if asked.status == _REFUSED_FORM else asked
