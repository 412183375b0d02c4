"""A namespace of the file's broker with workers and engines in this process or in others."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from consumers.engine import Engine
from consumers.loader import AnyTask
from consumers.worker import Worker
from tests.patience import PATIENCE, until
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.frames import pack
from tidemill.kernel.services.broker import Broker, open_broker
from tidemill.kernel.services.dead import DeadLetter, DeadLetters
from tidemill.kernel.services.run_view import RunView
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.settings.sections import WorkerSettings
from tidemill.kernel.subjects import Names, delivery_key
from tidemill.kernel.trigger import parse_request


class Mill:
    """An open broker in a namespace of its own, and what a test does with it."""

    def __init__(self, settings: Settings, broker: Broker) -> None:
        self.settings = settings
        self.broker = broker
        self.names = broker.names
        self.runs = Runs(broker)
        self.dead = DeadLetters(broker, self.runs)

    @asynccontextmanager
    async def worker(
        self, *tasks: AnyTask, broker: Broker | None = None, **given: Any
    ) -> AsyncIterator[Worker]:
        """Run a worker in this process; at the end it is stopped in order."""
        settings = WorkerSettings(**{"lease": 2.0, "shutdown_timeout": 5.0, **given})
        worker = Worker(broker or self.broker, tasks, settings)
        ready, stopping = asyncio.Event(), asyncio.Event()
        running = asyncio.create_task(worker.run(stopping, ready), name="worker under test")
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        try:
            yield worker
        finally:
            stopping.set()
            await asyncio.wait_for(running, PATIENCE)

    @asynccontextmanager
    async def engine(self, *roles: str, settings: Settings | None = None) -> AsyncIterator[Engine]:
        """Run engine roles in this process, by default router and mailman."""
        engine = Engine(self.broker, settings or self.settings, roles or ("router", "mailman"))
        stopping = asyncio.Event()
        running = asyncio.create_task(engine.run(stopping), name="engine under test")
        try:
            yield engine
        finally:
            stopping.set()
            await asyncio.wait_for(running, PATIENCE)

    async def trigger(self, task: str, payload: Any = None, **options: Any) -> str:
        """Start a run and return its id."""
        return (await self.runs.trigger(parse_request(task, orjson.dumps(payload), options))).id

    async def post(self, event_type: str, data: Any, *, source: str = "test", **facts: Any) -> str:
        """Publish an event as the gateway does and return its delivery key."""
        event_id = facts.pop("id", os.urandom(6).hex())
        key = delivery_key(source, event_id)
        raw = data if isinstance(data, bytes) else orjson.dumps(data)
        envelope = Envelope(id=event_id, source=source, type=event_type, deliverykey=key, raw=raw, **facts)
        subject = self.names.event(source, event_type)
        await self.broker.bus.publish(subject, envelope.to_frame(), headers={"Nats-Msg-Id": key})
        return key

    async def post_large(self, event_type: str, raw: bytes, *, source: str = "test") -> str:
        """Publish an event whose body lies in a blob, and return its delivery key."""
        event_id = os.urandom(6).hex()
        key = delivery_key(source, event_id)
        blob = await self.broker.blobs.put(key, raw)
        envelope = Envelope(id=event_id, source=source, type=event_type, deliverykey=key, raw=b"")
        frame = pack(envelope.facts() | {"blob": blob}, b"")
        subject = self.names.event(source, event_type)
        await self.broker.bus.publish(subject, frame, headers={"Nats-Msg-Id": key})
        return key

    async def letters(self) -> Sequence[DeadLetter]:
        """Return the dead letters, the newest first."""
        return (await self.dead.list()).rows

    async def ended(self, run: str, *, within: float = PATIENCE) -> RunView:
        """Wait for a run's end."""
        return await self.when(run, lambda view: view.ended, within=within)

    async def when(
        self, run: str, condition: Callable[[RunView], Any], *, within: float = PATIENCE
    ) -> RunView:
        """Wait until a run's state fulfils a condition, and return it."""

        async def look() -> RunView | None:
            view = await self.runs.get(run)
            return view if condition(view) else None

        found: RunView = await until(look, within=within)
        return found

    async def count(self, stream: str) -> int:
        """Return how many messages a stream holds."""
        info = await self.broker.bus.api(f"STREAM.INFO.{self.names.stream(stream)}")
        return int(info["state"]["messages"])

    async def empty(self, stream: str) -> None:
        """Wait until a stream holds nothing."""

        async def look() -> bool:
            return await self.count(stream) == 0

        await until(look)

    async def consumer(self, task: str) -> dict[str, Any]:
        """Return what the broker says about a task's consumer."""
        stream, consumer = self.names.stream("TICKETS"), self.names.consumer_of(task)
        return await self.broker.bus.api(f"CONSUMER.INFO.{stream}.{consumer}")


