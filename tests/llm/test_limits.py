"""The gate: never more than the limit, halved once a burst, and a cancelled waiter takes no room with it."""

from __future__ import annotations

import asyncio
import time

from auditor.llm.limits import Gate


def test_the_first_goes_alone_until_it_is_answered():
    async def run():
        gate = Gate(8)
        order: list[str] = []

        async def first():
            async with gate:
                await asyncio.sleep(0.05)
                order.append("first")
                gate.faster()

        async def other():
            await asyncio.sleep(0.01)
            async with gate:
                order.append("other")

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
