"""The door, against a real server that fails in every way it is told to."""

from __future__ import annotations

import asyncio
import time

import pytest
from llm_server import running

from auditor.errors import ServerError
from auditor.llm import IN_A_ROW, LLM, endpoint, estimate, reply_of, request_body
from auditor.replies import Replies

KEY = "sk-very-secret-key-0123456789"
SCHEMA = {
    "type": "object",
    "properties": {"evidence": {"type": "array"}},
    "required": ["evidence"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def ask(tmp_path, url, count=1, *, max_cost=None, schema=SCHEMA, again=False, **settings):
    """`count` different calls, all at once; returns replies, the door, and what it said."""
    said: list[str] = []

    async def run():
        replies = Replies.open(tmp_path / "llm.sqlite")
        try:
            async with LLM(replies, max_cost=max_cost, say=said.append) as llm:
                to = endpoint("m-1", base_url=url, **settings)
                calls = [llm.ask(to, [{"role": "user", "content": f"call {i}"}], schema) for i in range(count)]
                found = await asyncio.gather(*calls)
                if again:
                    found += await asyncio.gather(
                        *(llm.ask(to, [{"role": "user", "content": f"call {i}"}], schema) for i in range(count))
                    )
                return found, llm
        finally:
            replies.close()

    found, llm = asyncio.run(run())
    return found, llm, said


def test_a_reply_is_kept_and_not_asked_for_again(tmp_path):
    with running() as server:
        found, llm, _ = ask(tmp_path, server.url, 5, again=True)
        assert [r.status for r in found] == ["ok"] * 10
        assert [r.cached for r in found] == [False] * 5 + [True] * 5
        ask(tmp_path, server.url, 5)
        assert server.counts()["requests"] == 5
        assert (llm.stats.sent, llm.stats.cached) == (5, 5)


def test_equal_calls_in_flight_are_one(tmp_path):
    async def run(url):
        replies = Replies.open(tmp_path / "llm.sqlite")
        async with LLM(replies) as llm:
            to = endpoint("m-1", base_url=url)
            found = await asyncio.gather(*(llm.ask(to, [{"role": "user", "content": "same"}]) for _ in range(20)))
            replies.close()
            return found, llm.stats

    with running(latency=0.1) as server:
        found, stats = asyncio.run(run(server.url))
        assert len({r.text for r in found}) == 1
        assert (server.counts()["requests"], stats.sent, stats.shared) == (1, 1, 19)


@pytest.mark.parametrize("kind", ["429", "429-after", "500", "503", "closed"])
def test_what_passes_is_tried_again(tmp_path, kind):
    with running(faults=0.4, fault_kinds=kind, retry_after=0.1) as server:
        found, llm, _ = ask(tmp_path, server.url, 40)
        assert {r.status for r in found} == {"ok"}
        counts = server.counts()
        assert counts["requests"] == llm.stats.sent > 40
        assert counts["outcomes"]["ok"] == llm.stats.outcomes["ok"] == 40


def test_retry_after_is_obeyed(tmp_path):
    with running(faults=1.0, fault_kinds="429-after", retry_after=1.5) as server:

        async def run():
            replies = Replies.open(tmp_path / "llm.sqlite")
            async with LLM(replies) as llm:
                task = asyncio.create_task(llm.ask(endpoint("m-1", base_url=server.url), [{"role": "user", "content": "x"}]))
                await asyncio.sleep(0.5)
                await asyncio.to_thread(server.set, faults=0.0)
                start = time.monotonic()
                reply = await task
                replies.close()
                return reply, time.monotonic() - start

        reply, waited = asyncio.run(run())
        assert reply.status == "ok"
        assert waited > 0.8
        assert server.counts()["requests"] == 2


def test_a_call_that_hangs_is_given_up_and_tried_again(tmp_path):
    with running(faults=0.5, fault_kinds="hang", seed=3) as server:
        found, llm, _ = ask(tmp_path, server.url, 6, timeout=0.4)
        assert {r.status for r in found} == {"ok"}
        assert llm.stats.outcomes["timeout"] == llm.stats.sent - 6 > 0


@pytest.mark.parametrize(
    ("kind", "status"), [("length", "truncated"), ("refusal", "refused"), ("filter", "refused"), ("filter-400", "refused")]
)
def test_what_a_model_will_not_say_is_said_so(tmp_path, kind, status):
    with running(faults=1.0, fault_kinds=kind) as server:
        found, _, _ = ask(tmp_path, server.url)
        assert found[0].status == status
        assert server.counts()["requests"] == 1


def test_what_a_server_cannot_do_is_learnt_from_one_call(tmp_path):
    with running(no_schema=True, no_json=True, no_temperature=True, no_max_tokens=True, latency=0.02) as server:
        found, _, said = ask(tmp_path, server.url, 30, params=["temperature=0", "max_tokens=900"])
        assert {r.status for r in found} == {"ok"}
        assert server.counts()["outcomes"] == {"400": 4, "ok": 30}
        assert len([s for s in said if "price" not in s]) == 4
        assert any("JSON mode" in s for s in said)
        assert any("max_completion_tokens" in s for s in said)


def test_concurrency_is_kept_and_halves_on_429(tmp_path):
    with running(latency=0.05) as server:
        ask(tmp_path, server.url, 60, concurrency=8)
        assert server.counts()["peak"] <= 8

    async def run(url):
        replies = Replies.open(tmp_path / "two.sqlite")
        async with LLM(replies) as llm:
            to = endpoint("m-1", base_url=url, concurrency=16)
            await asyncio.gather(*(llm.ask(to, [{"role": "user", "content": str(i)}]) for i in range(40)))
            replies.close()
            return llm.limits.gates[f"m-1 {to.base_url}"]

    with running(faults=0.15, fault_kinds="429", latency=0.02) as server:
        gate = asyncio.run(run(server.url))
        assert 1 <= gate.limit <= 16
        assert gate.inside == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"key": "another"}, r"401 Incorrect API key provided.*set OPENAI_API_KEY"),
        ({"model": "another"}, r"404 The model `m-1` does not exist.*is the model named 'm-1'"),
        ({"html": True}, r"HTML.*check --base-url"),
    ],
)
def test_a_server_that_cannot_be_used_stops_the_run(tmp_path, settings, words):
    with running(**settings) as server:
        found, llm, said = ask(tmp_path, server.url, 200, concurrency=4)
        assert {r.status for r in found} == {"error"}
        assert IN_A_ROW <= server.counts()["requests"] <= IN_A_ROW + 4
        assert llm.verdict_on_run()
        import re

        assert re.search(words, llm.verdict_on_run()), llm.verdict_on_run()
        assert KEY not in str([*found, llm.verdict_on_run(), said, vars(llm)])


