"""The gate: never more than the limit, halved once a burst, and a cancelled waiter takes no room with it."""

from __future__ import annotations

import asyncio
import time

import pytest

from auditor.llm.limits import Gate, Known, Shared


def test_the_first_goes_alone_until_it_is_answered():
    async def run():
        gate = Gate(8)
        order: list[str] = []

        async def first():
            await gate.enter()
            await asyncio.sleep(0.05)
            order.append("first")
            gate.faster()
            gate.leave()

        async def other():
            await asyncio.sleep(0.01)
            await gate.enter()
            order.append("other")
            gate.leave()

        await asyncio.gather(first(), *(other() for _ in range(5)))
        return order

    assert asyncio.run(run()) == ["first"] + ["other"] * 5


def test_it_halves_once_for_a_burst_and_grows_back():
    gate = Gate(64)
    sent = time.monotonic()
    for _ in range(10):
        gate.slower(sent)
    assert gate.limit == 32
    gate.slower(time.monotonic())
    assert gate.limit == 16
    for _ in range(1000):
        gate.faster()
    assert gate.limit == 64


def test_cancelled_waiters_leave_the_room_to_others():
    async def run():
        gate = Gate(1)
        gate.learnt()
        await gate.enter()
        waiting = [asyncio.create_task(gate.enter()) for _ in range(5)]
        await asyncio.sleep(0)
        for task in waiting[:4]:
            task.cancel()
        gate.leave()
        await asyncio.gather(*waiting, return_exceptions=True)
        gate.leave()
        return gate.inside

    assert asyncio.run(run()) == 0


def test_a_new_attempt_at_a_shard_gets_the_room_of_the_dead_one():
    async def run():
        shared = Shared(max_cost=1.0)
        await shared.beat("s/1")
        await shared.enter("s/1", "m", 1)
        assert await shared.reserve("s/1", 0.4)
        late = asyncio.create_task(shared.enter("s/1", "m", 1))
        await asyncio.sleep(0)
        await shared.beat("s/2")
        assert await shared.enter("s/2", "m", 1) == Known()
        await shared.leave("s/2", "m", "faster", 0.0, Known(form=1))
        assert await late is None, "a call of the dead one gets none"
        with pytest.raises(LookupError):
            await shared.beat("s/1")
        await shared.leave("s/1", "m", "none", 0.0, Known())
        assert shared.gates["m"].inside == 0, "nothing is given back twice"
        assert (await shared.enter("s/2", "m", 1)).form == 1, "what one has learnt is known to all"
        assert shared.spent == 0.4, "what the dead one had set aside may have been paid"
        assert await shared.reserve("s/2", 0.6)
        assert not await shared.reserve("s/2", 0.01)
        await shared.settle("s/2", 0.6, 0.1)
        assert await shared.reserve("s/2", 0.5)

    asyncio.run(run())


def test_a_door_that_is_not_heard_of_gives_its_room_to_others(monkeypatch):
    async def run():
        shared = Shared()
        await shared.beat("a/1")
        await shared.enter("a/1", "m", 1)
        await asyncio.sleep(0.05)
        await shared.beat("b/1")
        assert await asyncio.wait_for(shared.enter("b/1", "m", 1), 1) == Known()
        assert await asyncio.wait_for(asyncio.gather(shared.leave("b/1", "m", "none", 0.0, Known()), shared.beat("a/1")), 1)
        assert await asyncio.wait_for(shared.enter("a/1", "m", 1), 1) == Known(), "it was slow, not dead: it goes on"

    monkeypatch.setattr("auditor.llm.limits._SILENT", 0.02)
    asyncio.run(run())
