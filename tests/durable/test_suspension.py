"""When a run is let go, what unwinds then, and what a handler that hinders it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tidemill import Context, Retry, RunFailedError, task
from tidemill.durable.minder import MOST_SWALLOWED
from tidemill.testing import play


async def nothing() -> None:
    """Stand for a step's work."""


async def test_finally_and_async_with_run_at_every_suspension_and_except_exception_does_not() -> None:
    seen: list[str] = []

    @contextlib.asynccontextmanager
    async def connection() -> AsyncIterator[None]:
        seen.append("open")
        try:
            yield
        finally:
            seen.append("close")

    @task
    async def careful(ctx: Context) -> str:
        try:
            async with connection():
                await ctx.sleep("1h")
                await ctx.sleep("1h")
        except Exception:  # noqa: BLE001 - what a careful handler writes
            seen.append("compensate")
        finally:
            seen.append("finally")
        return "done"

    async with play() as stage:
        run = await stage.start(careful)
        assert await run.result() == "done"
    assert seen == ["open", "close", "finally"] * 3


async def test_what_asks_while_unwinding_is_told_so_and_the_run_goes_on() -> None:
    seen: list[str] = []

    @task
    async def undoing(ctx: Context) -> str:
        try:
            await ctx.sleep("1h")
        finally:
            try:
                await ctx.step("undo", nothing)
            except Exception as error:  # noqa: BLE001 - it is looked at below
                seen.append(str(error))
        return "done"

    async with play() as stage:
        run = await stage.start(undoing)
        assert await run.result() == "done"
    assert len(seen) == 1
    assert "'undo' is asked for while the run is being left to wait" in seen[0]
    assert "except Exception" in seen[0]


async def test_an_error_of_unwinding_counts_as_the_handlers_own() -> None:
    @task
    async def broken(ctx: Context) -> None:
        try:
            await ctx.sleep("1h")
        finally:
            raise ValueError("in finally")

    async with play() as stage:
        run = await stage.start(broken)
        with pytest.raises(RunFailedError, match="in finally"):
            await run.result()


@pytest.mark.parametrize("how", ["bare", "base", "return"])
async def test_a_swallowed_suspension_fails_the_run_with_file_and_line(how: str) -> None:
    async def swallow(ctx: Context) -> None:
        if how == "bare":
            try:  # noqa: SIM105 - what must not be written
                await ctx.sleep("1h")
            except:  # noqa: E722 - the same
                pass
        elif how == "base":
            with contextlib.suppress(BaseException):
                await ctx.sleep("1h")
        else:
            try:
                await ctx.sleep("1h")
            finally:
                return  # noqa: B012 - what must not be written

    @task
    async def swallowing(ctx: Context) -> str:
        await swallow(ctx)
        return "done"

    async with play() as stage:
        run = await stage.start(swallowing)
        with pytest.raises(RunFailedError, match="swallowed") as caught:
            await run.result()
        assert f"{__file__}:{swallowing.source_location.line}" in str(caught.value)
        assert caught.value.error_type == "SwallowedSuspension"
        assert stage.state(run.id).attempt == 1


@pytest.mark.parametrize("kind", ["sleep", "step", "signal", "child"])
async def test_a_handler_that_swallows_in_a_loop_is_given_up(kind: str) -> None:
    rounds = [0]

    @task
    async def child() -> None: ...

    async def one(ctx: Context) -> None:
        asked: dict[str, Callable[[], Awaitable[object]]] = {
            "sleep": lambda: ctx.sleep("1h"),
            "step": lambda: ctx.step("work", nothing),
            "child": child.call,
            "signal": lambda: ctx.wait_for_signal("go", str, timeout="1h"),
        }
        await asked[kind]()

    async def loop(ctx: Context) -> None:
        while True:
            rounds[0] += 1
            with contextlib.suppress(BaseException):
                if rounds[0] == 1:
                    await ctx.sleep("1d")
                else:
                    await one(ctx)

    @task
    async def stubborn(ctx: Context) -> None:
        await loop(ctx)

    async with play(stubborn, child) as stage:
        run = await stage.start(stubborn)
        with pytest.raises(RunFailedError, match="goes on and on while it was suspended") as caught:
            await run.result()
        assert f"{__file__}:{stubborn.source_location.line}" in str(caught.value)
        assert caught.value.error_type == "SwallowedSuspension"
        assert stage.state(run.id).attempt == 1
    assert MOST_SWALLOWED < rounds[0] <= 2 * MOST_SWALLOWED


