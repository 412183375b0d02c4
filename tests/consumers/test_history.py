"""The history of real runs on a real broker: held against their journals, which are closed behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from consumers.closer import Closer
from consumers.endings import report_endings
from consumers.history.gate import HistoryGate
from consumers.history.role import History
from tests.consumers.conftest import Mill
from tests.consumers.histories import check, journals
from tests.patience import until
from tidemill import Context, Retry, task
from tidemill.history import tables
from tidemill.history.database import Database, locate, open_database
from tidemill.history.event_queries import EventQuery
from tidemill.history.reader import HistoryReader
from tidemill.history.run_lists import RunQuery
from tidemill.history.writer import STREAMS
from tidemill.kernel.errors import HistoryError
from tidemill.kernel.protocol.closer import Keeping
from tidemill.kernel.services.histories import NOBODY, HistoryFloor, all_notes
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(broker: object, names: Names, tmp_path: Path) -> Settings:
    """Settings with a history in the test's folder."""
    given = {
        "nats": {"url": getattr(broker, "url"), "namespace": names.namespace},  # noqa: B009 - any broker
        "history": {"url": f"sqlite:///{tmp_path}/history.db"},
    }
    return Settings.load(environ={}, overrides=given)


@task
async def double(number: int) -> int:
    return 2 * number


@task(on="shop.order", retry=Retry(max_attempts=2, min_delay=0.01, max_delay=0.01))
async def order(data: dict[str, int], ctx: Context) -> int:
    first = await ctx.step("first", _plus, data["number"])
    parts = await ctx.gather(double.call(first), double.call(first + 1))
    await ctx.sleep(0.05)
    if data.get("fail"):
        raise ValueError(f"order {data['number']} is impossible")
    return sum(parts)


def _plus(number: int) -> int:
    return number + 1


@task
async def patient(ctx: Context) -> str:
    return await ctx.wait_for_signal("go", str, timeout=600)


async def written(mill: Mill) -> None:
    """Wait until the history has come to the end of all streams."""

    async def there() -> bool:
        notes = (await all_notes(mill.broker.history)).values()
        ends = {}
        for stream in STREAMS:
            info = await mill.broker.bus.api(f"STREAM.INFO.{mill.names.stream(stream)}")
            ends[stream] = int(info["state"]["last_seq"]) if info["state"]["messages"] else 0
        return any(all(note.seqs.get(stream, -1) >= end for stream, end in ends.items()) for note in notes)

    await until(there)


def _database(settings: Settings) -> Database:
    return open_database(locate(settings), create=False)


async def test_the_history_is_what_the_journals_say(mill: Mill, settings: Settings) -> None:
    reader = HistoryReader(locate(settings))
    async with mill.engine("router", "mailman", "history"), mill.worker(order, double, patient):
        await mill.post("shop.order", {"number": 1}, source="shop", id="o-1")
        await mill.post("shop.order", {"number": 2, "fail": 1}, source="shop", id="o-2")
        await mill.post("shop.nothing", {}, source="shop", id="o-3")
        waiting = await mill.trigger("patient", tags=["slow"])
        await until(lambda: _count(mill, "completed", "order"))
        await until(lambda: _count(mill, "failed", "order"))
        await mill.when(waiting, lambda view: view.status == "waiting")
        await written(mill)
        database = _database(settings)
        check(database, await journals(mill))
        database.close()

        page = await reader.runs(RunQuery(task="order", statuses=("failed",)))
        (failed,) = page.rows
        assert failed.error == ("ValueError", "order 2 is impossible")
        detail = await reader.run(failed.id)
        assert detail.payload.data == b'{"number":2,"fail":1}'
        assert "in order" in detail.traceback
        assert [child.task for child in detail.children] == ["double", "double"]
        assert {"attempt", "execution", "step", "wait", "child"} <= {span.kind for span in detail.spans}
        attempts = [span for span in detail.spans if span.kind == "attempt"]
        assert [(span.name, span.status) for span in attempts] == [
            ("attempt 1", "failed"),
            ("attempt 2", "failed"),
        ]
        step = next(span for span in detail.spans if span.kind == "step")
        assert (step.name, step.status, step.data["result"]) == ("first", "done", 3)

        assert [row.id for row in (await reader.runs(RunQuery(text="impossible"))).rows] == [failed.id]
        assert [row.id for row in (await reader.runs(RunQuery(tag="slow"))).rows] == [waiting]
        family = await reader.lineage(detail.children[0].id)
        assert [event.id for event in family.events] == ["o-2"]
        assert [run.task for run in family.runs] == ["order", "double", "double"]
        (group,) = (await reader.errors()).rows
        assert (group.type, group.count, group.last_run) == ("ValueError", 2, failed.id)
        (letter,) = (await reader.dead()).rows
        assert (letter.id, letter.status, letter.attempts) == (failed.id, "failed", 2)
        nothing, *_ = (await reader.events(EventQuery(source="shop"))).rows
        assert (nothing.id, [verdict.verdict for verdict in nothing.verdicts]) == ("o-3", ["unrouted"])
        assert (await reader.totals(task="order")) == {"order": {"completed": 1, "failed": 1}}
    await reader.close()


