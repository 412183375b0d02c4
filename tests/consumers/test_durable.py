"""Durable handlers on a real broker: what is finished stays finished, and waiting holds nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Any

import pytest

from tests.consumers.conftest import Mill
from tests.patience import until
from tidemill import Abort, Context, Retry, Step, SyncContext, WaitTimeout, task
from tidemill.kernel.protocol.operations import Tell
from tidemill.kernel.protocol.records import Item, Spawned, Suspend

pytestmark = pytest.mark.integration
SOON = 0.05
"""Waits are longer than this, so that each suspends its run."""


def _result(view: Any) -> Any:
    assert view.status == "completed", view.facts()
    return view.result


async def test_a_retry_resumes_behind_the_last_finished_step(mill: Mill) -> None:
    done: Counter[str] = Counter()

    def pay(amount: int) -> int:
        done["pay"] += 1
        return amount * 2

    async def ship(paid: int) -> dict[str, int]:
        done["ship"] += 1
        if done["ship"] < 3:
            raise ValueError("not yet")
        return {"paid": paid}

    @task(retry=Retry(min_delay=0.01, jitter=False))
    async def order(amount: int, ctx: Context) -> dict[str, int]:
        done["handler"] += 1
        paid = await ctx.step("pay", pay, amount)
        return await ctx.step("ship", ship, paid)

    async with mill.worker(order):
        view = await mill.ended(await mill.trigger("order", 4))
    assert _result(view) == {"paid": 8}
    assert done == {"handler": 3, "pay": 1, "ship": 3}


async def test_waiting_holds_no_slot_no_message_and_no_memory(mill: Mill) -> None:
    @task(concurrency=1)
    async def sleeps(seconds: float, ctx: Context) -> str:
        await ctx.sleep(seconds)
        return "woken"

    async with mill.engine(), mill.worker(sleeps, linger=SOON, slots=1) as worker:
        long = await mill.trigger("sleeps", 3600)
        await mill.when(long, lambda view: view.status == "waiting")
        short = await mill.trigger("sleeps", 0.3)
        view = await mill.ended(short)
        assert _result(view) == "woken"
        assert sum(isinstance(entry.record, Suspend) for entry in view.entries) == 1
        assert (await mill.consumer("sleeps"))["num_ack_pending"] == 0
        assert not worker._shared.tickets
        assert await mill.runs.signal(long, "cancel") == "done"
        assert (await mill.ended(long)).status == "cancelled"
    assert await mill.count("TICKETS") == 0  # the cancelled run's timer has gone with it


async def test_signals_are_kept_in_their_order_and_time_out_once(mill: Mill) -> None:
    @task
    async def listens(ctx: Context) -> list[str]:
        heard = [await ctx.wait_for_signal("word", str, timeout=30) for _ in range(3)]
        try:
            await ctx.wait_for_signal("word", str, timeout=0.3)
        except WaitTimeout:
            heard.append("silence")
        await ctx.sleep(0.2)
        return heard

    async with mill.engine(), mill.worker(listens, linger=SOON):
        run = await mill.trigger("listens")
        for number in range(2):
            await _say(mill, run, f"{number}")
        await mill.when(run, lambda view: view.status == "waiting")
        await _say(mill, run, "2")
        await _say(mill, run, "2")  # the same again
        assert _result(await mill.ended(run)) == ["0", "1", "2", "silence"]


async def _say(mill: Mill, run: str, word: str) -> None:
    item = Item(id=f"word-{word}", box="signal:word", who=f"word-{word}", data=word)
    await mill.broker.performer.perform(Tell(run, item))


async def test_children_are_started_once_and_wake_their_parent_once(mill: Mill) -> None:
    started: Counter[int] = Counter()

    @task
    async def square(number: int) -> int:
        started[number] += 1
        await asyncio.sleep(0.01)
        return number * number

    @task
    async def sums(count: int, ctx: Context) -> int:
        one = await square.call(1000)
        parts = await ctx.gather(*[square.call(number) for number in range(count)])
        mapped = await ctx.map(square, range(500, 510), limit=4)
        return one + sum(parts) + sum(mapped)

    async with mill.engine(), mill.worker(square, sums, linger=SOON):
        view = await mill.ended(await mill.trigger("sums", 25))
    assert _result(view) == 1000**2 + sum(n * n for n in range(25)) + sum(n * n for n in range(500, 510))
    assert set(started.values()) == {1}
    suspended = [entry.record for entry in view.entries if isinstance(entry.record, Suspend)]
    # One for the child, one for the join of 25, and one for each time that the map lets new ones in.
    assert len(suspended) <= 2 + 4
    assert sum(isinstance(entry.record, Spawned) for entry in view.entries) == 1 + 1 + 3


async def test_a_large_result_of_a_child_reaches_its_parent(mill: Mill) -> None:
    @task
    async def copies(size: int) -> str:
        return "x" * size

    @task
    async def measures(ctx: Context) -> list[int]:
        sizes = (10, 20_000, 300_000)
        return [len(text) for text in await ctx.gather(*[copies.call(size) for size in sizes])]

    async with mill.engine(), mill.worker(copies, measures, linger=SOON):
        assert _result(await mill.ended(await mill.trigger("measures"))) == [10, 20_000, 300_000]


async def test_a_large_result_of_a_step_is_remembered_too(mill: Mill) -> None:
    made: list[int] = []

    def make(size: int) -> str:
        made.append(size)
        return "y" * size

    @task
    async def big(ctx: Context) -> int:
        text = await ctx.step("make", make, 400_000)
        await ctx.sleep(0.2)
        return len(text)

    async with mill.worker(big, linger=SOON):
        assert _result(await mill.ended(await mill.trigger("big"))) == 400_000
    assert made == [400_000]


async def test_the_failure_of_a_child_ends_its_siblings_and_is_raised(mill: Mill) -> None:
    @task
    async def child(number: int, ctx: Context) -> None:
        if number:
            await ctx.sleep(3600)
        raise Abort("no")

    @task(retry=Retry(max_attempts=1))
    async def parent(ctx: Context) -> None:
        await ctx.gather(*[child.call(number) for number in range(3)])

    async with mill.engine(), mill.worker(child, parent, linger=SOON):
        view = await mill.ended(await mill.trigger("parent"))
        assert view.status == "failed"
        assert "Abort: no" in view.facts()["error"]["message"]
        siblings = [run async for run in _runs_of(mill, "child")]
        for run in siblings:
            assert (await mill.ended(run)).status in ("failed", "cancelled")
        assert len(siblings) == 3


async def test_cancelling_a_parent_cancels_its_children_but_not_the_detached(mill: Mill) -> None:
    @task
    async def child(_name: str, ctx: Context) -> None:
        await ctx.sleep(3600)

    @task
    async def parent(ctx: Context) -> None:
        await child.trigger("free", detached=True)
        await child.trigger("bound")
        await ctx.gather(child.call("first"), child.call("second"))

    async with mill.engine(), mill.worker(child, parent, linger=SOON):
        run = await mill.trigger("parent")
        await mill.when(run, lambda view: view.status == "waiting")
        assert await mill.runs.signal(run, "cancel") == "done"
        children = [run async for run in _runs_of(mill, "child")]
        assert len(children) == 4

        async def settled() -> bool:
            states = Counter([(await mill.runs.get(one)).status for one in children])
            return states == {"cancelled": 3, "waiting": 1}

        await until(settled)


async def _runs_of(mill: Mill, task_id: str) -> Any:
    for view in await mill.runs.list(task=task_id):
        yield view.id


async def test_changed_code_parks_the_run_which_goes_on_when_it_is_mended(mill: Mill) -> None:
    names = {"step": "old"}

    def work() -> int:
        return 1

    @task
    async def changes(ctx: Context) -> int:
        first = await ctx.step(names["step"], work)
        await ctx.sleep(0.4)
        return first + 1

    async with mill.engine(), mill.worker(changes, linger=SOON):
        run = await mill.trigger("changes")
        await mill.when(run, lambda view: view.status == "waiting")
        names["step"] = "new"
        view = await mill.when(run, lambda view: view.status == "parked")
        [fault] = view.state.faults
        assert "'old'" in fault.message
        assert "'new'" in fault.message
        names["step"] = "old"
        assert await mill.runs.signal(run, "retry") == "done"
        assert _result(await mill.ended(run)) == 2


async def test_sync_handlers_have_the_same_words(mill: Mill) -> None:
    made: list[int] = []

    @task
    async def double(number: int) -> int:
        return number * 2

    def make(number: int) -> int:
        made.append(number)
        return number + 1

    @task
    def blocks(number: int, ctx: SyncContext) -> int:
        first = ctx.step(Step("make", retry=Retry(2)), make, number)
        ctx.sleep(0.2)
        return first + sum(ctx.gather(double.call(1), double.call(2)))

    async with mill.engine(), mill.worker(double, blocks, linger=SOON):
        assert _result(await mill.ended(await mill.trigger("blocks", 5))) == 6 + 2 + 4
    assert made == [5]


async def test_a_race_is_decided_once(mill: Mill) -> None:
    @task
    async def races(ctx: Context) -> list[Any]:
        who, word = await ctx.first(ctx.wait_for_signal("word", str, timeout=60), ctx.sleep(0.3))
        await ctx.sleep(0.2)
        return [who, word]

    async with mill.engine(), mill.worker(races, linger=SOON):
        run = await mill.trigger("races")
        await mill.when(run, lambda view: len([e for e in view.entries if isinstance(e.record, Suspend)]) > 1)
        await _say(mill, run, "late")
        assert _result(await mill.ended(run)) == [1, None]


async def test_a_swallowed_suspension_fails_the_run_with_its_place(mill: Mill) -> None:
    @task
    async def swallows(ctx: Context) -> str:
        try:
            await ctx.sleep(60)
        except BaseException:  # noqa: BLE001 - the mistake that is to be told
            return "went on"
        return "slept"

    async with mill.worker(swallows, linger=SOON):
        view = await mill.ended(await mill.trigger("swallows"))
    assert view.status == "failed"
    assert "test_durable.py" in view.facts()["error"]["message"]


async def test_a_run_may_take_no_longer_than_its_max_duration(mill: Mill) -> None:
    @task(max_duration=0.5)
    async def long(ctx: Context) -> None:
        await ctx.sleep(3600)

    async with mill.worker(long, linger=SOON):
        view = await mill.ended(await mill.trigger("long"))
    assert view.status == "timed_out"


async def test_a_handler_that_swallows_in_a_loop_gives_its_slot_back(mill: Mill) -> None:
    @task
    async def stubborn(ctx: Context) -> None:
        while True:
            with contextlib.suppress(BaseException):
                await ctx.sleep("1h")

    @task
    async def quick() -> str:
        return "done"

    async with mill.engine(), mill.worker(stubborn, quick, slots=1):
        run = await mill.trigger("stubborn")
        view = await mill.ended(run)
        assert view.status == "failed"
        assert view.state.end.fault.type == "SwallowedSuspension"
        assert f"{__file__}:{stubborn.source_location.line}" in view.state.end.fault.message
        assert (await mill.ended(await mill.trigger("quick"))).result == "done"