@pytest.fixture
def settings(request: pytest.FixtureRequest, names: Names) -> Settings:
    """Settings of a namespace of the file's broker; of the test's own one where it asks for that."""
    own = "own_broker" in request.fixturenames
    url = request.getfixturevalue("own_broker" if own else "broker").url
    return Settings.load(environ={}, overrides={"nats": {"url": url, "namespace": names.namespace}})


@pytest.fixture
async def mill(settings: Settings, names: Names) -> AsyncIterator[Mill]:
    """An open broker in a fresh namespace, whose streams are deleted at the end."""
    async with open_broker(settings, name="test", patient=True) as broker:
        yield Mill(settings, broker)
        for stream in (await broker.bus.api("STREAM.NAMES", {}))["streams"] or []:
            if f"{names.namespace}_" in stream:
                await broker.bus.api(f"STREAM.DELETE.{stream}")


class Process:
    """A command of the product in a process of its own, with its log in a file."""

    def __init__(self, words: list[str], *, environ: dict[str, str], folder: Path, name: str) -> None:
        self.log = folder / f"{name}.log"
        self._output = self.log.open("wb")
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "tidemill.cli.main", *words],
            cwd=folder,
            env=os.environ | environ,  # noqa: TID251 - a child's environment, not read
            stdout=self._output,
            stderr=self._output,
        )

    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    async def says(self, words: str, *, within: float = PATIENCE) -> None:
        """Wait until its log holds some words."""
        deadline = time.monotonic() + within
        while words not in self.text():
            assert self.popen.poll() is None, f"it has ended:\n{self.text()}"
            assert time.monotonic() < deadline, f"it doesn't say {words!r}:\n{self.text()}"
            await asyncio.sleep(0.02)

    async def exits(self, *, within: float = PATIENCE) -> int:
        """Wait for its end and return its exit code."""
        try:
            return await asyncio.to_thread(self.popen.wait, within)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"it doesn't end:\n{self.text()}") from error

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(timeout=10)
        self._output.close()


StartWorker = Callable[..., Awaitable[Process]]


@pytest.fixture
def start_worker(tmp_path: Path, settings: Settings) -> Iterator[StartWorker]:
    """Start `tidemill worker` on a module's text and wait until it serves."""
    started: list[Process] = []
    nats = settings.nats
    common = {
        "TIDEMILL_NATS__URL": nats.url,
        "TIDEMILL_NATS__NAMESPACE": nats.namespace,
        "TIDEMILL_WORKER__LEASE": "2",
        "TIDEMILL_NATS__DURABILITY": "os",
    }

    async def start(source: str | None, *words: str, wait: bool = True, **environ: str) -> Process:
        if source is not None:
            (tmp_path / "handlers.py").write_text(source)
        process = Process(
            ["worker", "handlers.py", *words],
            environ=common | environ,
            folder=tmp_path,
            name=f"worker-{len(started)}",
        )
        started.append(process)
        if wait:
            await process.says(" serves ")
        return process

    yield start
    for process in started:
        process.close()
