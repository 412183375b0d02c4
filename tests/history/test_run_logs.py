"""What runs have logged, in the history: kept for as long as bodies, of each run the newest."""

from __future__ import annotations

import orjson
import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import URL

from tests.history.planting import START
from tests.history.streams import Stream, writer_of
from tidemill.history import run_logs, tables
from tidemill.history.database import Database, open_database
from tidemill.history.reader import HistoryReader
from tidemill.history.retention import Retention
from tidemill.kernel.services.run_logs import Batch

DAY = 86_400.0


def say(stream: Stream, run: str, *texts: str) -> None:
    """Add what a run says to its stream."""
    lines = [(START, "info", "", "shop", text) for text in texts]
    for batch in Batch.split(run, 1, lines, 0):
        stream.add(f"logs.{run}", batch.document())


def texts_of(
    database: Database, run: str, *, after: int = 0, below: int = 2**40, limit: int = 100
) -> list[str]:
    with database.reading(5) as connection:
        found = run_logs.logged(connection, run, after=after, below=below, limit=limit)
    return [line[4] for record in found for line in orjson.loads(record.body)["lines"]]


def test_each_run_has_its_own_lines_in_their_order(database: Database) -> None:
    stream = Stream()
    for number in range(5):
        say(stream, "run_a", f"a{number}")
        say(stream, "run_b", f"b{number}")
    writer_of(database).write({"LOGS": stream.messages})
    assert texts_of(database, "run_a") == ["a0", "a1", "a2", "a3", "a4"]
    assert texts_of(database, "run_b", after=2, below=9) == ["b1", "b2", "b3"]
    assert texts_of(database, "run_b", limit=2) == ["b0", "b1"]
    assert texts_of(database, "run_c") == []


def test_a_stream_that_is_created_anew_goes_on_with_its_own_sequences(database: Database) -> None:
    old, new = Stream(), Stream()
    say(old, "run_a", "old")
    say(new, "run_a", "new")
    writer_of(database).write({"LOGS": old.messages})
    writer_of(database, "2").write({"LOGS": new.messages})
    with database.reading(5) as connection:
        found = run_logs.logged(connection, "run_a", after=0, below=10, limit=10)
    assert [record.seq for record in found] == [1]


def test_of_a_run_that_says_too_much_the_newest_stay(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_logs, "MOST_BYTES", 10 * run_logs.EACH)
    stream = Stream()
    for number in range(100):
        say(stream, "run_a", str(number))
        if number < 3:
            say(stream, "run_b", str(number))
    writer = writer_of(database)
    for message in stream.messages:
        writer.write({"LOGS": [message]})
    kept = texts_of(database, "run_a")
    assert 10 <= len(kept) <= 20
    assert kept == [str(number) for number in range(100 - len(kept), 100)]
    assert len(texts_of(database, "run_b")) == 3


@pytest.mark.parametrize("body", [b"", b"{}", b"no json", b"[1]", b'{"lines": 1}', b"\xff\x00"])
def test_what_is_no_message_of_lines_is_left_out(database: Database, body: bytes) -> None:
    stream = Stream()
    stream.add("logs.run_a", body)
    say(stream, "run_a", "text with \x00 in it")
    writer = writer_of(database)
    writer.write({"LOGS": stream.messages})
    assert writer.left_out == 1
    assert texts_of(database, "run_a") == ["text with \x00 in it"]


def test_lines_go_with_the_bodies(database: Database) -> None:
    stream = Stream()
    say(stream, "run_a", "old")
    writer_of(database).write({"LOGS": stream.messages})
    keeping = Retention(database, runs=30 * DAY, bodies=7 * DAY, clock=lambda: START + 8 * DAY)
    for _ in range(100):
        if not keeping.prune():
            break
    with database.reading(5) as connection:
        assert connection.execute(select(func.count()).select_from(tables.run_logs)).scalar_one() == 0


async def test_the_reader_gives_them_to_whoever_shows_a_run(url: URL) -> None:
    database, stream = open_database(url), Stream()
    say(stream, "run_a", "one", "two")
    writer_of(database).write({"LOGS": stream.messages})
    database.close()
    reader = HistoryReader(url)
    (record,) = await reader.logged("run_a", after=0, below=2, limit=10)
    assert (record.seq, record.subject) == (1, "logs.run_a")
    assert await reader.logged("run_a", after=1, below=2, limit=10) == []
    await reader.close()