async def _count(mill: Mill, status: str, of: str) -> int:
    return len(await mill.runs.list(task=of, status=status))


async def _runs(mill: Mill, number: int) -> list[str]:
    runs = [await mill.trigger("double", value) for value in range(number)]
    for run in runs:
        await mill.ended(run)
    return runs


async def test_a_journal_stays_until_the_history_has_it(mill: Mill, settings: Settings) -> None:
    keeping = Keeping(journal=0, tombstone=0)
    async with mill.engine("history"), mill.worker(double):
        await _runs(mill, 3)
        await written(mill)
    gate = HistoryGate(mill.broker.history, keeping, patience=3600)
    async with mill.worker(double):
        later = await _runs(mill, 3)
    async with _closing(mill, keeping, gate):
        async with mill.worker(double):
            more = await _runs(mill, 2)
        await asyncio.sleep(1.5)  # two looks of the closer
        assert {(await mill.runs.get(run)).status for run in later + more} == {"completed"}
        async with mill.engine("history"):
            await written(mill)
            await until(lambda: _closed(mill, more))
    database = _database(settings)
    with database.reading(5) as connection:
        assert connection.execute(select(func.count()).select_from(tables.runs)).scalar_one() == 8
    database.close()


@asynccontextmanager
async def _closing(mill: Mill, keeping: Keeping, gate: HistoryGate) -> AsyncIterator[None]:
    """Run a closer, and what tells it of ended runs."""
    closer, ended = Closer(mill.broker, keeping, gate), asyncio.Event()
    parts = (
        asyncio.create_task(closer.run()),
        asyncio.create_task(report_endings(mill.broker, ended)),
    )
    try:
        yield
    finally:
        ended.set()
        await closer.stop()
        await asyncio.gather(*parts)


async def _closed(mill: Mill, runs: list[str]) -> bool:
    found = await journals(mill)
    return not set(runs) & set(found)


async def test_a_history_that_never_comes_is_not_waited_for_for_ever(mill: Mill) -> None:
    keeping = Keeping(journal=0, tombstone=0)
    assert await HistoryFloor(mill.broker.history).now() == NOBODY
    async with mill.engine("history"), mill.worker(double):
        await _runs(mill, 1)
        await written(mill)
    gate = HistoryGate(mill.broker.history, keeping, patience=0.5)
    async with _closing(mill, keeping, gate):
        async with mill.worker(double):
            runs = await _runs(mill, 2)
        await until(lambda: _closed(mill, runs))
        assert gate.abandoned == 2


async def test_a_history_that_is_deleted_is_written_anew(
    mill: Mill, settings: Settings, tmp_path: Path
) -> None:
    async with mill.engine("history"), mill.worker(double):
        await _runs(mill, 5)
        await written(mill)
        _delete(tmp_path)
        await until((tmp_path / "history.db").exists)
        await _runs(mill, 5)
        await until(lambda: _count_rows(settings, 10))
        await written(mill)
    database = _database(settings)
    check(database, await journals(mill))
    database.close()


def _delete(folder: Path) -> None:
    for file in folder.glob("history.db*"):
        file.unlink()


def _count_rows(settings: Settings, wanted: int) -> bool:
    try:
        database = _database(settings)
    except HistoryError:
        return False
    try:
        with database.reading(5) as connection:
            return connection.execute(select(func.count()).select_from(tables.runs)).scalar_one() == wanted
    except HistoryError:
        return False
    finally:
        database.close()


async def test_without_its_database_everything_else_goes_on(
    mill: Mill, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "history.db").mkdir()
    async with mill.engine("router", "mailman", "closer", "history"), mill.worker(double):
        await _runs(mill, 3)
        await until(lambda: "the history isn't written" in caplog.text)
        (tmp_path / "history.db").rmdir()
        await until(lambda: _count_rows(settings, 3))
        await written(mill)
    database = _database(settings)
    check(database, await journals(mill))
    database.close()


async def test_a_second_writer_stands_by_and_takes_over(mill: Mill, settings: Settings) -> None:
    first, second = History(mill.broker, settings), History(mill.broker, settings)
    working = asyncio.create_task(first.run())
    async with mill.worker(double):
        await _runs(mill, 2)
        await written(mill)
        waiting = asyncio.create_task(second.run())
        await _runs(mill, 2)
        await written(mill)
        (note,) = (await all_notes(mill.broker.history)).values()
        await first.stop()
        await working
        await _runs(mill, 2)
        await until(lambda: _taken_over(mill, note.writer))
        await written(mill)
    await second.stop()
    await waiting
    database = _database(settings)
    check(database, await journals(mill))
    database.close()


async def _taken_over(mill: Mill, writer: str) -> bool:
    return any(note.writer != writer for note in (await all_notes(mill.broker.history)).values())
