"""What a task with everything comes to, wherever its process dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

import pytest

from tidemill import Context, WaitTimeout, task
from tidemill.testing import Crashes, Stage, crash_everywhere

CALLS: Counter[str] = Counter()


@dataclass
class Order:
    number: int


@dataclass
class Receipt:
    order: int
    total: int


async def price(item: str) -> int:
    await asyncio.sleep(0)
    CALLS[item] += 1
    return len(item)


def book(order: Order, total: int) -> Receipt:
    return Receipt(order.number, total)


@task
async def pack(number: int) -> int:
    return number * 10


@task
async def courier(name: str, ctx: Context) -> str:
    await ctx.sleep("2h")
    return name


@task
async def handle(order: Order, ctx: Context) -> dict[str, object]:
    first = await ctx.step("price", price, "boat")
    async with asyncio.TaskGroup() as group:
        oars = group.create_task(ctx.step("price", price, "oars"))
        sail = group.create_task(ctx.step("price", price, "main sail"))
    await ctx.sleep("30d")
    early = await ctx.wait_for_signal("paid", int, timeout="1h")
    late = await ctx.wait_for_signal("paid", int, timeout="10d")
    decision = await ctx.wait_for_approval("ship", timeout="7d")
    packed = await ctx.gather(*[pack.call(number) for number in range(10)])
    won, who = await ctx.first(courier.call("slow"), ctx.wait_for_signal("fetched", str, timeout="1d"))
    try:
        await ctx.wait_for_signal("never", int, timeout="1m")
    except WaitTimeout:
        missed = True
    receipt = await ctx.step("book", book, order, first + oars.result() + sail.result())
    return {
        "receipt": receipt,
        "paid": [early, late],
        "approved": [decision.approved, decision.by, decision.comment],
        "packed": packed,
        "race": [won, who],
        "missed": missed,
        "now": ctx.now().isoformat(),
        "id": str(ctx.uuid()),
    }


def outside(stage: Stage) -> None:
    stage.signal("paid", 1)
    stage.signal("paid", 2, after="31d")
    stage.approve("ship", by="ann", comment="go", after="35d")
    stage.signal("fetched", "ann", after="35d 1h")


@pytest.mark.timeout(110)
async def test_every_outcome_is_the_same_and_no_finished_step_is_executed_again() -> None:
    found = await crash_everywhere(handle, Order(7), prepare=outside)
    assert isinstance(found, Crashes)
    assert found.outcome.state == "completed", found.outcome
    assert found.executed == {"price": 1, "price#2": 1, "price#3": 1, "book": 1}
    assert found.points > 200
