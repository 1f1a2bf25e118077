"""The one door to a model server: form, retries, limits, budget. Every paid reply is kept before it is used.

`LLM.ask` never raises for what a server does; it says so in the reply. What a server refuses (JSON schema, a parameter) is
learnt once a run. A server that cannot be used at all is asked no more: `stopped` has its words.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import openai
import orjson

from auditor.errors import ServerError
from auditor.llm.endpoints import Endpoint, endpoint
from auditor.llm.failures import Failure, advice, of_error
from auditor.llm.forms import fitted, learn
from auditor.llm.limits import IN_A_ROW, Known, Limits, News, Shared, Useless
from auditor.llm.prices import cost_of, estimate, known_price
from auditor.llm.stats import Stats
from auditor.llm.wire import client, reply_of, request_body
from auditor.replies import Replies, Reply, key_of

__all__ = ["IN_A_ROW", "LLM", "Endpoint", "Limits", "Stats", "client", "endpoint", "estimate", "reply_of", "request_body"]

ATTEMPTS = 8
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
PATIENCE = 180.0
"""Seconds for which a server that has answered before is asked again while nothing listens there: it is being started anew."""
_HEARTBEAT = 2.0
_GONE = frozenset(("unreachable", "disconnected", "502", "503", "504"))
_COMPLETION = 1_500
"""Tokens of an answer, for what a call may cost before it is sent."""


@dataclass
class _Server:
    """One endpoint in this run: its connections, its name among the `Limits`, what is known, and how calls failed of late."""

    client: openai.AsyncOpenAI
    name: str
    known: Known = field(default_factory=Known)
    worst: str | None = None


@dataclass
class _Call:
    """A call that has room: what it taught."""

    news: News = "none"
    useless: Useless | None = None


class LLM:
    """A door for all endpoints of a run. Use it as an async context manager, in one event loop."""

    def __init__(
        self,
        replies: Replies,
        *,
        max_cost: float | None = None,
        say: Callable[[str], None] = lambda _: None,
        limits: Limits | None = None,
        holder: str = "",
    ) -> None:
        """`limits` (default: this door's own) are asked as `holder`."""
        self.replies, self.max_cost, self.say, self.holder = replies, max_cost, say, holder
        self.limits: Limits = limits or Shared(max_cost)
        self.stats = Stats()
        self._servers: dict[tuple[str, str | None], _Server] = {}
        self._flying: dict[str, asyncio.Future[Reply]] = {}
        self._told: set[str] = set()
        self._heart: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Nothing is sent yet."""
        if self.holder:
            await self.limits.beat(self.holder)
            self._heart = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close all connections."""
        if self._heart is not None:
            self._heart.cancel()
        for server in self._servers.values():
            await server.client.close()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT)
            await self.limits.beat(self.holder)

    async def ask(
        self, endpoint: Endpoint, messages: list[dict[str, Any]], schema: dict[str, Any] | None = None, *, sample: int = 0
    ) -> Reply:
        """The reply to a call: a kept one, that of an equal call in flight, or the server's, kept before it is returned."""
        key = key_of(endpoint.base_url, endpoint.model, endpoint.params, messages, schema, sample)
        kept = self.replies.get(key)
        if kept is not None:
            self.stats.cached += 1
            return kept
        flying = self._flying.get(key)
        if flying is not None:
            self.stats.shared += 1
            return await asyncio.shield(flying)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._flying[key] = future
        try:
            reply = await self._paid(endpoint, key, messages, schema)
        except BaseException:
            future.cancel()
            raise
        else:
            future.set_result(reply)
            return reply
        finally:
            del self._flying[key]

    def verdict_on_run(self) -> str | None:
        """Why a server could not be used, None where all could: stopped, or not one success and nothing but refusals."""
        stopped = [s.known.stopped for s in self._servers.values() if s.known.stopped]
        useless = [s.worst for s in self._servers.values() if not s.known.succeeded and s.worst]
        return next(iter([*stopped, *useless]), None)

    async def _paid(self, to: Endpoint, key: str, messages: list[dict[str, Any]], schema: dict[str, Any] | None) -> Reply:
        """A call within the budget."""
        if stopped := self._server(to).known.stopped:
            return Reply(status="error", error=stopped)
        if self.max_cost is None:
            if not known_price(to):
                self._say_once(
                    f"{to.model}: its price is not known, so no cost is told; `price: [IN, OUT]` in a file of endpoints or models gives one, or --price (USD per million tokens)"
                )
            return await self._retried(to, key, messages, schema)
        if not known_price(to):
            raise ServerError(
                f"{to.model}: no price is known, so --max-cost cannot hold; give --price IN,OUT (USD per million tokens)"
            )
        prompt, price = estimate(to, messages, schema)
        guess = price if price is not None else cost_of(to, prompt, _COMPLETION) or 0.0
        if not await self.limits.reserve(self.holder, guess):
            return Reply(status="skipped", error=f"budget of ${self.max_cost:g} is used up (--max-cost)")
        cost = 0.0
        try:
            reply = await self._retried(to, key, messages, schema)
            cost = reply.cost or 0.0
            return reply
        finally:
            await self.limits.settle(self.holder, guess, cost)

    async def _retried(self, to: Endpoint, key: str, messages: list[dict[str, Any]], schema: dict[str, Any] | None) -> Reply:
        server = self._server(to)
        last = Failure("again", "none", "")
        attempt, begun = 0, 0.0
        while not attempt or self._patient(server, last, attempt, begun):
            async with self._room(server, to) as call:
                if server.known.stopped:
                    return Reply(status="error", error=server.known.stopped)
                body = fitted(server.known, to, messages, schema)
                outcome = await self._once(server, to, body)
                if isinstance(outcome, Reply):
                    outcome = outcome.model_copy(update={"left_out": tuple(sorted(server.known.dropped))})
                    self.replies.put(key, outcome)
                    self._count(server, outcome)
                    call.news = "faster"
                    return outcome
                last, again = self._failed(server, to, outcome, body, call)
            if again:
                continue
            if last.act in ("too_long", "refused"):
                return Reply(
                    status="too_long" if last.act == "too_long" else "refused", error=last.words, endpoint=to.name, model=to.model
                )
            if last.act in ("permanent", "messages"):
                return Reply(
                    status="error",
                    error=f"{last.kind}: {last.words}",
                    kind=last.act if last.act == "messages" else last.kind,
                    endpoint=to.name,
                    model=to.model,
                )
            attempt += 1
            begun = begun or time.monotonic()
            if self._patient(server, last, attempt, begun):
                wait = min(_FIRST_WAIT * 2 ** (attempt - 1), _LONGEST_WAIT) * (0.5 + random.random() / 2)  # noqa: S311  # jitter
                await asyncio.sleep(max(wait, last.after or 0.0))
        return Reply(
            status="error", error=server.known.stopped or f"{last.kind}: {last.words} ({attempt} times)", kind=last.kind,
            endpoint=to.name, model=to.model,
        )  # fmt: skip

    def _patient(self, server: _Server, last: Failure, attempt: int, begun: float) -> bool:
        """Whether a call that failed `attempt` times is tried again."""
        if server.known.stopped:
            return False
        gone = last.kind in _GONE and server.known.succeeded
        return attempt < ATTEMPTS or (gone and time.monotonic() - begun < PATIENCE)

    @asynccontextmanager
    async def _room(self, server: _Server, to: Endpoint) -> AsyncIterator[_Call]:
        """Room for one call at a server; behind it, what was learnt is everyone's."""
        while (known := await self.limits.enter(self.holder, server.name, to.concurrency)) is None:
            await self.limits.beat(self.holder)
        server.known.join(known)
        call, sent = _Call(), time.monotonic()
        try:
            yield call
        finally:
            age = time.monotonic() - sent
            server.known.join(await self.limits.leave(self.holder, server.name, call.news, age, server.known, call.useless))

    def _failed(self, server: _Server, to: Endpoint, failure: Failure, body: dict[str, Any], call: _Call) -> tuple[Failure, bool]:
        """Count a failed call. What it means now, and whether there is another way to ask."""
        self.stats.outcomes[failure.kind] += 1
        if failure.act in ("form", "parameter"):
            if learn(server.known, to, failure, body, self._say_once):
                return failure, True
            failure = failure._replace(act="permanent")
        elif failure.act != "messages":
            call.news = "slower" if failure.act == "slower" else "learnt"
        if failure.act not in ("too_long", "refused", "messages"):
            self._row(server, to, failure, call)
        return failure, False

    async def _once(self, server: _Server, to: Endpoint, body: dict[str, Any]) -> Reply | Failure:
        """One request. A body that is no JSON was cut off on the way, or comes from something that is no such server."""
        self.stats.sent += 1
        try:
            async with asyncio.timeout(to.timeout):
                # The body goes as `extra_body`: the library would walk through typed messages key by key.
                response = await server.client.chat.completions.with_raw_response.create(
                    model=to.model, messages=[], extra_body=body
                )
            content = response.http_response.content
        except (openai.OpenAIError, TimeoutError) as error:
            return of_error(error, to, body)
        try:
            value = orjson.loads(content)
        except orjson.JSONDecodeError:
            if content[:400].lstrip().startswith(b"<"):
                return Failure("permanent", "html", "a page of HTML in place of JSON")
            return Failure("again", "broken", "an answer that is no JSON")
        reply = reply_of(to, value if isinstance(value, dict) else {})
        if reply.status == "error":
            return Failure("again", "broken", reply.error or "")
        return reply

    def _count(self, server: _Server, reply: Reply) -> None:
        server.known.succeeded = True
        self.stats.outcomes[reply.status] += 1
        self.stats.prompt_tokens += reply.prompt_tokens
        self.stats.completion_tokens += reply.completion_tokens
        if reply.cost is None:
            self.stats.unpriced += 1
        else:
            self.stats.cost += reply.cost

    def _row(self, server: _Server, to: Endpoint, failure: Failure, call: _Call) -> None:
        """Note a failure that no retry will mend."""
        lost = failure.kind == "unreachable" and not server.known.succeeded
        if failure.act == "permanent" or lost:
            server.worst = advice(failure.kind, failure.words, to)
            call.useless = Useless(failure.kind, lost, server.worst)

    def _server(self, to: Endpoint) -> _Server:
        # A judge and an audited model may have one name and two addresses.
        key = (to.name, to.base_url)
        if key not in self._servers:
            self._servers[key] = _Server(client(to), f"{to.name} {to.base_url or ''}".strip())
        return self._servers[key]

    def _say_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.say(text)
