"""The history's writer, killed at any moment while runs finish: it has all that the journals say, and once.

`--kills 100` makes 50,000 runs; CI makes fewer.
"""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest

from tests.consumers.conftest import Mill, Process
from tests.consumers.histories import check, journals
from tests.history.conftest import DATABASES, make_url_of, postgres  # noqa: F401 - a fixture
from tests.patience import until
from tidemill import Context, Retry, task
from tidemill.history import copying
from tidemill.history.database import Database, open_database
from tidemill.history.overview import totals
from tidemill.history.writer import STREAMS
from tidemill.kernel.services.histories import all_notes

pytestmark = [pytest.mark.integration, pytest.mark.crash]
_AT_ONCE = 64


@task
async def plain(number: int) -> int:
    return number


@task(retry=Retry(max_attempts=2, min_delay=0.01, max_delay=0.01))
async def stepped(number: int, ctx: Context) -> int:
    first = await ctx.step("first", _same, number)
    if number % 7 == 0:
        raise ValueError(f"{number} is a multiple")
    return first


def _same(number: int) -> int:
    return number


async def _trigger(mill: Mill, begin: int, number: int) -> None:
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(value: int) -> None:
        async with places:
            await mill.trigger("stepped" if value % 4 == 0 else "plain", value)

    await asyncio.gather(*(one(value) for value in range(begin, begin + number)))


async def _all_ended(mill: Mill) -> bool:
    return not [view async for view in mill.runs.unfinished()]


async def _written(mill: Mill) -> bool:
    ends = {}
    for stream in STREAMS:
        info = await mill.broker.bus.api(f"STREAM.INFO.{mill.names.stream(stream)}")
        ends[stream] = int(info["state"]["last_seq"])
    notes = (await all_notes(mill.broker.history)).values()
    return any(all(note.seqs.get(stream, -1) >= end for stream, end in ends.items()) for note in notes)


def _counted(database: Database, number: int) -> bool:
    """Say whether all runs are there, and have ended."""
    with database.reading(5) as connection:
        found = totals(connection)
    return sum(count for task in found.values() for count in task.values()) == number and all(
        status in ("completed", "failed") for task in found.values() for status in task
    )


@pytest.mark.parametrize("kind", DATABASES)
async def test_a_writer_that_is_killed_at_any_moment_loses_and_repeats_nothing(
    mill: Mill, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    request.param = kind
    url = make_url_of(request, tmp_path)
    kills = int(request.config.getoption("--kills"))
    share = 500 if kills >= 100 else 40
    number = kills * share
    environ = {
        "TIDEMILL_NATS__URL": mill.settings.nats.url,
        "TIDEMILL_NATS__NAMESPACE": mill.settings.nats.namespace,
        "TIDEMILL_HISTORY__URL": url.set(drivername=url.get_backend_name()).render_as_string(
            hide_password=False
        ),
    }
    chance = random.Random(11)

    def start(name: str) -> Process:
        words = ["engine", "--roles", "history"]
        return Process(words, environ=environ, folder=tmp_path, name=name)

    async with mill.engine("router", "mailman"), mill.worker(plain, stepped):
        for kill in range(kills):
            process = start(f"writer-{kill}")
            making = asyncio.create_task(_trigger(mill, kill * share, share))
            await process.says("writing the history", within=120)
            await asyncio.sleep(chance.uniform(0.0, 0.5))
            process.signal(signal.SIGKILL)
            await process.exits()
            process.close()
            await making
        last = start("writer-last")
        try:
            await until(lambda: _all_ended(mill), within=120 + number / 50)
            await until(lambda: _written(mill), within=120 + number / 50)
        finally:
            last.signal(signal.SIGTERM)
            await last.exits()
            last.close()
    kept = await journals(mill)
    assert len(kept) == number
    database = open_database(url, create=False)
    check(database, kept)
    copying.rebuild(database)
    again = start("writer-again")
    try:
        await until(lambda: _counted(database, number), within=120 + number / 50)
        await again.says("writing the history")
    finally:
        again.signal(signal.SIGTERM)
        await again.exits()
        again.close()
    check(database, kept)
    database.close()