def test_a_few_failures_are_told_at_the_end_too(tmp_path):
    with running(key="another") as server:
        _, llm, _ = ask(tmp_path, server.url, 3)
        assert not any(s.known.stopped for s in llm._servers.values())
        assert "401" in (llm.verdict_on_run() or "")


def test_quota_is_permanent_and_what_came_before_is_kept(tmp_path):
    with running(quota=10) as server:
        found, llm, _ = ask(tmp_path, server.url, 60, concurrency=1)
        assert [r.status for r in found].count("ok") == 10
        assert "quota" in (llm.verdict_on_run() or "")
        assert server.counts()["requests"] == 10 + IN_A_ROW


def test_nobody_there(tmp_path):
    found, llm, _ = ask(tmp_path, "http://127.0.0.1:9/v1", 5)
    assert {r.status for r in found} == {"error"}
    assert "is the server running" in (llm.verdict_on_run() or "")


def test_too_long_is_said_so(tmp_path):
    with running(context=3) as server:
        found, _, _ = ask(tmp_path, server.url)
        assert found[0].status == "too_long"
        assert server.counts()["requests"] == 1


def test_the_budget_holds_with_calls_in_flight(tmp_path):
    with running(latency=0.02) as server:
        found, llm, _ = ask(tmp_path, server.url, 50, max_cost=0.05, price=(1.0, 2.0), concurrency=16)
        assert {r.status for r in found} == {"ok", "skipped"}
        assert llm.stats.cost <= 0.05
        assert all("--max-cost" in (r.error or "") for r in found if r.status == "skipped")


def test_a_budget_needs_a_price(tmp_path):
    with running() as server, pytest.raises(ServerError, match="--price IN,OUT"):
        ask(tmp_path, server.url, max_cost=1.0)


def test_the_body_and_the_reply_are_plain_data():
    to = endpoint("gpt-5-mini", params=["reasoning_effort=low"])
    body = request_body(to, [{"role": "user", "content": "x"}], SCHEMA)
    assert body["response_format"]["json_schema"]["strict"] is True
    assert body["reasoning_effort"] == "low"
    assert reply_of(to, {"nothing": 1}).status == "error"
    assert reply_of(to, {"choices": [{"message": {"content": [{"type": "text", "text": "in parts"}]}}]}).text == "in parts"
    tokens, cost = estimate(to, [{"role": "user", "content": "x" * 4000}], None)
    assert tokens == 1000
    assert cost == pytest.approx(1000 * 0.25e-6 + 1500 * 2e-6)
