"""Sync handlers: the same words, which block their thread."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from tidemill import Retry, RunFailedError, Step, SyncContext, WaitTimeout, task
from tidemill.testing import active, play

CALLS: list[str] = []


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


def work(name: str) -> str:
    CALLS.append(name)
    return f"{name} in {threading.current_thread() is not threading.main_thread()}"


@task
def child(number: int) -> int:
    return number * 2


@task
def ordering(number: int, ctx: SyncContext) -> list[Any]:
    begun = ctx.now()
    first = ctx.step("fetch", work, "fetch")
    ctx.sleep("3h")
    signal = ctx.wait_for_signal("go", int, timeout="1d")
    decision = ctx.wait_for_approval("ship", timeout="1d")
    numbers = ctx.gather(child.call(number), child.call(number + 1))
    last = ctx.step("store", work, "store")
    return [first, last, signal, decision.by, numbers, (ctx.now() - begun).total_seconds()]


async def test_a_sync_handler_is_let_go_and_resumed() -> None:
    async with play() as stage:
        run = await stage.start(ordering, 5)
        stage.signal("go", 7, after="4h")
        stage.approve("ship", by="ann", after="5h")
        assert await run.result() == ["fetch in True", "store in True", 7, "ann", [10, 12], 5 * 3600.0]
        assert stage.executed(run.id) == {"fetch": 1, "store": 1}
    assert CALLS == ["fetch", "store"]


async def test_a_step_of_a_sync_handler_is_tried_again_by_itself() -> None:
    def flaky() -> int:
        CALLS.append("flaky")
        if len(CALLS) < 3:
            raise OSError("not yet")
        return len(CALLS)

    @task
    def trying(ctx: SyncContext) -> int:
        return ctx.step(Step("flaky", retry=Retry(5, min_delay="1m")), flaky)

    async with play() as stage:
        assert await (await stage.start(trying)).result() == 3


async def test_a_sync_handler_sees_timeouts_and_failures() -> None:
    @task
    def waiting(ctx: SyncContext) -> str:
        try:
            ctx.wait_for_signal("go", int, timeout="1h")
        except WaitTimeout:
            return ctx.step("late", work, "late")
        return "in time"

    async with play() as stage:
        assert await (await stage.start(waiting)).result() == "late in True"


async def test_a_swallowed_suspension_of_a_sync_handler_is_told() -> None:
    @task
    def swallowing(ctx: SyncContext) -> str:
        try:
            ctx.sleep("1h")
        except BaseException:  # noqa: BLE001 - what must not be written
            return "swallowed"
        return "slept"

    async with play() as stage:
        with pytest.raises(RunFailedError, match="swallowed that"):
            await (await stage.start(swallowing)).result()


def test_a_direct_call_needs_no_loop() -> None:
    with active(now=datetime(2026, 11, 22, tzinfo=UTC)) as session:
        session.signal("go", 7)
        session.approve("ship", by="ann")
        session.answer(child, 1)
        assert ordering(5) == ["fetch in False", "store in False", 7, "ann", [1, 1], 3 * 3600.0]
    assert CALLS == ["fetch", "store"]


async def test_what_a_sync_handler_triggers_is_started_once() -> None:
    @task
    def starting(ctx: SyncContext) -> list[str]:
        runs = [child.trigger_sync(number).id for number in range(2)]
        ctx.sleep("1h")
        return runs

    async with play(child) as stage:
        run = await stage.start(starting)
        await stage.still()
        assert stage.status(run.id) == "waiting"
        assert {run.id, *await run.result()} == set(stage.runs)
        assert len(stage.runs) == 3


async def test_a_sync_step_that_takes_too_long_is_left() -> None:
    ended = threading.Event()

    @task
    def hurrying(ctx: SyncContext) -> list[str]:
        seen = [ctx.step(Step("quick", timeout="1m"), work, "quick")]
        try:
            ctx.step(Step("slow", timeout="10ms"), ended.wait)
        except TimeoutError as error:
            seen.append(str(error))
        finally:
            ended.set()
        return seen

    async with play() as stage:
        run = await stage.start(hurrying)
        assert await run.result() == ["quick in True", "step 'slow' took longer than 0.01 s"]
