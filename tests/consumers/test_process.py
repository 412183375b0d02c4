"""Worker and engine as processes: they leave in order on a signal, or with an error when they must."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from consumers import process
from consumers.process import serve_engine, serve_worker, stop_signals
from consumers.worker import Worker
from tests.consumers.conftest import Mill
from tests.patience import PATIENCE, until
from tidemill import task
from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.services.broker import Broker, open_broker
from tidemill.kernel.settings.model import Settings

pytestmark = pytest.mark.integration


@task
async def work() -> str:
    return "done"


class Watched:
    """A service in this process, what it reports, and the broker that it opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[str] = []
        self.brokers: list[Broker] = []

        @asynccontextmanager
        async def opened(settings: Settings, **given: object) -> AsyncIterator[Broker]:
            async with open_broker(settings, **given) as broker:  # type: ignore[arg-type] # handed on
                self.brokers.append(broker)
                yield broker

        monkeypatch.setattr(process, "open_broker", opened)

    async def ready(self) -> None:
        await until(lambda: self.lines)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


async def test_worker_and_engine_serve_until_a_signal(mill: Mill, watched: Watched) -> None:
    serving = asyncio.create_task(
        serve_worker(mill.settings, [work], engine=True, report=watched.lines.append)
    )
    await watched.ready()
    assert (await mill.ended(await mill.trigger("work"))).result == "done"
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, PATIENCE)
    assert watched.lines[0].endswith("serves work")
    assert not watched.brokers[0].performer.endings  # the last ends were told of
    assert await mill.broker.workers.keys() == []


async def test_an_engine_serves_until_a_signal(mill: Mill, watched: Watched) -> None:
    serving = asyncio.create_task(
        serve_engine(mill.settings, ["router", "closer"], report=watched.lines.append)
    )
    await watched.ready()
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.wait_for(serving, PATIENCE)
    assert watched.lines == ["engine runs closer, router"]


async def test_a_connection_that_is_closed_for_good_ends_the_worker(mill: Mill, watched: Watched) -> None:
    serving = asyncio.create_task(
        serve_worker(mill.settings, [work], engine=False, report=watched.lines.append)
    )
    await watched.ready()
    await watched.brokers[0].bus.close()
    with pytest.raises(BaseExceptionGroup) as caught:
        await asyncio.wait_for(serving, PATIENCE)
    assert [type(leaf) for leaf in _leaves(caught.value)] == [ConnectionError]


async def test_a_dead_lease_thread_ends_the_worker(
    mill: Mill, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        """A connection on which the thread stumbles."""

        async def send(self, subject: str, body: bytes) -> None:
            raise LookupError(f"{subject} {body!r}")

        async def close(self) -> None: ...

    async def connect(_: Worker) -> Bus:
        return Broken()  # type: ignore[return-value] # as much of a bus as the thread uses

    @task
    async def slow() -> None:
        await asyncio.sleep(60)

    settings = Settings.load(
        environ={},
        overrides={
            "nats": mill.settings.nats.model_dump(include={"url", "namespace"}),
            "worker": {"lease": 1},
        },
    )
    monkeypatch.setattr(Worker, "_connect_leases", connect)
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    serving = asyncio.create_task(serve_worker(settings, [slow], engine=False, report=watched.lines.append))
    await watched.ready()
    await mill.trigger("slow")
    with pytest.raises(BaseExceptionGroup) as caught:
        await asyncio.wait_for(serving, PATIENCE)
    [leaf] = _leaves(caught.value)
    assert str(leaf) == "the lease thread has died"
    assert isinstance(leaf.__cause__, LookupError)


async def test_a_second_signal_ends_the_process_as_usual() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_signals() as stopping:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(stopping.wait(), PATIENCE)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    signal.signal(signal.SIGTERM, before)
