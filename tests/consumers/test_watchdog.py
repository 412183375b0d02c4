"""The watchdog: a blocked loop is named, and what it reads afterwards is known to be old."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from consumers import watchdog
from consumers.watchdog import Watchdog
from tests.clock import Clock
from tests.patience import PATIENCE, until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "_INTERVAL", 0.05)
    monkeypatch.setattr(watchdog, "_BACKLOG_SECONDS", 0.2)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What the watchdog takes for the time."""
    clock = Clock()
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
async def dog() -> AsyncIterator[Watchdog]:
    watching = Watchdog(asyncio.get_running_loop(), patience=0.2)
    watching.start()
    yield watching
    watching.stop()


async def test_who_blocks_the_loop_is_named(dog: Watchdog, caplog: pytest.LogCaptureFixture) -> None:
    assert dog.arrival()

    async def greedy() -> None:
        given_up = time.monotonic() + PATIENCE
        while "has blocked" not in caplog.text and time.monotonic() < given_up:
            time.sleep(0.1)  # noqa: ASYNC251 - what it is about

    await asyncio.create_task(greedy(), name="task deploy, run run_x")
    await until(lambda: "runs again after " in caplog.text)
    assert "task deploy, run run_x has blocked the event loop" in caplog.text
    assert "time.sleep(0.1)" in caplog.text
    assert caplog.text.count("has blocked") == 1


async def test_a_loop_that_runs_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """However long this machine lets it wait: the watchdog looks a few times, with patience."""
    dog = Watchdog(asyncio.get_running_loop(), patience=PATIENCE)
    dog.start()
    for _ in range(5):
        before, beat = time.monotonic(), dog._beat
        assert before <= dog.arrival() <= time.monotonic()
        await until(lambda beat=beat: dog._beat > beat)
    dog.stop()
    assert not caplog.text


async def test_what_is_read_after_a_block_may_have_come_in_at_its_beginning(clock: Clock) -> None:
    dog = Watchdog(asyncio.get_running_loop(), patience=0.2)  # its thread isn't started: the test marks
    dog._mark()
    begun = clock.now
    clock.now += 0.5
    assert dog.arrival() == begun  # before the first beat
    dog._mark()
    assert dog.arrival() == begun
    clock.now += 0.1
    dog._mark()
    assert dog.arrival() == begun  # in the backlog
    clock.now += 0.15
    dog._mark()
    assert dog.arrival() == clock.now


def test_a_closed_loop_ends_it() -> None:
    loop = asyncio.new_event_loop()
    dog = Watchdog(loop, patience=0.2)
    dog.start()
    loop.close()
    dog._thread.join(timeout=5)
    assert not dog._thread.is_alive()
