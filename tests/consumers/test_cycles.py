"""A run that is over, or asleep, is freed at once: nothing of it waits for the cycle collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.consumers.conftest import Mill
from tests.patience import until
from tidemill import Abort, Context, SyncContext, task

pytestmark = pytest.mark.integration
RUNS = 10
OURS = ("consumers", "tidemill")


@task
async def returns(number: int) -> int:
    return number


@task
async def aborts() -> None:
    raise Abort("no")


@task
def in_a_thread(ctx: SyncContext) -> int:
    return ctx.step("one", int, "1")


@task
async def sleeps(ctx: Context) -> None:
    await ctx.sleep("1h")


@task
async def goes_on(number: int, ctx: Context) -> int:
    first = await ctx.step("first", int, "1")
    await ctx.sleep(0.05)
    return first + await returns.call(number)


@contextmanager
def cycles() -> Iterator[list[object]]:
    """Collect what of ours can be freed by the cycle collector alone."""
    found: list[object] = []
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += [one for one in gc.garbage if type(one).__module__.partition(".")[0] in OURS]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize(
    ("name", "payload", "status"),
    [
        ("returns", 1, "completed"),
        ("aborts", None, "failed"),
        ("in_a_thread", None, "completed"),
        ("sleeps", None, "waiting"),
        ("goes_on", 1, "completed"),
    ],
)
async def test_runs_leave_no_cycles_behind(mill: Mill, name: str, payload: object, status: str) -> None:
    async with (
        mill.engine("mailman"),
        mill.worker(returns, aborts, in_a_thread, sleeps, goes_on, linger=0.02) as worker,
    ):
        for number in range(2):  # the first of a kind may leave what is kept for all
            with cycles() as found:
                runs = [await mill.trigger(name, payload) for _ in range(RUNS)]
                for run in runs:
                    await mill.when(run, lambda view: view.status == status)
                await until(lambda: not worker._shared.tickets)
            assert number == 0 or found == []