async def test_nothing_is_left_behind_by_a_suspended_run() -> None:
    @task
    async def resting(ctx: Context) -> None:
        helpers = [asyncio.create_task(ctx.sleep("1d"), name=f"helper {number}") for number in range(3)]
        await asyncio.gather(*helpers)

    async with play() as stage:
        run = await stage.start(resting)
        await stage.still()
        assert stage.status(run.id) == "waiting"
        left = {other.get_name() for other in asyncio.all_tasks()} - {asyncio.current_task().get_name()}
        assert left == set()
        await run.result()


async def test_a_run_that_was_reopened_goes_on_behind_what_it_has_done() -> None:
    calls: list[str] = []
    fail = [True]

    async def charge() -> str:
        calls.append("charge")
        return "charged"

    async def mail() -> str:
        calls.append("mail")
        if fail:
            raise ValueError("no mail today")
        return "sent"

    @task
    async def order(ctx: Context) -> str:
        return await ctx.step("charge", charge) + " " + await ctx.step("mail", mail)

    async with play() as stage:
        run = await stage.start(order)
        with pytest.raises(RunFailedError, match="no mail today"):
            await run.result()
        assert calls == ["charge", "mail", "mail", "mail"]
        fail.clear()
        await stage.retry(run.id)
        await stage.still()
        assert await run.result() == "charged sent"
    assert calls.count("charge") == 1


async def test_max_duration_ends_a_run_that_sleeps() -> None:
    @task(max_duration="1h")
    async def slow(ctx: Context) -> None:
        await ctx.sleep("2h")

    async with play() as stage:
        run = await stage.start(slow)
        begun = stage.now()
        with pytest.raises(RunFailedError, match="max_duration"):
            await run.result()
        assert (stage.now() - begun).total_seconds() == 3600


async def test_cancelling_reaches_running_and_sleeping_runs_and_their_children() -> None:
    seen: list[str] = []

    begun = asyncio.Event()

    @task
    async def child() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("child")
            raise

    @task
    async def parent(_: Context) -> None:
        await child.call()

    async with play(child) as stage:
        run = await stage.start(parent)
        stopping = asyncio.create_task(stage.outcome(run.id, None))
        await begun.wait()
        await run.cancel("enough")
        outcome = await stopping
        assert (outcome.state, outcome.error) == ("cancelled", "enough")
        await stage.still()
        assert [stage.status(one) for one in stage.runs] == ["cancelled", "cancelled"]
    assert seen == ["child"]


@pytest.mark.parametrize(("never", "attempts"), [((), 3), ((RunFailedError,), 1)])
async def test_a_parent_is_tried_again_for_its_childs_failure_unless_it_says_no(
    never: tuple[type[Exception], ...], attempts: int
) -> None:
    tried: list[str] = []

    @task(retry=Retry(max_attempts=1))
    async def child() -> None:
        tried.append("child")
        raise ValueError("never")

    @task(retry=Retry(max_attempts=3, never_on=never))
    async def parent(ctx: Context) -> None:
        tried.append(f"parent {ctx.attempt}")
        await child.call()

    async with play(parent, child) as stage:
        run = await stage.start(parent)
        with pytest.raises(RunFailedError, match="never"):
            await run.result()
    assert tried.count("child") == 1
    assert tried[-1] == f"parent {attempts}"
