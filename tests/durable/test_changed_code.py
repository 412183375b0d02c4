"""Code that changes under a living run: what is noticed, what is said about it, and what is allowed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tidemill import Context, task
from tidemill.kernel.errors import ConflictError
from tidemill.testing import play

Code = Callable[[Context], Awaitable[Any]]


class Versions:
    """Two versions of a task's code; a run sleeps for an hour between them."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    async def work(self, name: str) -> str:
        self.calls[name] += 1
        return name

    async def play(self, before: Code, after: Code, *, repaired: bool = False) -> Any:
        """Play a run with the first version until it sleeps, and go on with the second."""

        def version(code: Code) -> Any:
            @task(id="changing")
            async def changing(ctx: Context) -> Any:
                return await code(ctx)

            return changing

        first = version(before)
        async with play(first) as stage:
            run = await stage.start(first)
            await stage.still()
            stage.serve(version(after))
            try:
                return await run.result()
            except ConflictError as error:
                assert stage.status(run.id) == "parked"
                if not repaired:
                    return error.sentence
            stage.serve(first)
            await stage.retry(run.id)
            return await run.result()


@pytest.fixture
def versions() -> Versions:
    return Versions()


async def test_the_same_code_goes_on(versions: Versions) -> None:
    async def code(ctx: Context) -> str:
        await ctx.step("fetch", versions.work, "fetch")
        await ctx.sleep("1h")
        return await ctx.step("store", versions.work, "store")

    assert await versions.play(code, code) == "store"
    assert versions.calls == {"fetch": 1, "store": 1}


async def test_a_renamed_step_parks_the_run_and_says_what_is_missed(versions: Versions) -> None:
    async def before(ctx: Context) -> str:
        await ctx.step("fetch", versions.work, "fetch")
        await ctx.sleep("1h")
        return "done"

    async def after(ctx: Context) -> str:
        await ctx.step("download", versions.work, "download")
        await ctx.sleep("1h")
        return "done"

    said = await versions.play(before, after)
    assert "the code doesn't fit what the journal has: it has 'fetch'" in said
    assert "it asks for 'download' instead" in said
    assert versions.calls == {"fetch": 1}, "nothing is guessed"


async def test_a_removed_step_parks_the_run(versions: Versions) -> None:
    async def before(ctx: Context) -> str:
        await ctx.step("fetch", versions.work, "fetch")
        await ctx.sleep("1h")
        return "done"

    async def after(ctx: Context) -> str:
        await ctx.sleep("1h")
        return "done"

    said = await versions.play(before, after)
    assert "'fetch'" in said


async def test_a_step_that_was_removed_at_the_end_parks_the_run(versions: Versions) -> None:
    async def before(ctx: Context) -> str:
        await ctx.step("fetch", versions.work, "fetch")
        await ctx.sleep("1h")
        return "done"

    async def after(_: Context) -> str:
        return "done"

    assert "'fetch'; it has ended without them" in await versions.play(before, after)


async def test_reordered_steps_park_the_run(versions: Versions) -> None:
    async def before(ctx: Context) -> None:
        await ctx.step("fetch", versions.work, "fetch")
        await ctx.step("check", versions.work, "check")
        await ctx.sleep("1h")

    async def after(ctx: Context) -> None:
        await ctx.step("check", versions.work, "check")
        await ctx.step("fetch", versions.work, "fetch")
        await ctx.sleep("1h")

    said = await versions.play(before, after)
    assert "'check' came after 'fetch' when it was written down, and comes after the beginning now" in said
    assert versions.calls == {"fetch": 1, "check": 1}


async def test_a_new_step_before_what_is_done_parks_the_run(versions: Versions) -> None:
    async def before(ctx: Context) -> None:
        await ctx.step("fetch", versions.work, "fetch")
        await ctx.sleep("1h")

    async def after(ctx: Context) -> None:
        await ctx.step("log in", versions.work, "log in")
        await ctx.step("fetch", versions.work, "fetch")
        await ctx.sleep("1h")

    said = await versions.play(before, after)
    assert "it has 'fetch'" in said
    assert "'log in'" in said
    assert versions.calls == {"fetch": 1}


