"""Broker and gateway are killed again and again: what was answered becomes one event each."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import orjson
import pytest

from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.jetstream.records import scan

if TYPE_CHECKING:
    from conftest import BrokerProcess

    from tidemill.kernel.subjects import Names

pytestmark = [pytest.mark.integration, pytest.mark.crash]
ROUNDS = 6
SENDERS = 8


class Mill:
    """A gateway in a process of its own."""

    def __init__(self, settings: Path) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def start(self) -> None:
        """Start it, and wait until it takes connections."""
        command = (sys.executable, "-m", "tidemill.cli.main", "--config", str(self._settings), "gateway")
        self._process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            line = (await self._process.stdout.readline()).decode()
        self.url = line.rpartition(" ")[2].strip()

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.communicate()

    async def stop(self) -> int | None:
        assert self._process is not None
        self._process.terminate()
        await self._process.communicate()
        return self._process.returncode


async def send(mill: Mill, signed: Callable[..., dict[str, str]], sender: int, answered: set[str]) -> None:
    """Post deliveries, each as often as it takes until it is answered, as a provider would."""
    number = 0
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        while True:
            number += 1
            guid = f"{sender}-{number}"
            body = b'{"zen": "' + b"x" * random.choice((10, 1000, 30_000)) + b'"}'
            while guid not in answered:
                try:
                    reply = await client.post(
                        f"{mill.url}/webhooks/github", content=body, headers=signed(body, guid=guid)
                    )
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)
                    continue
                assert reply.status_code in (202, 503), reply.text
                if reply.status_code == 202:
                    assert reply.json()["status"] in ("accepted", "duplicate")
                    answered.add(guid)


async def test_whatever_dies_nothing_that_was_answered_is_lost_or_doubled(
    own_broker: BrokerProcess, names: Names, tmp_path: Path, signed: Callable[..., dict[str, str]]
) -> None:
    (tmp_path / "tidemill.toml").write_text(
        '[gateway]\nlisten = "127.0.0.1:0"\nspool = "64MiB"\n[control]\nlisten = "127.0.0.1:0"\n'
        f'[nats]\nurl = "{own_broker.url}"\nnamespace = "{names.namespace}"\n'
        '[sources.github]\npreset = "github"\nsecrets = ["It\'s a Secret to Everybody"]\n'
    )
    mill, answered = Mill(tmp_path / "tidemill.toml"), set[str]()
    await mill.start()
    senders = [asyncio.create_task(send(mill, signed, number, answered)) for number in range(SENDERS)]
    away = False
    for round_ in range(ROUNDS):
        await asyncio.sleep(random.uniform(0.1, 0.5))
        if round_ % 2:
            await mill.kill()
            await mill.start()
        elif away:
            own_broker.start()
            away = False
        else:
            own_broker.kill()
            away = True
        assert not any(sender.done() for sender in senders)
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)
    if away:
        own_broker.start()
    await emptied(mill)
    bus = await Bus.connect([own_broker.url], names=names, name="test")
    found = Counter(
        [
            orjson.loads(record.body.partition(b"\n")[0])["id"]
            async for record in scan(bus, names.stream("EVENTS"), names.subject("events", ">"))
        ]
    )
    await bus.close()
    assert await mill.stop() == 0
    assert len(answered) > 20
    assert [guid for guid in answered if found[guid] != 1] == []
    assert [guid for guid, count in found.items() if count > 1] == []


async def emptied(mill: Mill) -> None:
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client, asyncio.timeout(60):
        while (await client.get(f"{mill.url}/readyz")).json()["spool"]["records"]:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.1)
