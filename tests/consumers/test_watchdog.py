"""The watchdog: a blocked loop is named, and what it reads afterwards is known to be old."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from consumers import watchdog
from consumers.watchdog import Watchdog


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "_INTERVAL", 0.05)
    monkeypatch.setattr(watchdog, "_BACKLOG_SECONDS", 0.2)


@pytest.fixture
async def dog() -> AsyncIterator[Watchdog]:
    watching = Watchdog(asyncio.get_running_loop(), patience=0.2)
    watching.start()
    yield watching
    watching.stop()


async def test_who_blocks_the_loop_is_named(dog: Watchdog, caplog: pytest.LogCaptureFixture) -> None:
    assert dog.arrival()

    async def greedy() -> None:
        time.sleep(0.6)  # noqa: ASYNC251 - what it is about

    await asyncio.create_task(greedy(), name="task deploy, run run_x")
    await asyncio.sleep(0.3)
    assert "task deploy, run run_x has blocked the event loop" in caplog.text
    assert "time.sleep(0.6)" in caplog.text
    assert "runs again after 0." in caplog.text
    assert caplog.text.count("has blocked") == 1


async def test_a_loop_that_runs_is_left_alone(dog: Watchdog, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        await asyncio.sleep(0.02)
        assert time.monotonic() - dog.arrival() < 0.01
    assert not caplog.text


async def test_what_is_read_after_a_block_may_have_come_in_at_its_beginning(dog: Watchdog) -> None:
    await asyncio.sleep(0.1)
    begun = time.monotonic()
    time.sleep(0.5)  # noqa: ASYNC251 - what it is about
    assert dog.arrival() <= begun  # before the first beat
    await asyncio.sleep(0.1)
    assert dog.arrival() <= begun  # in the backlog
    await asyncio.sleep(0.3)
    assert time.monotonic() - dog.arrival() < 0.01


def test_a_closed_loop_ends_it() -> None:
    loop = asyncio.new_event_loop()
    dog = Watchdog(loop, patience=0.2)
    dog.start()
    loop.close()
    dog._thread.join(timeout=5)
    assert not dog._thread.is_alive()
