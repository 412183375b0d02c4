"""The reader as the gateway uses it: a database that comes, goes and is replaced; many askers at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url

from tests.history.streams import Stream, writer_of
from tidemill.history.database import open_database
from tidemill.history.overview import ErrorQuery
from tidemill.history.reader import HistoryReader
from tidemill.history.run_lists import RunQuery
from tidemill.kernel.errors import HistoryError, NotFoundError, PayloadError


def _fill(url: URL, *runs: str) -> None:
    database = open_database(url)
    stream = Stream()
    for run in runs:
        stream.run(run, outcome="failed")
    writer_of(database).write({"JOURNAL": stream.messages})
    database.close()


def _delete(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


async def test_a_database_may_come_later_and_be_replaced(tmp_path: Path) -> None:
    url = make_url(f"sqlite+pysqlite:///{tmp_path}/history.db")
    reader = HistoryReader(url)
    with pytest.raises(HistoryError):
        await reader.runs()
    _fill(url, "run_1")
    assert [row.id for row in (await reader.runs()).rows] == ["run_1"]
    _delete(tmp_path)
    with pytest.raises(HistoryError):
        await reader.runs()
    _fill(url, "run_2", "run_3")
    assert [row.id for row in (await reader.runs()).rows] == ["run_3", "run_2"]
    await reader.close()


async def test_many_ask_and_mark_while_the_writer_writes(url: URL) -> None:
    _fill(url, "run_0")
    reader = HistoryReader(url)
    (group,) = (await reader.errors()).rows
    database = open_database(url)
    stream = Stream()
    for number in range(200):
        stream.run(f"run_{number}", outcome="failed")
    writer = writer_of(database)

    def write() -> None:
        for begin in range(3, len(stream.messages), 12):
            writer.write({"JOURNAL": stream.messages[begin : begin + 12]})

    async def mark() -> None:
        for state in ("resolved", "ignored", "open") * 5:
            await reader.mark_error(group.fingerprint, state, by="me")  # type: ignore[arg-type]  # a state

    await asyncio.gather(
        asyncio.to_thread(write), mark(), *(reader.runs(RunQuery(text="place")) for _ in range(40))
    )
    assert sum(found.count for found in (await reader.errors(ErrorQuery(task="deploy"))).rows) == 200
    assert (await reader.totals())["deploy"] == {"failed": 200}
    database.close()
    await reader.close()


async def test_what_is_not_there_or_can_not_be_asked_is_an_error_of_ours(url: URL) -> None:
    _fill(url, "run_0")
    reader = HistoryReader(url)
    for missing in (
        reader.run("run_9"),
        reader.event("\n"),
        reader.lineage("evt"),
        reader.quarantined("x"),
    ):
        with pytest.raises(NotFoundError):
            await missing
    for wrong in (
        reader.runs(cursor="x"),
        reader.events(cursor="x"),
        reader.deliveries(cursor="x"),
        reader.dead(cursor="x"),
        reader.quarantine(cursor="x"),
        reader.errors(cursor="x"),
        reader.run_rates(span=7, since=0),
        reader.mark_error((await reader.errors()).rows[0].fingerprint, "reopened", by="me"),
    ):
        with pytest.raises(PayloadError):
            await wrong
    try:
        assert (await reader.runs(RunQuery(task="\x00"))).rows == ()
    except PayloadError as error:
        assert "NUL" in error.sentence  # noqa: PT017 - PostgreSQL can't hold it, SQLite has none
    assert (await reader.runs(RunQuery(tag="' OR 1=1 --", source="%", type="_"))).rows == ()
    await reader.close()
