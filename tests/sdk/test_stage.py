"""The stage itself: what is on it, what it says, and that crashes are found by it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import count

import pytest

from tidemill import Context, RunCancelledError, RunFailedError, task
from tidemill.kernel.errors import NotFoundError
from tidemill.testing import crash_everywhere, play

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@task
async def helper(number: int) -> int:
    return number + 1


@task(aliases=["older"])
async def main_task(number: int, ctx: Context) -> int:
    await ctx.sleep("1h")
    return await helper.call(number)


async def test_tasks_that_the_code_names_are_on_the_stage_and_others_are_not() -> None:
    async with play(now=NOW) as stage:
        run = await stage.start(main_task, 1)
        assert await run.result() == 2
        assert stage.now() == datetime(2026, 11, 22, 1, tzinfo=UTC)
    async with play() as stage:
        with pytest.raises(NotFoundError, match="no task 'helper' is on the stage"):
            await helper.trigger(1)
        with pytest.raises(NotFoundError, match="was never started"):
            stage.status("run_x")


async def test_delays_lifetimes_keys_and_timeouts() -> None:
    async with play(main_task, now=NOW) as stage:
        delayed = await main_task.trigger(1, delay="2h")
        assert (await main_task.trigger(1, idempotency_key="k")).id == (
            await main_task.trigger(2, idempotency_key="k")
        ).id
        assert len(stage.runs) == 2
        await stage.still()
        assert stage.status(delayed.id) == "delayed"
        with pytest.raises(TimeoutError, match="is delayed after 3600 s"):
            await delayed.result(timeout="1h")
        assert await delayed.result() == 2
        assert (stage.now() - NOW).total_seconds() == 3 * 3600


async def test_time_passes_only_when_it_is_asked_to() -> None:
    async with play(now=NOW) as stage:
        run = await stage.start(main_task, 1)
        await stage.still()
        assert (stage.status(run.id), stage.now()) == ("waiting", NOW)
        await stage.advance("59m")
        assert stage.status(run.id) == "waiting"
        await stage.advance("2m")
        assert stage.status(run.id) == "completed"


async def test_a_child_that_is_cancelled_fails_its_parent() -> None:
    @task
    async def parent(_: Context) -> None:
        await main_task.call(1)

    async with play() as stage:
        stage.serve(main_task)
        run = await stage.start(parent)
        await stage.still()
        await stage.cancel(stage.runs[1], "by hand")
        with pytest.raises(RunFailedError, match="by hand"):
            await run.result()


async def test_attempts_are_made_and_counted_without_waiting() -> None:
    attempts: list[int] = []

    @task
    async def flaky(ctx: Context) -> str:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            raise OSError("not yet")
        return "done"

    async with play(now=NOW) as stage:
        assert await (await stage.start(flaky)).result() == "done"
        assert (stage.now() - NOW).total_seconds() == 1 + 2
    assert attempts == [1, 2, 3]


async def test_an_attempt_that_takes_too_long_is_ended() -> None:
    @task(timeout=0.02)
    async def hanging() -> None:
        await asyncio.Event().wait()

    async with play() as stage:
        with pytest.raises(RunFailedError, match=r"timed out.*0\.02 s"):
            await (await stage.start(hanging)).result()


async def test_cancelling_a_waiting_run_ends_it() -> None:
    async with play() as stage:
        run = await stage.start(main_task, 1)
        await stage.still()
        await run.cancel("enough")
        with pytest.raises(RunCancelledError, match="enough"):
            await run.result()


async def test_a_crash_after_a_step_costs_nothing_of_it() -> None:
    @task
    async def two_steps(ctx: Context) -> list[int]:
        numbers = count()
        return [await ctx.step(name, lambda: next(numbers)) for name in ("a", "b")]

    async with play() as stage:
        stage.crash_after("a")
        run = await stage.start(two_steps)
        assert await run.result() == [0, 0], "the second process began to count anew"
        assert stage.executed(run.id) == {"a": 1, "b": 1}
        assert [record.KIND for record in stage.journal(run.id)].count("claim") == 2


async def test_handlers_that_depend_on_what_is_not_remembered_are_found_out() -> None:
    @task
    async def careless(ctx: Context) -> int:
        numbers.append(1)
        await ctx.step("a", lambda: None)
        return len(numbers)

    numbers: list[int] = []
    with pytest.raises(AssertionError, match="killed at\n0: it came to"):
        await crash_everywhere(careless)


async def test_crashes_tell_what_was_executed_again() -> None:
    @task
    async def careful(ctx: Context) -> int:
        return await ctx.step("a", lambda: 1)

    found = await crash_everywhere(careful, seed=7)
    assert (found.outcome.state, found.outcome.result) == ("completed", b"1")
    assert found.executed == {"a": 1}
    assert found.again == {"a": 1}, "only where it died between the step and its record"


async def test_a_handler_may_wait_for_a_run_that_it_has_triggered() -> None:
    @task
    async def waiting(ctx: Context) -> int:
        run = await helper.trigger(ctx.attempt)
        return await run.result()

    async with play() as stage:
        assert await (await stage.start(waiting)).result() == 2


async def test_a_completed_run_is_not_reopened() -> None:
    async with play() as stage:
        run = await stage.start(helper, 1)
        await run.result()
        await stage.retry(run.id)
        await stage.still()
        assert stage.status(run.id) == "completed"
