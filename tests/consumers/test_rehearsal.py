"""New code against the journals of unfinished runs: what fits, what would break, and that nothing happens."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from consumers.loader import AnyTask
from consumers.rehearsal import Finding, rehearse
from tests.consumers.conftest import Mill
from tidemill import Context, Step, SyncContext, task
from tidemill.durable.branch import follow_tasks
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT
from tidemill.kernel.services.run_view import RunView, UnreadableRun

pytestmark = pytest.mark.integration
SOON = 0.05
executed: list[str] = []


def do(name: str) -> str:
    executed.append(name)
    return name


@task
async def child(n: int) -> int:
    return n


@task(id="deploy")
async def old(ctx: Context) -> str:
    await ctx.step("build", do, "build")
    await ctx.step("test", do, "test")
    await ctx.gather(child.call(1), child.call(2))
    await ctx.sleep(0.01)
    return await ctx.wait_for_signal("go", str, timeout=60)


@pytest.fixture
async def waiting(mill: Mill) -> RunView:
    """A run that waits for a signal, behind two steps, two children and a sleep."""
    async with mill.engine(), mill.worker(old, child, linger=SOON):
        run = await mill.trigger("deploy")
        view = await mill.when(
            run, lambda v: v.status == "waiting" and any(w.kind == "signal" for w in v.state.wait.waits)
        )
    executed.clear()
    follow_tasks(asyncio.get_running_loop())
    return view


async def found(mill: Mill, view: RunView, code: AnyTask, seconds: float = 10.0) -> Finding:
    before = await mill.count("JOURNAL")
    with ThreadPoolExecutor(1) as threads:
        finding = await rehearse(code, view, mill.broker.performer, threads, seconds=seconds)
    assert executed == []
    assert await mill.count("JOURNAL") == before
    return finding


async def test_the_same_code_fits(mill: Mill, waiting: RunView) -> None:
    finding = await found(mill, waiting, old)
    assert (finding.verdict, finding.reason) == ("fits", "it waits for 'signal:go'")


async def test_code_that_goes_on_elsewhere_fits_where_all_that_is_recorded_is_asked_for(
    mill: Mill, waiting: RunView
) -> None:
    @task(id="deploy")
    async def more(ctx: Context) -> None:
        await ctx.step("build", do, "build")
        await ctx.step("test", do, "test")
        await ctx.gather(child.call(1), child.call(2))
        await ctx.sleep(0.01)
        await ctx.step("announce", do, "announce")

    finding = await found(mill, waiting, more)
    assert (finding.verdict, finding.reason) == ("fits", "it goes on with 'announce'")


async def test_a_renamed_step_breaks_the_run(mill: Mill, waiting: RunView) -> None:
    @task(id="deploy")
    async def renamed(ctx: Context) -> None:
        await ctx.step("compile", do, "compile")
        await ctx.step("test", do, "test")

    finding = await found(mill, waiting, renamed)
    assert finding.verdict == "breaks"
    assert "'build'" in finding.reason
    assert "'compile'" in finding.reason


async def test_swapped_steps_break_the_run(mill: Mill, waiting: RunView) -> None:
    @task(id="deploy")
    async def swapped(ctx: Context) -> None:
        await ctx.step("test", do, "test")
        await ctx.step("build", do, "build")

    finding = await found(mill, waiting, swapped)
    assert (finding.verdict, "'test' came after 'build'" in finding.reason) == ("breaks", True)


async def test_code_that_ends_early_or_raises_breaks_the_run(mill: Mill, waiting: RunView) -> None:
    @task(id="deploy")
    async def short(ctx: Context) -> None:
        await ctx.step("build", do, "build")

    @task(id="deploy")
    async def wrong(ctx: Context) -> None:
        built = await ctx.step(Step("build", returns=int), do, "build")
        assert built

    @task(id="deploy")
    async def picky(payload: int, ctx: Context) -> None: ...

    assert "it has ended without them" in (await found(mill, waiting, short)).reason
    finding = await found(mill, waiting, wrong)
    assert (finding.verdict, "PayloadError" in finding.reason) == ("breaks", True)
    finding = await found(mill, waiting, picky)
    assert (finding.verdict, "its input can't be read" in finding.reason) == ("breaks", True)


async def test_code_that_hangs_is_undecided(mill: Mill, waiting: RunView) -> None:
    @task(id="deploy")
    async def hangs(ctx: Context) -> None:
        ctx.log.info("hanging")
        await asyncio.Event().wait()

    assert (await found(mill, waiting, hangs, 0.1)).verdict == "undecided"


async def test_what_has_begun_in_parallel_is_compared_branch_by_branch(mill: Mill) -> None:
    @task(id="both")
    async def both(ctx: Context) -> list[Any]:
        async def branch(n: int) -> str:
            await ctx.step("first", do, f"first {n}")
            return await ctx.wait_for_signal(f"go{n}", str, timeout=60)

        return list(await asyncio.gather(branch(1), branch(2)))

    @task(id="both")
    async def other(ctx: Context) -> None:
        async def branch(n: int) -> None:
            await ctx.step("first", do, f"first {n}")
            await ctx.step("second", do, f"second {n}")

        async with asyncio.TaskGroup() as group:
            for n in (1, 2):
                group.create_task(branch(n))

    async with mill.engine(), mill.worker(both, linger=SOON):
        run = await mill.trigger("both")
        view = await mill.when(run, lambda v: v.status == "waiting")
    executed.clear()
    follow_tasks(asyncio.get_running_loop())
    assert (await found(mill, view, both)).verdict == "fits"
    assert "second" in (await found(mill, view, other)).reason


async def test_large_values_are_read_and_sync_handlers_are_stopped_too(mill: Mill) -> None:
    @task(id="sync")
    def first(ctx: SyncContext) -> str:
        text = ctx.step("large", lambda: "x" * (INLINE_LIMIT + 1))
        return ctx.wait_for_signal("go", str, timeout=60) + text

    @task(id="sync")
    def then(ctx: SyncContext) -> None:
        if len(ctx.step("large", lambda: do("large"))) > INLINE_LIMIT:
            ctx.step("next", do, "next")

    async with mill.engine(), mill.worker(first, linger=SOON):
        run = await mill.trigger("sync")
        view = await mill.when(run, lambda v: v.status == "waiting")
    executed.clear()
    follow_tasks(asyncio.get_running_loop())
    assert (await found(mill, view, first)).reason == "it waits for 'signal:go'"
    assert (await found(mill, view, then)).reason == "it goes on with 'next'"


async def test_a_run_that_has_done_nothing_isnt_executed(mill: Mill) -> None:
    async with mill.worker(old, child):
        pass
    run = await mill.trigger("deploy")
    views = [view async for view in mill.runs.unfinished() if isinstance(view, RunView)]
    assert [view.id for view in views] == [run]

    @task(id="deploy")
    async def loud(ctx: Context) -> None:
        do(ctx.run_id)

    assert (await found(mill, views[0], loud)).verdict == "fits"


async def test_journals_that_cannot_be_read_are_named(mill: Mill) -> None:
    await mill.broker.journal.append("run_alien", b'{"kind":"hologram","rid":"x"}\n', expect=0)
    (view,) = [view async for view in mill.runs.unfinished()]
    assert isinstance(view, UnreadableRun)
    assert (view.id, "hologram" in view.reason) == ("run_alien", True)