async def test_new_steps_behind_what_is_done_are_no_change(versions: Versions) -> None:
    async def before(ctx: Context) -> str:
        await ctx.step("fetch", versions.work, "fetch")
        await ctx.sleep("1h")
        return "old"

    async def after(ctx: Context) -> str:
        await ctx.step("fetch", versions.work, "fetch")
        await ctx.sleep("1h")
        return await ctx.step("store", versions.work, "new")

    assert await versions.play(before, after) == "new"
    assert versions.calls == {"fetch": 1, "new": 1}


async def test_a_parked_run_goes_on_with_the_old_code(versions: Versions) -> None:
    async def before(ctx: Context) -> str:
        await ctx.step("fetch", versions.work, "fetch")
        await ctx.sleep("1h")
        return await ctx.step("store", versions.work, "store")

    async def after(ctx: Context) -> str:
        return await ctx.step("download", versions.work, "download")

    assert await versions.play(before, after, repaired=True) == "store"
    assert versions.calls == {"fetch": 1, "store": 1}


async def test_a_change_in_one_branch_is_told_though_another_goes_on(versions: Versions) -> None:
    async def before(ctx: Context) -> None:
        async def one() -> None:
            await ctx.step("fetch", versions.work, "fetch")
            await ctx.sleep("1h")

        async def other() -> None:
            await ctx.step("check", versions.work, "check")
            await ctx.sleep("2h")

        await asyncio.gather(one(), other())

    async def after(ctx: Context) -> None:
        async def one() -> None:
            await ctx.step("download", versions.work, "download")
            await ctx.sleep("1h")

        async def other() -> None:
            await ctx.step("check", versions.work, "check")
            await ctx.sleep("2h")

        await asyncio.gather(one(), other())

    said = await versions.play(before, after)
    assert "'one.1/fetch'" in said
    assert "'one.1/download'" in said
    assert versions.calls == {"fetch": 1, "check": 1}


async def test_handlers_that_catch_everything_are_parked_all_the_same(versions: Versions) -> None:
    async def before(ctx: Context) -> None:
        await ctx.step("fetch", versions.work, "fetch")
        await ctx.sleep("1h")

    async def after(ctx: Context) -> str:
        try:
            await ctx.step("download", versions.work, "download")
        except BaseException:  # noqa: BLE001 - what must not be written
            return "swallowed"
        return "done"

    assert "it has 'fetch'" in await versions.play(before, after)


async def test_a_patch_is_taken_by_runs_that_had_not_passed_it(versions: Versions) -> None:
    async def before(ctx: Context) -> str:
        await ctx.step("fetch", versions.work, "fetch")
        await ctx.sleep("1h")
        return await ctx.step("store", versions.work, "old")

    async def after(ctx: Context) -> str:
        await ctx.step("fetch", versions.work, "fetch")
        await ctx.sleep("1h")
        if await ctx.patched("store twice"):
            await ctx.step("store", versions.work, "new")
        return await ctx.step("store again", versions.work, "new")

    assert await versions.play(before, after) == "new"
    assert versions.calls == {"fetch": 1, "new": 2}


async def test_a_patch_is_not_taken_by_runs_that_had_passed_it(versions: Versions) -> None:
    async def before(ctx: Context) -> str:
        await ctx.step("fetch", versions.work, "old")
        await ctx.sleep("1h")
        return await ctx.step("store", versions.work, "store")

    async def after(ctx: Context) -> str:
        if await ctx.patched("download"):
            await ctx.step("download", versions.work, "new")
        else:
            await ctx.step("fetch", versions.work, "old")
        await ctx.sleep("1h")
        return await ctx.step("store", versions.work, "store")

    assert await versions.play(before, after) == "store"
    assert versions.calls == {"old": 1, "store": 1}


async def test_a_patch_comes_out_the_same_ever_after(versions: Versions) -> None:
    seen: list[bool] = []

    async def code(ctx: Context) -> str:
        for _ in range(2):
            seen.append(await ctx.patched("new"))
            await ctx.sleep("1h")
        return "done"

    assert await versions.play(code, code) == "done"
    assert seen == [True, True, True, True, True]
