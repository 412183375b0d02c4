"""Children: started once, joined in every way, cancelled with whoever waits for them."""

from __future__ import annotations

from typing import Any

import pytest

from tidemill import Context, Failed, Ok, Retry, RunFailedError, task
from tidemill.durable import children
from tidemill.kernel.protocol import records
from tidemill.testing import play


@task
async def square(number: int, ctx: Context) -> int:
    await ctx.sleep(60 * number)
    if number == 13:
        raise ValueError("thirteen")
    return number * number


async def test_a_join_wakes_its_parent_once() -> None:
    @task
    async def parent(ctx: Context) -> list[int]:
        return await ctx.gather(*[square.call(number) for number in range(20) if number != 13])

    async with play() as stage:
        run = await stage.start(parent)
        assert await run.result() == [number * number for number in range(20) if number != 13]
        claims = [one for one in stage.journal(run.id) if isinstance(one, records.Claim)]
        assert len(claims) == 2


async def test_calls_are_awaited_alone_and_mixed_with_other_parts() -> None:
    @task
    async def parent(ctx: Context) -> list[Any]:
        alone = await square.call(2, name="two")
        mixed = await ctx.gather(square.call(3), ctx.step("four", lambda: 4))
        return [alone, *mixed]

    async with play() as stage:
        run = await stage.start(parent)
        assert await run.result() == [4, 9, 4]


async def test_a_failure_names_the_child_s_own_task() -> None:
    @task
    async def other() -> None: ...

    @task(retry=Retry(1))
    async def parent(ctx: Context) -> None:
        await ctx.gather(other.call(), square.call(13))

    async with play() as stage:
        with pytest.raises(RunFailedError, match="of task square hasn't completed"):
            await (await stage.start(parent)).result()


async def test_the_first_failure_ends_the_others() -> None:
    @task
    async def parent(ctx: Context) -> list[int]:
        return await ctx.gather(*[square.call(number) for number in (1, 13, 100)])

    async with play() as stage:
        run = await stage.start(parent)
        with pytest.raises(RunFailedError, match="thirteen"):
            await run.result()
        await stage.still()
        assert [stage.status(one) for one in stage.runs[1:4]] == ["completed", "failed", "cancelled"]


async def test_settle_collects_what_became_of_each() -> None:
    @task
    async def parent(ctx: Context) -> list[Any]:
        found = await ctx.settle(square.call(2), square.call(13))
        return [one.value if isinstance(one, Ok) else [one.type, one.error] for one in found]

    async with play() as stage:
        assert await (await stage.start(parent)).result() == [4, ["ValueError", "thirteen"]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"need": 1}, [1, "Unfinished", "Unfinished"]),
        ({"need": 2}, [1, 4, "Unfinished"]),
        ({"timeout": "90s"}, [1, "Unfinished", "Unfinished"]),
        ({"need": 3, "timeout": "150s"}, [1, 4, "Unfinished"]),
    ],
)
async def test_settle_goes_on_with_enough_or_in_time_and_ends_the_rest(
    options: dict[str, Any], expected: list[Any]
) -> None:
    @task
    async def parent(ctx: Context) -> list[Any]:
        found = await ctx.settle(*[square.call(number) for number in (1, 2, 3)], **options)
        await ctx.sleep("1d")
        return [one.value if isinstance(one, Ok) else one.type for one in found]

    async with play() as stage:
        run = await stage.start(parent)
        assert await run.result() == expected
        ended = [stage.status(one) for one in stage.runs[1:4]]
        assert ended == ["cancelled" if one == "Unfinished" else "completed" for one in expected]


async def test_map_runs_so_many_at_a_time_and_gives_outcomes_one_by_one() -> None:
    running = most = 0

    @task
    async def work(number: int, ctx: Context) -> int:
        nonlocal running, most
        if ctx.now().timestamp() and number == 7:
            raise ValueError("seven")
        running += 1
        most = max(most, running)
        await ctx.step("work", lambda: None)
        running -= 1
        return number

    @task
    async def parent(ctx: Context) -> list[Any]:
        found = [one async for one in ctx.map(work, range(10), limit=3)]
        return [one.value if isinstance(one, Ok) else one.error for one in found]

    async with play() as stage:
        assert await (await stage.start(parent)).result() == [0, 1, 2, 3, 4, 5, 6, "seven", 8, 9]
    assert most <= 3


async def test_map_awaited_raises_the_first_failure() -> None:
    @task
    async def parent(ctx: Context) -> list[int]:
        return await ctx.map(square, [1, 13, 2])

    async with play() as stage:
        with pytest.raises(RunFailedError, match="thirteen"):
            await (await stage.start(parent)).result()


async def test_what_is_triggered_is_started_once_and_ends_with_its_parent_unless_detached() -> None:
    @task
    async def parent(ctx: Context) -> list[str]:
        tied = await square.trigger(1000)
        free = await square.trigger(2000, detached=True)
        keyed = [await square.trigger(1, idempotency_key="one") for _ in range(2)]
        await ctx.sleep("1h")
        await ctx.wait_for_signal("never", int, timeout="1d")
        return [tied.id, free.id, *(run.id for run in keyed)]

    async with play() as stage:
        run = await stage.start(parent)
        await stage.advance("2h")
        assert len(stage.runs) == 4
        await run.cancel("enough")
        await stage.still()
        assert [stage.status(one) for one in stage.runs] == ["cancelled", "cancelled", "waiting", "completed"]


async def test_large_results_of_children_are_read_by_their_parent() -> None:
    @task
    async def writing() -> str:
        return "x" * 20_000

    @task
    async def parent(_: Context) -> int:
        return len(await writing.call())

    async with play() as stage:
        assert await (await stage.start(parent)).result() == 20_000


async def test_prepared_answers_stand_for_children() -> None:
    @task
    async def parent(ctx: Context) -> list[Any]:
        found = await ctx.settle(square.call(5), square.call(6))
        return [one.value if isinstance(one, Ok) else one.error for one in found]

    async with play() as stage:
        stage.answer_with(square, lambda number: number + 1)
        assert await (await stage.start(parent)).result() == [6, 7]
        assert [(one.task_id, one.payload) for one in stage.asked] == [("square", b"5"), ("square", b"6")]
        stage.fail(square, "no")
        assert await (await stage.start(parent)).result() == ["no", "no"]
        assert len(stage.runs) == 2


async def test_a_failed_outcome_names_the_run() -> None:
    @task
    async def parent(ctx: Context) -> str:
        (found,) = await ctx.settle(square.call(13))
        assert isinstance(found, Failed)
        return found.run_id or ""

    async with play() as stage:
        run = await stage.start(parent)
        assert await run.result() == stage.runs[1]


async def test_tasks_that_call_each_other_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "DEEPEST", 3)
    begun: list[int] = []

    @task(retry=Retry(1))
    async def deeper(depth: int, ctx: Context) -> int:
        begun.append(ctx.attempt + depth - 1)
        result: int = await deeper.call(depth + 1)
        return result

    async with play(deeper) as stage:
        run = await stage.start(deeper, 0)
        with pytest.raises(RunFailedError, match="generation 5"):
            await run.result()
    assert sorted(set(begun)) == [0, 1, 2, 3]
