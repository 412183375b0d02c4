# ruff: noqa: T201 - what handlers print is what this is about
"""What handlers log and print stands beside their runs: from a worker to whoever reads it."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from consumers.capture import RunLogHandler, overhearing
from consumers.run_logs import RunLogs
from tidemill import Context, SyncContext, task
from tidemill.durable.scribe import attend, dismiss
from tidemill.kernel.errors import BrokerUnavailableError
from tidemill.kernel.services.run_logs import Batch, RunLogReader
from tidemill.kernel.settings.run_logs import RunLogsSettings

if TYPE_CHECKING:
    from conftest import Mill

    from tidemill.durable.scribe import Scribe

pytestmark = pytest.mark.integration
log = logging.getLogger("shop.orders")


@task
async def talk(payload: dict[str, Any], ctx: Context) -> None:
    ctx.log.info("hello %s", payload["name"])
    log.warning("careful: password=%s", "hunter2")
    print("printed")
    await ctx.step("fetch", fetch, 7)
    print("an error", file=sys.stderr)


async def fetch(number: int) -> int:
    log.info("fetching %d", number)
    await asyncio.to_thread(print, "from a thread")
    return number


@task
def talk_in_thread(payload: dict[str, Any], ctx: SyncContext) -> None:
    ctx.log.info("sync %s", payload["name"])
    print("unfinished", end="")


@task
async def silent() -> None:
    pass


@task
async def fail() -> None:
    try:
        int("the cause")
    except ValueError:
        log.exception("it failed")
    print("\ud800")


@task
async def two_halves(ctx: Context) -> None:
    ctx.log.info("before")
    await ctx.step("one", fetch, 1)
    await ctx.sleep(0.3)
    ctx.log.info("after")


async def lines_of(mill: Mill, run: str) -> list[dict[str, Any]]:
    await asyncio.sleep(0.5)
    return (await RunLogReader(mill.broker.bus).page(run)).lines


async def test_what_a_handler_says_stands_beside_its_run(mill: Mill, capsys: Any) -> None:
    async with mill.worker(talk):
        run = await mill.trigger("talk", {"name": "Ada"})
        await mill.ended(run)
    lines = await lines_of(mill, run)
    assert [(line["level"], line["logger"], line["step"], line["text"]) for line in lines] == [
        ("info", "tidemill.task.talk", None, "hello Ada"),
        ("warning", "shop.orders", None, "careful: password=***"),
        ("info", "stdout", None, "printed"),
        ("info", "shop.orders", "fetch", "fetching 7"),
        ("info", "stdout", "fetch", "from a thread"),
        ("info", "stderr", None, "an error"),
    ]
    assert {line["attempt"] for line in lines} == {1}
    assert "printed" in capsys.readouterr().out


async def test_sync_handlers_are_heard_in_their_threads(mill: Mill) -> None:
    async with mill.worker(talk_in_thread):
        runs = [await mill.trigger("talk_in_thread", {"name": str(number)}) for number in range(5)]
        for run in runs:
            await mill.ended(run)
    for number, run in enumerate(runs):
        assert [line["text"] for line in await lines_of(mill, run)] == [f"sync {number}", "unfinished"]


async def test_an_exception_is_kept_with_its_traceback(mill: Mill) -> None:
    async with mill.worker(fail):
        run = await mill.trigger("fail")
        await mill.ended(run)
    [line, printed] = await lines_of(mill, run)
    assert line["text"].startswith("it failed\nTraceback")
    assert line["text"].endswith("'the cause'")
    assert printed["text"] == "?"


async def test_a_silent_handler_leaves_nothing(mill: Mill) -> None:
    async with mill.worker(silent) as worker:
        run = await mill.trigger("silent")
        await mill.ended(run)
        assert not worker._logs._woken
    assert await lines_of(mill, run) == []


async def test_a_run_that_comes_back_does_not_say_again_what_it_has_said(mill: Mill) -> None:
    async with mill.engine(), mill.worker(two_halves, linger=0):
        run = await mill.trigger("two_halves")
        await mill.ended(run)
    assert [line["text"] for line in await lines_of(mill, run)] == [
        "before",
        "fetching 1",
        "from a thread",
        "after",
    ]


async def test_lines_can_be_followed(mill: Mill) -> None:
    reader, found = RunLogReader(mill.broker.bus), []
    async with mill.worker(talk):
        run = await mill.trigger("talk", {"name": "Ada"})
        async with asyncio.timeout(10):
            async for page in reader.follow(run):
                found += page.lines
                if len(found) == 6:
                    break
    assert found[0]["text"] == "hello Ada"


class Bus:
    """A broker that is away for a while."""

    def __init__(self, bus: Any) -> None:
        self._bus = bus
        self.names = bus.names
        self.away = True

    async def publish(self, *args: Any, **kwargs: Any) -> Any:
        if self.away:
            raise BrokerUnavailableError("away")
        return await self._bus.publish(*args, **kwargs)


@contextmanager
def attended(scribe: Scribe | None) -> Iterator[None]:
    token = attend(scribe)
    try:
        yield
    finally:
        dismiss(token)


async def test_lines_wait_for_a_broker_that_is_away(mill: Mill) -> None:
    bus = Bus(mill.broker.bus)
    logs = RunLogs(bus, RunLogsSettings())  # type: ignore[arg-type] # a fake
    scribe = logs.scribe("run_00000000000000000000000000", 1)
    assert scribe
    scribe.log("info", "shop", "one")
    assert not await logs.flush()
    scribe.log("info", "shop", "two")
    bus.away = False
    assert await logs.flush()
    found = await RunLogReader(mill.broker.bus).page(scribe.run)
    assert [line["text"] for line in found.lines] == ["one", "two"]


async def test_what_waits_is_bounded(mill: Mill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumers.run_logs._MOST_BYTES", 10_000)
    logs = RunLogs(Bus(mill.broker.bus), RunLogsSettings())  # type: ignore[arg-type] # a fake
    for number in range(100):
        scribe = logs.scribe(f"run_{number}", 1)
        assert scribe
        scribe.log("info", "shop", "x" * 1000)
        assert not await logs.flush()
    assert logs._bytes <= 10_000
    assert len(logs._waiting) < 10


def test_large_batches_are_split() -> None:
    lines = [(0.0, "info", "", "shop", "é" * 4000)] * 50
    batches = list(Batch.split("run_1", 1, lines, 3))
    assert sum(len(batch.lines) for batch in batches) == 50
    assert [batch.missed for batch in batches][-1] == 3
    assert all(len(batch.document()) < 128 * 1024 for batch in batches)


def test_the_log_itself_stays_as_the_settings_want_it() -> None:
    root, written = logging.getLogger(), []

    class Written(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(record.getMessage())

    handler, before = Written(), root.level
    root.addHandler(handler)
    root.setLevel("WARNING")
    logs = RunLogs(None, RunLogsSettings())  # type: ignore[arg-type] # nothing is stored
    scribe = logs.scribe("run_1", 1)
    assert scribe
    try:
        with overhearing("info", prints=True), overhearing("info", prints=True), attended(scribe):
            log.info("quiet")
            log.warning("loud")
            logging.getLogger("consumers.execution").warning("the house's own")
            print("printed")
        assert [line.text for line in scribe.take()[0]] == ["quiet", "loud", "printed"]
        assert written == ["loud", "the house's own"]
        assert root.level == logging.WARNING
        assert not any(isinstance(one, RunLogHandler) for one in root.handlers)
        log.warning("later")
        assert scribe.take() == ([], 0)
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def test_nothing_is_kept_where_that_is_wanted() -> None:
    logs = RunLogs(None, RunLogsSettings(enabled=False))  # type: ignore[arg-type] # nothing is stored
    assert logs.scribe("run_1", 1) is None
