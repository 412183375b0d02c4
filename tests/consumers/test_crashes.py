"""Workers and brokers that are killed, frozen and stopped in the middle: real processes, a real broker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import BrokerProcess
from tests.consumers.conftest import Mill, Process, StartWorker
from tests.patience import until
from tidemill.kernel.definition import RetryPolicy, TaskDefinition
from tidemill.kernel.services import registry
from tidemill.kernel.services.broker import open_broker
from tidemill.kernel.settings.model import Settings

pytestmark = [pytest.mark.integration, pytest.mark.crash]
RUNS = 1000

HANDLERS = """
import asyncio, json, os, time
from tidemill import Retry, task

def note(**facts):
    line = (json.dumps(facts | {"pid": os.getpid()}) + "\\n").encode()
    descriptor = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line)
    os.close(descriptor)

@task
async def count(number: int) -> int:
    note(number=number)
    await asyncio.sleep(0.01)
    return number

@task
async def blocks(seconds: float) -> None:
    note(task="blocks")
    time.sleep(seconds)

@task
async def slow(seconds: float) -> int:
    note(task="slow")
    await asyncio.sleep(seconds)
    note(task="slow ends")
    return os.getpid()

@task
async def waits() -> int:
    note(task="waits")
    while not os.path.exists("go"):
        await asyncio.sleep(0.05)
    note(task="waits ends")
    return os.getpid()

@task(retry=Retry(max_attempts=1))
async def kills() -> None:
    note(task="kills")
    os._exit(9)

@task
async def stubborn() -> None:
    note(task="stubborn")
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
"""

IMPATIENT = """
import consumers.worker
consumers.worker.RELEASE_SECONDS = 1.0
"""
"""Put before handlers: their worker waits a tenth as long for those that don't let go."""


def _notes(folder: Path) -> list[dict[str, object]]:
    file = folder / "notes"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _times(folder: Path) -> Counter[object]:
    """Return how often each number was executed."""
    return Counter(note["number"] for note in _notes(folder) if "number" in note)


async def _trigger_all(mill: Mill) -> None:
    """Start all runs; nobody needs to serve the task yet."""
    retry = RetryPolicy()
    await registry.publish(mill.broker.tasks, TaskDefinition(id="count", retry=retry))
    gate = asyncio.Semaphore(64)

    async def start(number: int) -> None:
        async with gate:
            await mill.trigger("count", number)

    await asyncio.gather(*(start(number) for number in range(RUNS)))


async def _all_completed(mill: Mill) -> None:
    await mill.empty("TICKETS")
    views = await mill.runs.list(limit=RUNS + 1)
    assert Counter(view.status for view in views) == {"completed": RUNS}
    assert sorted(view.result for view in views) == list(range(RUNS))


