"""Handlers that are stopped: by their timeout, by a cancellation, by a worker that shuts down."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

from consumers import execution, worker
from tests.consumers.conftest import Mill
from tests.patience import until
from tidemill import Retry, SyncContext, task

pytestmark = pytest.mark.integration
ONCE = Retry(max_attempts=1)
TWICE = Retry(max_attempts=2, min_delay=0.05)


async def test_an_async_handler_past_its_timeout_is_cancelled_and_tried_again(mill: Mill) -> None:
    calls: list[str] = []

    @task(timeout=0.1, retry=TWICE)
    async def slow() -> None:
        calls.append("begun")
        try:
            await asyncio.sleep(30)
        finally:
            calls.append("unwound")

    async with mill.worker(slow):
        view = await mill.ended(await mill.trigger("slow"))
    assert view.status == "timed_out"
    assert view.facts()["error"]["type"] == "TimedOutError"
    assert calls == ["begun", "unwound"] * 2
    assert await mill.count("DEAD") == 1


async def test_a_sync_handler_past_its_timeout_holds_slot_and_ticket_until_it_returns(mill: Mill) -> None:
    release, calls = threading.Event(), []

    @task(timeout=0.1, retry=TWICE, concurrency=1)
    def stuck(name: str) -> None:
        calls.append(name)
        if name == "first":
            release.wait(20)

    async with mill.worker(stuck, lease=1.0):
        first = await mill.trigger("stuck", "first")
        assert (await mill.ended(first)).status == "timed_out"
        second = await mill.trigger("stuck", "second")
        await asyncio.sleep(1.5)  # longer than the lease: it is renewed, though the run has ended
        assert calls == ["first"]
        assert (await mill.consumer("stuck"))["num_ack_pending"] == 1
        release.set()
        assert (await mill.ended(second)).status == "completed"
    assert calls == ["first", "second"]
    await mill.empty("TICKETS")


async def test_a_handler_that_swallows_its_cancellation_is_named(
    mill: Mill, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(execution, "STUBBORN_SECONDS", 0.1)
    release = asyncio.Event()

    @task(timeout=0.1, retry=ONCE)
    async def stubborn() -> str:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return "finished after all"

    async with mill.worker(stubborn):
        run = await mill.trigger("stubborn")
        await until(lambda: "it swallows CancelledError" in caplog.text)
        release.set()
        view = await mill.ended(run)
    assert f"task stubborn, run {run} goes on" in caplog.text
    assert view.status == "timed_out"


async def test_cancelling_a_running_handler_stops_it_at_once(mill: Mill) -> None:
    begun, unwound = asyncio.Event(), asyncio.Event()

    @task
    async def slow() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            unwound.set()

    async with mill.engine(), mill.worker(slow):
        run = await mill.trigger("slow")
        await begun.wait()
        assert await mill.runs.signal(run, "cancel", "no longer needed") == "done"
        view = await mill.ended(run)
        assert unwound.is_set()
        assert (view.status, view.facts()["reason"]) == ("cancelled", "no longer needed")
        assert await mill.runs.signal(run, "cancel") == "gone"
    assert await mill.count("DEAD") == 0
    await mill.empty("TICKETS")


async def test_cancelling_runs_that_do_not_execute_ends_them(mill: Mill) -> None:
    @task(retry=Retry(max_attempts=2, min_delay=60))
    async def failing() -> None:
        raise ConnectionError("away")

    async with mill.engine(), mill.worker(failing):
        retrying = await mill.trigger("failing")
        await mill.when(retrying, lambda view: view.status == "delayed")
        delayed = await mill.trigger("failing", delay=60)
        for run in (retrying, delayed):
            assert await mill.runs.signal(run, "cancel") == "done"
            assert (await mill.runs.get(run)).status == "cancelled"
        assert await mill.runs.signal("run_unknown", "cancel") == "gone"
    async with mill.engine():  # no worker: the run stays queued
        queued = await mill.trigger("failing")
        assert await mill.runs.signal(queued, "cancel") == "done"
    async with mill.worker(failing):
        await mill.empty("TICKETS")
    view = await mill.runs.get(queued)
    assert (view.status, view.state.starts) == ("cancelled", 0)


async def test_a_sync_handler_learns_of_its_cancellation(mill: Mill) -> None:
    @task(retry=TWICE)
    def looks(ctx: SyncContext) -> str:
        while not ctx.cancelled:
            time.sleep(0.01)
        raise InterruptedError("stopped half-way")

    @task
    def finishes(ctx: SyncContext) -> str:
        while not ctx.cancelled:
            time.sleep(0.01)
        return "done nevertheless"

    async with mill.engine(), mill.worker(looks, finishes):
        runs = [await mill.trigger(name) for name in ("looks", "finishes")]
        for run in runs:
            await mill.when(run, lambda view: view.status == "running")
            await mill.runs.signal(run, "cancel", "enough")
        stopped, finished = [await mill.ended(run) for run in runs]
    assert stopped.status == "cancelled"
    assert stopped.facts()["error"]["message"] == "stopped half-way"
    assert (finished.status, finished.result) == ("completed", "done nevertheless")


async def test_a_stopping_worker_finishes_what_it_has_begun(mill: Mill) -> None:
    calls: list[int] = []

    @task
    async def work(number: int) -> None:
        calls.append(number)
        await asyncio.sleep(0.3)

    async with mill.worker(work, slots=3):
        runs = [await mill.trigger("work", number) for number in range(6)]
        await until(lambda: len(calls) == 3)
    views = [await mill.runs.get(run) for run in runs]
    finished = [view for view in views if view.ended]
    assert len(finished) == len(calls) < 6
    async with mill.worker(work):
        for run in runs:
            await mill.ended(run)
    assert sorted(calls) == list(range(6))
    await mill.empty("TICKETS")


async def test_an_interrupted_run_is_given_back_and_completes_elsewhere(mill: Mill) -> None:
    calls: list[int] = []

    @task(retry=ONCE)
    async def work() -> str:
        calls.append(1)
        if len(calls) == 1:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError as error:
                raise OSError("connection lost while unwinding") from error
        return "done"

    async with mill.worker(work, shutdown_timeout=0.1, lease=60.0):
        run = await mill.trigger("work")
        await until(lambda: calls)
    view = await mill.runs.get(run)
    assert (view.status, view.state.claims) == ("running", 0)
    async with mill.worker(work):
        view = await mill.ended(run)  # long before the lease: it was given back
    assert (view.status, view.facts()["errors"]) == ("completed", [])
    assert len(calls) == 2


async def test_sync_handlers_that_wait_for_a_thread_are_given_back_at_once(mill: Mill) -> None:
    release, calls = threading.Event(), []

    @task(retry=ONCE)
    def work(number: int) -> None:
        calls.append(number)
        release.wait(20)

    async with mill.worker(work, threads=1, shutdown_timeout=0.1, lease=60.0) as first:
        runs = [await mill.trigger("work", number) for number in range(2)]
        await until(lambda: calls)
        await until(lambda: len(first._shared.executions) == 2)
        threading.Timer(0.5, release.set).start()
    async with mill.worker(work):
        views = [await mill.ended(run) for run in runs]
    assert {view.status for view in views} == {"completed"}
    assert sorted(calls) == [0, 1]


async def test_handlers_that_can_not_be_stopped_are_left_behind(
    mill: Mill, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "RELEASE_SECONDS", 0.2)
    monkeypatch.setattr(worker, "LAST_SECONDS", 0.2)
    caplog.set_level(logging.ERROR)
    release, hold = asyncio.Event(), threading.Event()

    @task
    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    @task
    def stuck() -> None:
        hold.wait(20)

    async with mill.worker(stubborn, stuck, shutdown_timeout=0.1) as first:
        runs = [await mill.trigger(name) for name in ("stubborn", "stuck")]
        for run in runs:
            await mill.when(run, lambda view: view.status == "running")
        await until(lambda: sum(held.execution.going_on for held in first._shared.executions.values()) == 2)  # type: ignore[union-attr]
    assert first.left_behind == (f"task stubborn, run {runs[0]}",)
    assert "didn't stop: its lease runs out" in caplog.text
    release.set()
    hold.set()
