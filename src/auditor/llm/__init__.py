"""The one door to a model server: form, retries, limits, budget. Every paid reply is kept before it is used.

`LLM.ask` never raises for what a server does; it says so in the reply. What a server refuses (JSON schema, a parameter) is
learnt once a run. A server that cannot be used at all is asked no more: `stopped` has its words.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import openai
import orjson

from auditor.errors import ServerError
from auditor.llm.endpoints import Endpoint, endpoint
from auditor.llm.failures import Failure, advice, of_error
from auditor.llm.limits import Gate
from auditor.llm.prices import cost_of, estimate, known_price
from auditor.llm.wire import client, reply_of, request_body
from auditor.replies import Replies, Reply, key_of

__all__ = ["LLM", "Endpoint", "client", "endpoint", "estimate", "reply_of", "request_body"]

ATTEMPTS = 8
IN_A_ROW = 20
_NEVER_REACHED = 3
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_FORMS = ("schema", "json", "text")
_COMPLETION = 1_500
"""Tokens of an answer, for what a call may cost before it is sent."""


@dataclass
class Stats:
    """What a run sent, and what came of it. `cost` is in USD; `unpriced` calls had no known price."""

    sent: int = 0
    cached: int = 0
    shared: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    unpriced: int = 0


@dataclass
class _Server:
    """What was learnt of one endpoint in this run."""

    client: openai.AsyncOpenAI
    gate: Gate
    form: int = 0
    dropped: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)
    succeeded: bool = False
    row: tuple[str, int] = ("", 0)
    worst: str | None = None
    stopped: str | None = None


class LLM:
    """A door for all endpoints of a run. Use it as an async context manager, in one event loop."""

    def __init__(self, replies: Replies, *, max_cost: float | None = None, say: Callable[[str], None] = lambda _: None) -> None:
        self.replies, self.max_cost, self.say = replies, max_cost, say
        self.stats = Stats()
        self._servers: dict[tuple[str, str | None], _Server] = {}
        self._flying: dict[str, asyncio.Future[Reply]] = {}
        self._reserved = 0.0
        self._told: set[str] = set()

    async def __aenter__(self) -> Self:
        """Nothing is sent yet."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close all connections."""
        for server in self._servers.values():
            await server.client.close()

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
        stopped = [s.stopped for s in self._servers.values() if s.stopped]
        useless = [s.worst for s in self._servers.values() if not s.succeeded and s.worst]
        return next(iter([*stopped, *useless]), None)

    async def _paid(self, to: Endpoint, key: str, messages: list[dict[str, Any]], schema: dict[str, Any] | None) -> Reply:
        """A call within the budget."""
        if stopped := self._server(to).stopped:
            return Reply(status="error", error=stopped)
        guess = 0.0
        if self.max_cost is not None:
            if not known_price(to):
                raise ServerError(
                    f"{to.model}: no price is known, so --max-cost cannot hold; give --price IN,OUT (USD per million tokens)"
                )
            prompt, price = estimate(to, messages, schema)
            guess = price if price is not None else cost_of(to, prompt, _COMPLETION) or 0.0
            if self.stats.cost + self._reserved + guess > self.max_cost:
                return Reply(status="skipped", error=f"budget of ${self.max_cost:g} is used up (--max-cost)")
        elif not known_price(to):
            self._say_once(
                f"{to.model}: its price is not known, so no cost is told; `price: [IN, OUT]` in a file of endpoints or models gives one, or --price (USD per million tokens)"
            )
        self._reserved += guess
        try:
            return await self._retried(to, key, messages, schema)
        finally:
            self._reserved -= guess

    async def _retried(self, to: Endpoint, key: str, messages: list[dict[str, Any]], schema: dict[str, Any] | None) -> Reply:
        server = self._server(to)
        last = Failure("again", "none", "")
        attempt = 0
        while attempt < ATTEMPTS:
            async with server.gate:
                if server.stopped:
                    return Reply(status="error", error=server.stopped)
                body = self._body(server, to, messages, schema)
                started = time.monotonic()
                outcome = await self._once(server, to, body)
                if isinstance(outcome, Reply):
                    outcome = outcome.model_copy(update={"left_out": tuple(sorted(server.dropped))})
                    self.replies.put(key, outcome)
                    self._count(server, outcome)
                    return outcome
                last = outcome
                self.stats.outcomes[last.kind] += 1
                if last.act == "slower":
                    server.gate.slower(started)
                elif last.act not in ("form", "parameter", "messages"):
                    server.gate.learnt()
            if last.act in ("form", "parameter"):
                if self._learn(server, to, last, body):
                    continue
                last = last._replace(act="permanent")
            if last.act in ("too_long", "refused"):
                return Reply(
                    status="too_long" if last.act == "too_long" else "refused", error=last.words, endpoint=to.name, model=to.model
                )
            if last.act != "messages":
                self._row(server, to, last)
            if last.act in ("permanent", "messages"):
                return Reply(
                    status="error",
                    error=f"{last.kind}: {last.words}",
                    kind=last.act if last.act == "messages" else last.kind,
                    endpoint=to.name,
                    model=to.model,
                )
            attempt += 1
            if attempt < ATTEMPTS and not server.stopped:
                wait = min(_FIRST_WAIT * 2 ** (attempt - 1), _LONGEST_WAIT) * (0.5 + random.random() / 2)  # noqa: S311  # jitter
                await asyncio.sleep(max(wait, last.after or 0.0))
        return Reply(
            status="error", error=server.stopped or f"{last.kind}: {last.words} ({attempt} times)", kind=last.kind,
            endpoint=to.name, model=to.model,
        )  # fmt: skip

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

    def _body(
        self, server: _Server, to: Endpoint, messages: list[dict[str, Any]], schema: dict[str, Any] | None
    ) -> dict[str, Any]:
        body = request_body(to, messages, schema if server.form == 0 else None)
        for name in server.dropped:
            body.pop(name, None)
        for old, new in server.renamed.items():
            if old in body:
                body[new] = body.pop(old)
        if schema is not None and server.form:
            told = f"\n\nAnswer with one JSON object of this JSON schema, and nothing else.\nJSON Schema:\n{orjson.dumps(schema).decode()}"
            body["messages"] = [*messages[:-1], {**messages[-1], "content": messages[-1]["content"] + told}]
            if _FORMS[server.form] == "json":
                body["response_format"] = {"type": "json_object"}
        return body

    def _learn(self, server: _Server, to: Endpoint, failure: Failure, body: dict[str, Any]) -> bool:
        """Remember what the server refused; whether there is another way to ask. Calls that were in flight learn nothing new."""
        if failure.act == "form":
            kind = body.get("response_format", {}).get("type")
            tried = {"json_schema": 0, "json_object": 1}.get(str(kind), 2)
            if tried >= server.form and server.form < 2:
                server.form = tried + 1
                way = "JSON mode" if server.form == 1 else "plain text"
                self._say_once(
                    f"{to.name}: takes no {'JSON schema' if tried == 0 else 'JSON mode'}, so {way} is used ({failure.words[:120]})"
                )
            return tried < server.form
        name = failure.parameter or ""
        if name == "max_tokens" and "max_completion_tokens" in failure.words:
            server.renamed[name] = "max_completion_tokens"
            self._say_once(f"{to.name}: takes max_completion_tokens in place of max_tokens")
        else:
            server.dropped.add(name)
            self._say_once(f"{to.name}: takes no {name}, so it is left out ({failure.words[:120]})")
        return True

    def _count(self, server: _Server, reply: Reply) -> None:
        server.succeeded, server.row = True, ("", 0)
        server.gate.faster()
        self.stats.outcomes[reply.status] += 1
        self.stats.prompt_tokens += reply.prompt_tokens
        self.stats.completion_tokens += reply.completion_tokens
        if reply.cost is None:
            self.stats.unpriced += 1
        else:
            self.stats.cost += reply.cost

    def _row(self, server: _Server, to: Endpoint, failure: Failure) -> None:
        """Count failures that no retry will mend, in a row and of one kind; after 20 the run stops."""
        lost = failure.kind == "unreachable" and not server.succeeded
        if failure.act != "permanent" and not lost:
            return
        kind, number = server.row
        server.row = (failure.kind, number + 1 if kind == failure.kind else 1)
        server.worst = advice(failure.kind, failure.words, to)
        if server.row[1] >= (_NEVER_REACHED if lost else IN_A_ROW):
            server.stopped = server.worst

    def _server(self, to: Endpoint) -> _Server:
        # A judge and an audited model may have one name and two addresses.
        key = (to.name, to.base_url)
        if key not in self._servers:
            self._servers[key] = _Server(client(to), Gate(to.concurrency))
        return self._servers[key]

    def _say_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.say(text)
