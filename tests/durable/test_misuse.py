"""Bad input: each use of a context that can't work has an error that says what to do instead."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest

from tidemill import Context, RunFailedError, SyncContext, WaitTimeout, task
from tidemill.kernel.errors import ContextError
from tidemill.testing import play

Code = Callable[[Context], Awaitable[Any]]


@task
async def double(number: int) -> int:
    return number * 2


async def played(code: Code) -> Any:
    @task
    async def playing(ctx: Context) -> Any:
        return await code(ctx)

    async with play() as stage:
        return await (await stage.start(playing)).result()


async def nothing() -> None:
    """Stand for work."""


async def wait_in_step(ctx: Context) -> None:
    await ctx.step("outer", ctx.sleep, "1h")


async def nested_step(ctx: Context) -> None:
    async def outer() -> None:
        await ctx.step("inner", nothing)

    await ctx.step("outer", outer)


async def call_in_step(ctx: Context) -> None:
    async def outer() -> None:
        await double.call(1)

    await ctx.step("outer", outer)


async def foreign_thread(ctx: Context) -> None:
    caught: list[BaseException] = []

    def elsewhere() -> None:
        try:
            ctx.step("elsewhere", nothing)
        except ContextError as error:
            caught.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    raise caught[0]


async def thread_with_the_handlers_variables(ctx: Context) -> None:
    async def inside() -> None:
        await ctx.step("elsewhere", nothing)

    await asyncio.to_thread(asyncio.run, inside())


async def child_from_a_thread(ctx: Context) -> None:
    _ = ctx
    await asyncio.to_thread(double.call, 1)


async def trigger_from_a_thread(ctx: Context) -> None:
    _ = ctx
    await asyncio.to_thread(double.trigger_sync, 1)


async def quorum_of_none(ctx: Context) -> None:
    await ctx.wait_for_approval("ship", timeout="1h", quorum=0)


async def quorum_of_too_many(ctx: Context) -> None:
    await ctx.wait_for_approval("ship", timeout="1h", approvers=["ann", "bob", "ann"], quorum=3)


async def negative_sleep(ctx: Context) -> None:
    await ctx.sleep(-1)


async def no_sleep(ctx: Context) -> None:
    await ctx.sleep()


async def naive_sleep(ctx: Context) -> None:
    await ctx.sleep(until=datetime(2030, 1, 1))  # noqa: DTZ001 - that is the point


async def race_of_none(ctx: Context) -> None:
    await ctx.first()


async def too_much_is_needed(ctx: Context) -> None:
    await ctx.settle(double.call(1), need=2)


async def need_of_steps(ctx: Context) -> None:
    await ctx.settle(ctx.sleep(1), need=1)


async def map_of_none_at_a_time(ctx: Context) -> None:
    await ctx.map(double, [1], limit=0)


async def map_of_too_many(ctx: Context) -> None:
    await ctx.map(double, range(10_001))


async def awaitable_result(ctx: Context) -> None:
    def careless() -> Any:
        return [nothing].__class__

    await ctx.step("careless", careless)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (wait_in_step, "sleep inside of step 'outer'"),
        (nested_step, "step 'inner' inside of step 'outer'"),
        (call_in_step, r"double.call\(\) inside of step 'outer'"),
        (foreign_thread, "step 'elsewhere' outside of its run"),
        (thread_with_the_handlers_variables, "step 'elsewhere' outside of its run"),
        (child_from_a_thread, r"double.call\(\) outside of its run"),
        (trigger_from_a_thread, r"double.trigger_sync\(\) outside of its run"),
        (quorum_of_none, "approval 'ship': quorum is 0"),
        (quorum_of_too_many, "approval 'ship': quorum is 3 of 2"),
        (negative_sleep, "-1 is no duration"),
        (no_sleep, "sleep needs a duration or until="),
        (naive_sleep, "has no time zone"),
        (race_of_none, "first: there is nothing to wait for"),
        (too_much_is_needed, "settle: need is 2 of 1"),
        (need_of_steps, "settle: need= and timeout= are for children"),
        (map_of_none_at_a_time, "map: limit is 0"),
        (map_of_too_many, "map: more than 10000 items"),
        (awaitable_result, "the result of step 'careless' can't be serialised"),
    ],
)
async def test_what_cannot_work_is_told(code: Code, sentence: str) -> None:
    with pytest.raises(RunFailedError, match=sentence):
        await played(code)


@pytest.mark.parametrize("kind", ["approval", "token"])
async def test_one_answer_is_given_to_one_question(kind: str) -> None:
    async def ask(ctx: Context) -> object:
        if kind == "approval":
            return (await ctx.wait_for_approval("ship", timeout="1d")).by
        return await ctx.token("ship", str, timeout="1d")

    @task
    async def asking(ctx: Context) -> None:
        with contextlib.suppress(WaitTimeout):
            await ask(ctx)
        await ask(ctx)  # a question that nobody has answered may be asked again
        await ask(ctx)

    async with play() as stage:
        stage.approve("ship", by="ann", after="2d") if kind == "approval" else stage.complete(
            "ship", "ann", after="2d"
        )
        with pytest.raises(RunFailedError, match=f"'{kind}:ship#3' asks again .* '{kind}:ship#2'"):
            await (await stage.start(asking)).result()


async def test_joins_of_nothing_are_empty() -> None:
    async def code(ctx: Context) -> list[Any]:
        return [
            await ctx.gather(),
            await ctx.settle(),
            await ctx.map(double, []),
            [one async for one in ctx.map(double, [])],
        ]

    assert await played(code) == [[], [], [], []]


async def test_a_context_that_outlives_its_run_is_refused() -> None:
    kept: list[Context] = []

    @task
    async def leaking(ctx: Context) -> None:
        kept.append(ctx)

    async with play() as stage:
        await (await stage.start(leaking)).result()
    with pytest.raises(ContextError, match="step 'late' outside of its run"):
        await kept[0].step("late", nothing)


async def test_a_task_that_outlives_its_run_is_told_so() -> None:
    seen: list[str] = []

    @task
    async def leaking(ctx: Context) -> None:
        async def late() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                try:
                    await ctx.step("late", nothing)
                except ContextError as error:
                    seen.append(error.sentence)

        leaking.kept = asyncio.create_task(late())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    async with play() as stage:
        await (await stage.start(leaking)).result()
    assert seen == ["'late.1/late' is asked for after the run's handler has ended"]


async def test_the_context_of_another_run_is_refused() -> None:
    kept: list[Context] = []

    async def code(ctx: Context) -> str:
        if not kept:
            kept.append(ctx)
            return "kept"
        await kept[0].step("other", nothing)
        return "used"

    @task
    async def sharing(ctx: Context) -> str:
        return await code(ctx)

    async with play() as stage:
        assert await (await stage.start(sharing)).result() == "kept"
        with pytest.raises(RunFailedError, match="from another run"):
            await (await stage.start(sharing)).result()


def test_a_context_without_a_run_says_where_to_get_one() -> None:
    from tidemill.run_context import Attempt  # noqa: PLC0415 - the engine's

    with pytest.raises(ContextError, match=r"step 'a' needs a run"):
        Context(Attempt("run_x", "t")).step("a", nothing)


async def test_a_child_of_an_unknown_task_fails_its_parent_with_what_to_do() -> None:
    other = task(id="elsewhere")(double.__wrapped__)  # type: ignore[attr-defined]

    async def code(ctx: Context) -> int:
        _ = ctx
        return await other.call(1)

    @task
    async def calling(ctx: Context) -> int:
        return await code(ctx)

    async with play() as stage:
        with pytest.raises(RunFailedError, match="no task 'elsewhere'"):
            await (await stage.start(calling)).result()


async def test_sync_contexts_refuse_threads_that_are_not_the_handlers() -> None:
    caught: list[str] = []

    @task
    def blocking(ctx: SyncContext) -> None:
        def elsewhere() -> None:
            try:
                ctx.step("elsewhere", lambda: None)
            except ContextError as error:
                caught.append(error.sentence)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    async with play() as stage:
        await (await stage.start(blocking)).result()
    assert caught == ["step 'elsewhere' outside of its run"]