async def test_a_killed_worker_loses_no_run(mill: Mill, start_worker: StartWorker, tmp_path: Path) -> None:
    await _trigger_all(mill)
    first = await start_worker(HANDLERS)
    await until(lambda: len(_times(tmp_path)) > RUNS // 3)
    first.signal(signal.SIGKILL)
    assert await first.exits() == -signal.SIGKILL
    done = len(_times(tmp_path))
    assert done < RUNS
    await start_worker(None)
    await _all_completed(mill)
    times = _times(tmp_path)
    assert len(times) == RUNS
    twice = sum(times.values()) - RUNS
    assert twice <= 100  # at most what was in the killed worker's slots


async def test_a_killed_broker_loses_no_run(
    mill: Mill, start_worker: StartWorker, own_broker: BrokerProcess, tmp_path: Path
) -> None:
    await _trigger_all(mill)
    worker = await start_worker(HANDLERS)
    await until(lambda: len(_times(tmp_path)) > RUNS // 3)
    own_broker.kill()
    assert len(_times(tmp_path)) < RUNS
    own_broker.start()
    await until(lambda: mill.broker.bus.connected)
    await _all_completed(mill)
    assert set(_times(tmp_path)) == set(range(RUNS))
    assert worker.popen.poll() is None
    assert worker.text().count("waits for the broker") <= 2  # no line for every run


async def test_a_stopped_worker_executes_no_run_twice(
    mill: Mill, start_worker: StartWorker, tmp_path: Path
) -> None:
    await _trigger_all(mill)
    first = await start_worker(HANDLERS)
    await until(lambda: len(_times(tmp_path)) > RUNS // 3)
    first.signal(signal.SIGTERM)
    assert await first.exits() == 0
    assert len(_times(tmp_path)) < RUNS
    second = await start_worker(None)
    await _all_completed(mill)
    assert _times(tmp_path) == dict.fromkeys(range(RUNS), 1)
    second.signal(signal.SIGINT)
    assert await second.exits() == 0
    for process in (first, second):
        assert "ERROR" not in process.text().upper()


async def test_a_handler_that_blocks_the_loop_keeps_its_run_and_is_named(
    mill: Mill, start_worker: StartWorker, tmp_path: Path
) -> None:
    blocking = await start_worker(HANDLERS, TIDEMILL_WORKER__LEASE="3")
    run = await mill.trigger("blocks", 12.0)  # four leases
    await until(lambda: _notes(tmp_path))
    await start_worker(None)  # which would take the run over
    view = await mill.ended(run, within=60)
    assert (view.status, view.state.starts) == ("completed", 1)
    assert [note["task"] for note in _notes(tmp_path)] == ["blocks"]
    assert f"task blocks, run {run} has blocked the event loop" in blocking.text()
    assert "time.sleep(seconds)" in blocking.text()


async def test_what_waited_in_the_socket_of_a_blocked_worker_is_executed_once(
    mill: Mill, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Its lease ran out unread: the other worker got it, or will; a claim would only steal it back."""
    await start_worker(HANDLERS)
    run = await mill.trigger("blocks", 5.0)
    await until(lambda: _notes(tmp_path))
    others = [await mill.trigger("slow", 2.0) for _ in range(6)]
    await start_worker(None)
    assert (await mill.ended(run)).state.starts == 1
    for other in others:
        assert (await mill.ended(other)).status == "completed"
    names = Counter(note["task"] for note in _notes(tmp_path))
    assert names == {"blocks": 1, "slow": 6, "slow ends": 6}


async def test_a_frozen_worker_is_refused_and_sends_nothing_more(
    mill: Mill, start_worker: StartWorker, tmp_path: Path
) -> None:
    frozen = await start_worker(HANDLERS, "--no-engine")
    run = await mill.trigger("waits")
    await until(lambda: _notes(tmp_path))
    frozen.signal(signal.SIGSTOP)
    healthy = await start_worker(None, "--no-engine")
    await until(lambda: len(_notes(tmp_path)) == 2)
    frozen.signal(signal.SIGCONT)
    await frozen.says("belongs to somebody else now")
    (tmp_path / "go").touch()
    view = await mill.ended(run)
    assert view.result == healthy.popen.pid
    assert [entry["kind"] for entry in view.timeline()] == ["created", "claim", "claim", "end"]
    ends = [note["pid"] for note in _notes(tmp_path) if note["task"] == "waits ends"]
    assert ends == [healthy.popen.pid]
    await mill.empty("TICKETS")
    assert await mill.count("DEAD") == 0


async def test_a_handler_that_kills_its_workers_crashes_its_run(
    mill: Mill, start_worker: StartWorker, tmp_path: Path
) -> None:
    await mill.broker.tasks.put("x", b"")  # the bucket exists
    await registry.publish(mill.broker.tasks, TaskDefinition(id="kills"))
    run = await mill.trigger("kills")
    for _ in range(3):
        process = await start_worker(HANDLERS, wait=False, TIDEMILL_WORKER__LEASE="1")
        assert await process.exits() == 9
    await start_worker(None)
    view = await mill.ended(run)
    assert (view.status, len(_notes(tmp_path))) == ("crashed", 3)
    [letter] = await until(mill.letters)
    assert "3 workers that owned the run died" in letter.facts["attempts"][0]["message"]


async def test_a_handler_that_swallows_its_cancellation_does_not_keep_the_process(
    mill: Mill, start_worker: StartWorker, tmp_path: Path
) -> None:
    process = await start_worker(IMPATIENT + HANDLERS, TIDEMILL_WORKER__SHUTDOWN_TIMEOUT="0.1")
    run = await mill.trigger("stubborn")
    await until(lambda: _notes(tmp_path))
    process.signal(signal.SIGTERM)
    assert await process.exits(within=30) == 1
    assert f"task stubborn, run {run} swallowed CancelledError" in process.text()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1\n\nraise SystemExit(0)\n", ["handlers.py:3", "SystemExit"]),
        (
            "import threading\nfrom tidemill import task\n@task\ndef b(x: threading.Lock): ...\n",
            ["handlers.py:3", "can't be built", "hint"],
        ),
    ],
)
async def test_a_module_that_can_not_be_served_ends_with_2_and_its_place(
    start_worker: StartWorker, source: str, words: list[str]
) -> None:
    """More of them, without a process for each, are tried with the command line's tests."""
    process: Process = await start_worker(source, wait=False)
    assert await process.exits() == 2
    for word in words:
        assert word in process.text()
    assert "Traceback" not in process.text()


async def test_a_survivor_takes_the_embedded_broker_over(
    start_worker: StartWorker, tmp_path: Path, settings: Settings
) -> None:
    embedded = {
        "TIDEMILL_NATS__URL": "embedded",
        "TIDEMILL_NATS__DATA_DIR": str(tmp_path / "data"),
    }
    first = await start_worker(EMBEDDED, **embedded)
    second = await start_worker(None, **embedded)
    settings = Settings.load(environ=embedded, overrides={"nats": {"namespace": settings.nats.namespace}})
    async with open_broker(settings, name="test", prepare=False) as broker:
        await Mill(settings, broker).trigger("chain", 1)
    await until(lambda: _last_chain(tmp_path) >= 10)
    first.signal(signal.SIGKILL)
    await first.exits()
    assert _last_chain(tmp_path) < 40
    await until(lambda: _last_chain(tmp_path) >= 40)
    second.signal(signal.SIGTERM)
    assert await second.exits() == 0
    assert "this process takes it over" in second.text()


async def test_a_worker_leaves_a_frozen_broker_behind(
    start_worker: StartWorker, tmp_path: Path, settings: Settings
) -> None:
    """It waits for its handlers, not for answers that nobody gives."""
    embedded = {
        "TIDEMILL_NATS__URL": "embedded",
        "TIDEMILL_NATS__DATA_DIR": str(tmp_path / "data"),
        "TIDEMILL_WORKER__SHUTDOWN_TIMEOUT": "0.5",
    }
    worker = await start_worker(HANDLERS, **embedded)
    settings = Settings.load(environ=embedded, overrides={"nats": {"namespace": settings.nats.namespace}})
    async with open_broker(settings, name="test", prepare=False) as broker:
        await Mill(settings, broker).trigger("slow", 60.0)
    await until(lambda: _notes(tmp_path))
    os.kill(int((tmp_path / "data" / "broker.pid").read_text()), signal.SIGSTOP)
    worker.signal(signal.SIGTERM)
    assert await worker.exits() == 0  # its handler would have gone on for a minute


EMBEDDED = (
    HANDLERS
    + """
@task
async def chain(number: int) -> None:
    note(chain=number)
    await asyncio.sleep(0.02)
    if number < 40:
        await chain.trigger(number + 1, idempotency_key=f"link-{number + 1}")
"""
)


def _last_chain(folder: Path) -> int:
    return max((int(str(note["chain"])) for note in _notes(folder) if "chain" in note), default=0)
