"""Three brokers with three copies of every stream: each of them is killed while runs are executed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.conftest import BrokerProcess, free_port
from tests.consumers.conftest import Mill, StartWorker
from tests.patience import until
from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.errors import BrokerError
from tidemill.kernel.services import registry
from tidemill.kernel.services.broker import open_broker
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.subjects import Names

pytestmark = [pytest.mark.integration, pytest.mark.crash]
NODES = 3
RUNS = 40
ELECTION = 90.0
"""Seconds within which a loaded machine has elected its leaders."""

HANDLERS = """
import json, os
from tidemill import Context, task

async def work(run: str, key: str, value: int) -> int:
    descriptor = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (json.dumps([run, key]) + "\\n").encode())
    os.close(descriptor)
    return value

@task
async def part(number: int) -> int:
    return 2 * number

@task
async def pipeline(number: int, ctx: Context) -> int:
    first = await ctx.step("first", work, ctx.run_id, "first", number)
    await ctx.sleep(1 + number % 5)
    doubled = await part.call(first)
    return await ctx.step("last", work, ctx.run_id, "last", doubled + 1)
"""


class Node(BrokerProcess):
    """One server of a cluster."""

    def __init__(self, folder: Path, number: int, routes: list[int]) -> None:
        folder.mkdir()
        super().__init__(folder)
        peers = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
        with self._config.open("a") as config:
            config.write(
                f'server_name: "node-{number}"\n'
                f'cluster {{ name: "mill", listen: "127.0.0.1:{routes[number]}", routes: [{peers}] }}\n'
            )


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    """A cluster of three."""
    routes = [free_port() for _ in range(NODES)]
    started = [Node(tmp_path / f"node-{number}", number, routes) for number in range(NODES)]
    for node in started:
        node.start()
    yield started
    for node in started:
        node.stop()


@pytest.fixture
def settings(nodes: list[Node], names: Names) -> Settings:
    """Settings of a namespace with three copies of everything."""
    url = ",".join(node.url for node in nodes)
    nats = {"url": url, "namespace": names.namespace, "replicas": NODES}
    return Settings.load(environ={}, overrides={"nats": nats})


@pytest.fixture
async def mill(settings: Settings) -> AsyncIterator[Mill]:
    """An open broker, as soon as the cluster has elected its leaders."""
    deadline = asyncio.get_running_loop().time() + ELECTION
    while True:
        try:
            async with open_broker(settings, name="test", patient=True) as broker:
                yield Mill(settings, broker)
                return
        except BrokerError:
            assert asyncio.get_running_loop().time() < deadline, "the cluster has no leader"
            await asyncio.sleep(0.5)


async def _in_step(mill: Mill) -> bool:
    """Say whether every stream's copies are complete."""
    for stream in ("JOURNAL", "TICKETS", "SIGNALS", "EVENTS"):
        info = await mill.broker.bus.api(f"STREAM.INFO.{mill.names.stream(stream)}")
        copies = info["cluster"].get("replicas") or []
        if len(copies) < NODES - 1 or not all(copy["current"] for copy in copies):
            return False
    return True


async def test_runs_outlive_each_of_three_brokers(
    nodes: list[Node], mill: Mill, start_worker: StartWorker, tmp_path: Path
) -> None:
    for task in ("pipeline", "part"):
        await registry.publish(mill.broker.tasks, TaskDefinition(id=task))
    await until(lambda: _in_step(mill), within=ELECTION)
    worker = await start_worker(HANDLERS, TIDEMILL_NATS__REPLICAS="3", TIDEMILL_WORKER__LINGER="0.02")
    runs: list[str] = []
    for node in nodes:
        for _ in range(RUNS // NODES):
            number = len(runs)
            runs.append(await mill.trigger("pipeline", number, idempotency_key=str(number)))
        node.kill()
        await asyncio.sleep(1.0)
        node.start()
        await until(lambda: _in_step(mill), within=ELECTION)
    for number, run in enumerate(runs):
        view = await mill.ended(run, within=ELECTION)
        assert (view.status, view.result) == ("completed", 2 * number + 1), view.facts()
    executed = Counter(map(tuple, map(json.loads, (tmp_path / "notes").read_text().splitlines())))
    assert executed == {(run, key): 1 for run in runs for key in ("first", "last")}
    assert worker.popen.poll() is None
    await mill.empty("TICKETS")
