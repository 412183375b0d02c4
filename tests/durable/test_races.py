"""Races: the same one wins ever after, and what the others have begun is ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tidemill import Context, Failed, Ok, RunFailedError, WaitTimeout, task
from tidemill.testing import play


@task
async def slow(name: str, ctx: Context) -> str:
    await ctx.sleep("1d")
    return name


async def fails() -> None:
    raise OSError("lost")


async def test_the_winner_stays_and_its_rivals_children_are_cancelled() -> None:
    seen: list[Any] = []

    @task
    async def racing(ctx: Context) -> str:
        async def both() -> list[str]:
            return await ctx.gather(slow.call("a"), slow.call("b"))

        found = await ctx.first(slow.call("c"), both(), ctx.wait_for_signal("go", str, timeout="1d"))
        seen.append(found)
        await ctx.sleep("1h")
        return str(found[1])

    async with play() as stage:
        run = await stage.start(racing)
        stage.signal("go", "now", after="1h")
        assert await run.result() == "now"
        await stage.still()
        assert [stage.status(one) for one in stage.runs[1:]] == ["cancelled"] * 3
    assert seen == [(2, "now")] * 2


async def test_a_winner_that_fails_raises_and_stays_the_winner() -> None:
    seen: list[str] = []

    @task
    async def racing(ctx: Context) -> None:
        try:
            await ctx.first(ctx.step("fails", fails), ctx.sleep("1h"))
        except OSError as error:
            seen.append(str(error))
        await ctx.sleep("2h")

    async with play() as stage:
        run = await stage.start(racing)
        await run.result()
        assert stage.executed(run.id) == {"fails": 1}
    assert seen == ["lost"] * 2


async def test_what_a_loser_has_done_is_no_changed_code() -> None:
    done: list[str] = []

    @task
    async def racing(ctx: Context) -> int:
        async def loser() -> None:
            await ctx.step("first", done.append, "first")
            await ctx.sleep("1h")
            await ctx.step("second", done.append, "second")
            await ctx.sleep("10d")

        winner, _ = await ctx.first(loser(), ctx.wait_for_signal("go", int, timeout="9d"))
        await ctx.sleep("1h")
        return winner

    async with play() as stage:
        run = await stage.start(racing)
        stage.signal("go", 1, after="2h")
        assert await run.result() == 1
    assert done == ["first", "second"]


async def test_tasks_that_the_handler_has_started_may_race() -> None:
    @task
    async def racing(ctx: Context) -> list[Any]:
        async def work() -> str:
            await ctx.step("one", lambda: 1)
            await ctx.sleep("3h")
            return "worked"

        working = asyncio.create_task(work())
        winner, value = await ctx.first(working, ctx.sleep("1h"))
        await ctx.sleep("1h")
        return [winner, value, working.cancelled()]

    async with play() as stage:
        assert await (await stage.start(racing)).result() == [1, None, True]


async def test_races_may_be_nested_and_a_lost_one_ends_its_own() -> None:
    @task
    async def racing(ctx: Context) -> list[Any]:
        inner = ctx.first(ctx.sleep("5h"), ctx.wait_for_signal("a", int, timeout="9h"))
        found = await ctx.first(inner, ctx.sleep("1h"))
        await ctx.sleep("1m")
        return list(found)

    async with play() as stage:
        run = await stage.start(racing)
        assert await run.result() == [1, None]
        assert stage.state(run.id).end is not None


async def test_settle_takes_parts_of_every_kind() -> None:
    @task
    async def collecting(ctx: Context) -> list[str]:
        found = await ctx.settle(
            ctx.step("fails", fails),
            ctx.wait_for_signal("go", int, timeout="1h"),
            slow.call("child"),
            ctx.sleep("1m"),
        )
        return [type(one).__name__ if isinstance(one, Ok) else one.type for one in found]

    async with play() as stage:
        assert await (await stage.start(collecting)).result() == ["OSError", "WaitTimeout", "Ok", "Ok"]


async def test_a_part_that_fails_ends_those_beside_it() -> None:
    @task
    async def parent(ctx: Context) -> None:
        await ctx.gather(slow.call("a"), ctx.wait_for_signal("go", int, timeout="1h"))

    async with play() as stage:
        run = await stage.start(parent)
        with pytest.raises(RunFailedError, match="no signal 'go'"):
            await run.result()
        await stage.still()
        assert stage.status(stage.runs[1]) == "cancelled"


async def test_time_and_ids_are_the_same_in_every_execution() -> None:
    seen: list[Any] = []

    @task
    async def drawing(ctx: Context) -> None:
        async def line(name: str, hours: int) -> list[Any]:
            await ctx.sleep(hours * 3600)
            return [name, ctx.now(), ctx.uuid(), ctx.random().random()]

        found = await ctx.gather(line("a", 2), line("b", 1))
        seen.append([found, ctx.now(), ctx.uuid(), ctx.random().random(), ctx.idempotency_key("x")])
        await ctx.sleep("1h")

    async with play() as stage:
        run = await stage.start(drawing)
        begun = stage.now()
        await run.result()
    assert seen[0] == seen[1]
    (lines, now, *_) = seen[0]
    assert [(when - begun).total_seconds() for _, when, _, _ in lines] == [7200, 3600]
    assert (now - begun).total_seconds() == 7200, "what was waited for through the context counts"
    assert len({lines[0][2], lines[1][2], seen[0][2]}) == 3


def test_outcomes_are_told_apart_by_their_type() -> None:
    outcomes = [Ok(1), Failed("no", "ValueError", None)]
    match outcomes:
        case [Ok(value), Failed(error=error)]:
            assert (value, error) == (1, "no")
        case _:
            raise AssertionError(outcomes)
    assert issubclass(WaitTimeout, TimeoutError)
