"""What counts as moving: a run is only let go when nothing in it can go on by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tidemill import Context, task
from tidemill.kernel.protocol import records
from tidemill.testing import play

Code = Callable[[Context], Awaitable[Any]]


async def suspensions(code: Code) -> int:
    """Play a task and return how often it was let go."""

    @task
    async def playing(ctx: Context) -> None:
        await code(ctx)

    async with play() as stage:
        run = await stage.start(playing)
        await run.result()
        return sum(isinstance(one, records.Suspend) for one in stage.journal(run.id))


async def by_gather(ctx: Context) -> None:
    await asyncio.gather(ctx.sleep("1h"), ctx.sleep("1h"))


async def by_nested_gather(ctx: Context) -> None:
    await asyncio.gather(asyncio.gather(ctx.sleep("1h"), ctx.sleep("1h")), ctx.sleep("1h"))


async def by_group(ctx: Context) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(ctx.sleep("1h"))
        group.create_task(ctx.sleep("1h"))


async def by_wait(ctx: Context) -> None:
    tasks = [asyncio.create_task(ctx.sleep("1h"), name=str(number)) for number in range(2)]
    await asyncio.wait(tasks)


async def by_collecting_gather(ctx: Context) -> None:
    found = await asyncio.gather(ctx.sleep("1h"), ctx.sleep("1h"), return_exceptions=True)
    assert found == [None, None]


async def by_task(ctx: Context) -> None:
    sleeping = asyncio.create_task(ctx.sleep("1h"), name="sleeping")
    await sleeping


async def by_context(ctx: Context) -> None:
    await ctx.gather(ctx.sleep("1h"), ctx.sleep("1h"))


async def by_both(ctx: Context) -> None:
    async def inner() -> None:
        await by_group(ctx)

    await asyncio.gather(inner(), ctx.sleep("1h"))


async def by_timeout(ctx: Context) -> None:
    async with asyncio.timeout(100):
        await ctx.sleep("1h")


@pytest.mark.parametrize(
    "code",
    [
        by_gather,
        by_nested_gather,
        by_collecting_gather,
        by_group,
        by_wait,
        by_task,
        by_context,
        by_both,
        by_timeout,
    ],
)
async def test_asyncios_ways_to_wait_are_known(code: Code) -> None:
    assert await suspensions(code) == 1


async def test_what_waits_for_something_unknown_keeps_the_run_in_memory() -> None:
    finished: list[str] = []

    @task
    async def reading(ctx: Context) -> None:
        async def download() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            finished.append((await reader.read()).decode())
            writer.close()
            await writer.wait_closed()

        async def compute() -> None:
            await asyncio.to_thread(release.wait, 5)
            finished.append("computed")

        await asyncio.gather(download(), compute(), ctx.sleep("1h"))

    answered = asyncio.Event()
    release = threading.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        writer.write(b"downloaded")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with play() as stage:
        run = await stage.start(reading)
        playing = asyncio.create_task(run.result(), name="playing")
        for _ in range(50):
            await asyncio.sleep(0)
        assert not any(isinstance(one, records.Suspend) for one in stage.journal(run.id))
        answered.set()
        release.set()
        await playing
    server.close()
    await server.wait_closed()
    assert sorted(set(finished)) == ["computed", "downloaded"]


async def test_a_thread_behind_asyncios_wait_keeps_the_run_in_memory() -> None:
    begun: list[str] = []
    release = threading.Event()

    @task
    async def computing(ctx: Context) -> None:
        begun.append("computing")
        work = asyncio.get_running_loop().run_in_executor(None, release.wait, 5)
        sleeping = asyncio.create_task(ctx.sleep("1h"), name="sleeping")
        await asyncio.wait([work])
        await ctx.step("compute", begun.append, "computed")
        await sleeping

    async with play() as stage:
        run = await stage.start(computing)
        playing = asyncio.create_task(run.result(), name="playing")
        for _ in range(50):
            await asyncio.sleep(0)
        assert not any(isinstance(one, records.Suspend) for one in stage.journal(run.id))
        release.set()
        await playing
        kinds = [type(one) for one in stage.journal(run.id)]
    assert kinds.index(records.Step) < kinds.index(records.Suspend)
    assert begun.count("computed") == 1


async def test_a_lock_between_branches_is_no_standstill() -> None:
    order: list[str] = []

    async def code(ctx: Context) -> None:
        lock = asyncio.Lock()

        async def one(name: str) -> None:
            async with lock:
                await ctx.step(name, order.append, name)

        await asyncio.gather(one("a"), one("b"), ctx.sleep("1h"))

    assert await suspensions(code) == 1
    assert order == ["a", "b"]


async def test_a_handler_that_returns_leaves_its_branches_behind() -> None:
    async def code(ctx: Context) -> str:
        code.left = asyncio.create_task(ctx.sleep("1h"), name="left")  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        return "done"

    assert await suspensions(code) == 0
