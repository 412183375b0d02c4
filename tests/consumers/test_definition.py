"""Hooks, dependencies, middleware and limits of tasks, executed by a worker on a real broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest

from tests.consumers.conftest import Mill
from tests.patience import until
from tidemill import (
    CallNext,
    Context,
    Depends,
    Failed,
    Ok,
    Outcome,
    Retry,
    RunInfo,
    Started,
    SyncContext,
    task,
)
from tidemill.kernel.subjects import run_of_event, run_of_hooks

pytestmark = pytest.mark.integration
ONCE = Retry(max_attempts=1)
AT_ONCE = Retry(max_attempts=3, min_delay=0, jitter=False)


class Told:
    """Hooks that write down what they are told."""

    def __init__(self, *tasks: Any) -> None:
        self.said: list[tuple[str, Any]] = []
        for one in tasks:
            one.on_success(self._hook("success"))
            one.on_failure(self._hook("failure"))
            one.on_cancel(self._hook("cancel"))
            one.on_end(self._hook("end"))

    def _hook(self, name: str) -> Any:
        async def hook(outcome: Any, ctx: Context) -> None:
            self.said.append((name, (ctx.run_id, outcome)))

        hook.__name__ = name
        return hook

    def of(self, run: str) -> list[tuple[str, Any]]:
        return [(name, outcome) for name, (told, outcome) in self.said if told == run]

    async def words(self, run: str, count: int = 2) -> list[tuple[str, Any]]:
        await until(lambda: len(self.of(run)) == count)
        return self.of(run)


async def test_hooks_hear_of_every_end_that_a_worker_brings_about(mill: Mill) -> None:
    @task(retry=ONCE)
    async def works(big: int) -> str:
        if big < 0:
            raise ValueError("too small")
        return "x" * big

    @task(max_duration="0.3s")
    async def endless(_: Context) -> None:
        await asyncio.Event().wait()

    told = Told(works, endless)
    async with mill.engine(), mill.worker(works, endless):
        runs = [await mill.trigger("works", big) for big in (3, 500_000, -1)]
        overdue = await mill.trigger("endless")
        assert await told.words(runs[0]) == [("success", Ok("xxx")), ("end", Ok("xxx"))]
        assert (await told.words(runs[1]))[0] == ("success", Ok("x" * 500_000))
        failed = Failed("too small", "ValueError", runs[2])
        assert await told.words(runs[2]) == [("failure", failed), ("end", failed)]
        words = await told.words(overdue)
        assert [name for name, _ in words] == ["failure", "end"]
        assert words[0][1].type == "OverdueError"
        assert "max_duration of 0.3 s" in words[0][1].error


async def test_hooks_hear_of_ends_that_no_worker_executed(mill: Mill) -> None:
    @task
    async def waits(ctx: Context) -> None:
        await ctx.sleep("1h")

    told = Told(waits)
    async with mill.engine():
        async with mill.worker(waits):
            asleep = await mill.trigger("waits")
            await mill.when(asleep, lambda view: view.status == "waiting")
            queued = await mill.trigger("waits", delay=3600)
            gone = await mill.trigger("waits", ttl=0.001, delay=0.001)
            assert await told.words(gone) == [
                ("failure", Failed("it didn't start before its time to live had passed", "Expired", gone)),
                ("end", Failed("it didn't start before its time to live had passed", "Expired", gone)),
            ]
        for run in (asleep, queued):
            await mill.runs.signal(run, "cancel", "no need")
            await mill.ended(run)
        assert told.of(asleep) == []
        async with mill.worker(waits):
            for run in (asleep, queued):
                cancelled = Failed("no need", "cancelled", run)
                assert await told.words(run) == [("cancel", cancelled), ("end", cancelled)]


async def test_runs_of_events_children_and_replays_have_hooks_too(mill: Mill) -> None:
    @task(on="shop.order", where="data > 0")
    async def child(number: int) -> int:
        return number

    @task
    async def parent(ctx: Context) -> list[int]:
        await child.trigger(2)
        return await ctx.gather(child.call(3), child.call(4))

    told = Told(child)
    async with mill.engine(), mill.worker(child, parent):
        run = run_of_event(await mill.post("shop.order", 1), "child")
        assert await told.words(run) == [("success", Ok(1)), ("end", Ok(1))]
        again = (await mill.runs.replay(run)).id
        assert await told.words(again) == [("success", Ok(1)), ("end", Ok(1))]
        assert (await mill.ended(await mill.trigger("parent"))).result == [3, 4]
        await until(lambda: len(told.said) == 10)
    assert sorted(outcome.value for name, (_, outcome) in told.said if name == "end") == [1, 1, 2, 3, 4]


async def test_hooks_that_fail_are_tried_again_without_repeating_their_neighbours(mill: Mill) -> None:
    calls: list[str] = []

    @task
    async def works() -> None:
        return None

    @works.on_success
    async def first(_: Ok[None]) -> None:
        calls.append("first")

    @works.on_success
    async def flaky(_: Ok[None]) -> None:
        calls.append("flaky")
        if calls.count("flaky") == 1:
            raise OSError("busy")

    @works.on_end
    async def last(_: Outcome[None]) -> None:
        calls.append("last")

    async with mill.engine(), mill.worker(works):
        run = await mill.trigger("works")
        view = await mill.ended(run)
        hooks = await mill.ended(run_of_hooks(run, view.state.end_seq))
    assert hooks.status == "completed"
    assert hooks.state.task == "works~hooks"
    assert calls == ["first", "flaky", "last", "flaky"]


async def test_hooks_that_a_newer_version_lost_leave_nothing_standing(mill: Mill) -> None:
    @task(id="works")
    async def with_hooks(ctx: Context) -> None:
        await ctx.sleep("1h")

    @task(id="works")
    async def without(ctx: Context) -> None:
        await ctx.sleep("1h")

    Told(with_hooks)
    async with mill.engine():
        async with mill.worker(with_hooks):
            run = await mill.trigger("works")
            await mill.when(run, lambda view: view.status == "waiting")
        async with mill.worker(without):
            await mill.runs.signal(run, "cancel")
            view = await mill.ended(run)
            hooks = await mill.ended(run_of_hooks(run, view.state.end_seq))
            assert hooks.status == "completed"


async def test_the_start_is_told_once_before_the_first_execution(mill: Mill) -> None:
    calls: list[str] = []

    @task(retry=AT_ONCE)
    async def flaky() -> None:
        calls.append("flaky")
        if len(calls) < 4:
            raise OSError("busy")

    @flaky.on_start
    async def began(started: Started, ctx: Context) -> None:
        assert started.run_id == ctx.run_id
        calls.append("began")

    @task(retry=AT_ONCE)
    async def sleeps(ctx: Context) -> str:
        calls.append(await ctx.step("one", lambda: "one"))
        await ctx.sleep("1.5s")
        return "done"

    sleeps.on_start(began)
    async with mill.engine(), mill.worker(flaky, sleeps, linger=0.01):
        assert (await mill.ended(await mill.trigger("flaky"))).status == "completed"
        assert calls == ["began", "flaky", "flaky", "flaky"]
        calls.clear()
        assert (await mill.ended(await mill.trigger("sleeps"))).status == "completed"
        assert calls == ["began", "one", "one"]


async def test_a_start_hook_that_fails_fails_the_attempt(mill: Mill) -> None:
    calls: list[str] = []

    @task(retry=AT_ONCE)
    def works(_: SyncContext) -> None:
        calls.append("works")

    @works.on_start
    async def began(_: Started) -> None:
        calls.append("began")
        if len(calls) == 1:
            raise OSError("busy")

    async with mill.engine(), mill.worker(works):
        assert (await mill.ended(await mill.trigger("works"))).status == "completed"
    assert calls == ["began", "began", "works"]


class Db:
    """Something that is opened and closed."""

    opened: list[str]

    def __init__(self) -> None:
        self.events: list[str] = []


DB = Db()


async def pool() -> AsyncIterator[Db]:
    DB.events.append("open pool")
    yield DB
    DB.events.append("close pool")


def cursor(db: Annotated[Db, Depends(pool, scope="worker")]) -> Iterator[str]:
    db.events.append("open cursor")
    try:
        yield "cursor"
    finally:
        db.events.append("close cursor")


def settings(ctx: Context) -> str:
    return ctx.run_id


async def timed(run: RunInfo, call_next: CallNext) -> Any:
    DB.events.append(f"begin {run.task_id} {run.payload}")
    try:
        return await call_next()
    finally:
        DB.events.append("over")


async def test_what_a_handler_depends_on_is_opened_and_closed_around_it(mill: Mill) -> None:
    DB.events.clear()

    @task(middleware=[timed], retry=ONCE)
    async def on_loop(
        number: int, found: Annotated[str, Depends(cursor)], run: Annotated[str, Depends(settings)]
    ) -> str:
        if number < 0:
            raise ValueError(number)
        return f"{found} {run}"

    @task(middleware=[timed])
    def in_thread(number: int, found: Annotated[str, Depends(cursor)]) -> str:
        return f"{found} {number}"

    around = ["open cursor", "close cursor", "over"]
    async with mill.engine(), mill.worker(on_loop, in_thread):
        run = await mill.trigger("on_loop", 1)
        view = await mill.ended(run)
        assert view.result == f"cursor {run}"
        assert (await mill.ended(await mill.trigger("on_loop", -1))).status == "failed"
        assert (await mill.ended(await mill.trigger("in_thread", 2))).result == "cursor 2"
        assert DB.events == [
            "begin on_loop 1",
            "open pool",
            *around,
            "begin on_loop -1",
            *around,
            "begin in_thread 2",
            *around,
        ]
    assert DB.events[-1] == "close pool"


async def test_what_lasts_for_an_attempt_is_closed_when_the_run_is_let_go(mill: Mill) -> None:
    DB.events.clear()

    @task
    async def sleeps(ctx: Context, found: Annotated[str, Depends(cursor)]) -> str:
        await ctx.step("one", DB.events.append, "step")
        await ctx.sleep("1.5s")
        return found

    async with mill.engine(), mill.worker(sleeps, linger=0.01):
        run = await mill.trigger("sleeps")
        await mill.when(run, lambda view: view.status == "waiting")
        assert DB.events == ["open pool", "open cursor", "step", "close cursor"]
        assert (await mill.ended(run)).result == "cursor"
    assert DB.events[4:] == ["open cursor", "close cursor", "close pool"]


async def test_a_provider_that_fails_fails_the_attempt(mill: Mill) -> None:
    calls: list[int] = []

    async def fails_first() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("no connection")
        return len(calls)

    @task(retry=AT_ONCE)
    async def works(number: int, found: Annotated[int, Depends(fails_first, scope="worker")]) -> int:
        return found * number

    async with mill.engine(), mill.worker(works):
        assert (await mill.ended(await mill.trigger("works", 1))).result == 2
        assert (await mill.ended(await mill.trigger("works", 1))).result == 2


@pytest.mark.parametrize("how", ["asleep", "retried", "executing", "in a thread"])
async def test_a_run_takes_no_longer_than_its_max_duration(mill: Mill, how: str) -> None:
    over = asyncio.Event()

    @task(max_duration="1s")
    async def asleep(ctx: Context) -> None:
        await ctx.sleep("1h")

    @task(max_duration="1s", retry=Retry(max_attempts=1000, min_delay=0.1, max_delay=3600))
    async def retried() -> None:
        raise OSError("busy")

    @task(max_duration="1s", timeout="1h", retry=AT_ONCE)
    async def executing() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            over.set()

    @task(max_duration="0.5s", retry=AT_ONCE)
    def blocks(_: SyncContext) -> None:
        while not over.is_set():
            time.sleep(0.01)

    chosen: Any = {"asleep": asleep, "retried": retried, "executing": executing, "in a thread": blocks}[how]
    async with mill.engine(), mill.worker(chosen, linger=0.01):
        run = await mill.trigger(chosen.id)
        view = await mill.ended(run)
        over.set()
    assert view.status == "timed_out"
    assert view.state.end is not None
    assert view.state.end.fault is not None
    assert "max_duration" in view.state.end.fault.message


async def test_a_sync_handler_is_stopped_while_what_it_depends_on_is_opened(mill: Mill) -> None:
    begun = asyncio.Event()

    async def never() -> None:
        begun.set()
        await asyncio.Event().wait()

    @task(timeout=0.2, retry=ONCE)
    def hurried(_: int, found: Annotated[None, Depends(never)]) -> None:
        return found

    @task
    def patient(_: int, found: Annotated[None, Depends(never)]) -> None:
        return found

    async with mill.engine(), mill.worker(hurried, patient):
        view = await mill.ended(await mill.trigger("hurried", 1))
        assert view.status == "failed"
        assert "weren't there within its timeout" in view.state.faults[0].message
        begun.clear()
        run = await mill.trigger("patient", 1)
        await begun.wait()
        await mill.runs.signal(run, "cancel")
        assert (await mill.ended(run)).status == "cancelled"


async def test_a_run_whose_start_was_told_goes_on_with_code_that_has_no_such_hook(mill: Mill) -> None:
    told: list[str] = []

    @task(id="works")
    async def before(ctx: Context) -> str:
        await ctx.sleep("2s")
        return "before"

    @before.on_start
    async def began(started: Started) -> None:
        told.append(started.run_id)

    @task(id="works")
    async def after(ctx: Context) -> str:
        await ctx.sleep("2s")
        return "after"

    async with mill.engine():
        async with mill.worker(before, linger=0.01):
            run = await mill.trigger("works")
            await mill.when(run, lambda view: view.status == "waiting")
        async with mill.worker(after, linger=0.01):
            assert (await mill.ended(run)).result == "after"
    assert told == [run]
