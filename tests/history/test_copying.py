from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import MetaData, Table, create_engine, insert, select
from sqlalchemy.engine import URL, make_url

from tests.history.conftest import make_url_of
from tests.history.planting import run_row
from tests.history.streams import Stream, writer_of
from tidemill.history import copying, tables
from tidemill.history import database as database_module
from tidemill.history.database import Database, is_outdated, open_database
from tidemill.history.overview import mark_error
from tidemill.history.run_lists import RunQuery, list_runs
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import ConflictError, HistoryError, NotFoundError
from tidemill.kernel.protocol.records import Created


@pytest.fixture
def filled(database: Database) -> Database:
    """A few runs, one of which has failed and was marked."""
    stream = Stream()
    for number in range(5):
        stream.run(
            f"run_{number}", payload=b'{"word": "tide"}', outcome="failed" if number == 3 else "completed"
        )
    writer_of(database).write({"JOURNAL": stream.messages})
    with database.writing() as connection:
        fingerprint = connection.execute(select(tables.errors.c.fingerprint)).scalar_one()
        mark_error(connection, fingerprint, "ignored", by="me")
    return database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Another database, of either kind."""
    folder = tmp_path / "other"
    folder.mkdir()
    opened = open_database(make_url_of(request, folder))
    yield opened
    opened.close()


def _content(database: Database) -> dict[str, list[dict[str, Any]]]:
    with database.reading(20) as connection:
        found = {}
        for name, table in tables.metadata.tables.items():
            if table is not tables.facts:
                rows = [dict(row) for row in connection.execute(select(table)).mappings()]
                found[name] = sorted(rows, key=str)
        return found


def test_a_backup_brings_everything_back_into_either(
    filled: Database, other: Database, tmp_path: Path
) -> None:
    seen: list[tuple[str, int]] = []
    copying.backup(filled, tmp_path / "copy.db", lambda what, count: seen.append((what, count)))
    assert seen
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith("copy")] == ["copy.db"]
    stream = Stream()
    stream.run("run_else")
    writer_of(other).write({"JOURNAL": stream.messages})
    copying.restore(other, tmp_path / "copy.db")
    assert _content(other) == _content(filled)
    with other.reading(5) as connection:
        assert len(list_runs(connection, RunQuery(text="tide")).rows) == 5
        assert [row.id for row in list_runs(connection, RunQuery(text="place")).rows] == ["run_3"]


def test_a_backup_overwrites_nothing_and_a_restore_needs_one(filled: Database, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("precious")
    with pytest.raises(ConflictError):
        copying.backup(filled, tmp_path / "there")
    with pytest.raises(HistoryError):
        copying.restore(filled, tmp_path / "there")
    with pytest.raises(NotFoundError):
        copying.restore(filled, tmp_path / "nowhere")
    assert (tmp_path / "there").read_text() == "precious"
    assert _content(filled)["runs"]


def test_a_history_that_is_being_written_is_not_restored(filled: Database, url: URL, tmp_path: Path) -> None:
    copying.backup(filled, tmp_path / "copy.db")
    writing = open_database(url)
    assert writing.claim()
    try:
        with pytest.raises(ConflictError, match="being written"):
            copying.restore(filled, tmp_path / "copy.db")
    finally:
        writing.close()


def test_what_is_rebuilt_is_the_same_and_marks_stay(filled: Database) -> None:
    before = _content(filled)
    stream = Stream()
    for number in range(5):
        stream.run(
            f"run_{number}", payload=b'{"word": "tide"}', outcome="failed" if number == 3 else "completed"
        )
    running = writer_of(filled)
    copying.rebuild(filled)
    with pytest.raises(ConflictError):
        running.write({"JOURNAL": stream.messages[-3:]})
    writer_of(filled).write({"JOURNAL": stream.messages})
    after = _content(filled)
    for content in (before, after):
        for row in content["positions"]:
            row["at"] = 0
    assert after == before


def test_the_words_of_events_are_found_again_too(filled: Database, other: Database, tmp_path: Path) -> None:
    events, stream = Stream(), Stream()
    envelope = Envelope(id="evt", source="s", type="t", raw=b'{"word": "pallet"}')
    seq = events.add("events.s.t", envelope.to_frame())
    for message in range(15):
        stream.add(f"journal.run_{message}", b"")
    created = Created(rid="c", task="deploy", event=envelope.facts(), event_seq=seq, raw=envelope.raw)
    stream.record("run_of_event", created)
    writer_of(filled).write({"EVENTS": events.messages, "JOURNAL": stream.messages[15:]})
    copying.backup(filled, tmp_path / "copy.db")
    copying.restore(other, tmp_path / "copy.db")
    with other.reading(5) as connection:
        found = [row.id for row in list_runs(connection, RunQuery(text="pallet")).rows]
    assert found == ["run_of_event"]


def test_a_backup_of_an_older_version_is_restored_and_stays_as_it_was(
    other: Database, tmp_path: Path
) -> None:
    old = tmp_path / "old.db"
    config, _ = database_module._script()
    database = Database(create_engine(f"sqlite+pysqlite:///{old}"))
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        older = Table("runs", MetaData(), autoload_with=connection)
        names = [column.name for column in older.columns]
        rows = [{name: run_row(number)[name] for name in names} for number in range(1, 4)]
        connection.execute(insert(older), rows)
        connection.commit()
    database.close()
    assert is_outdated(make_url(f"sqlite+pysqlite:///{old}"))
    copying.restore(other, old)
    assert len(_content(other)["runs"]) == 3
    assert is_outdated(make_url(f"sqlite+pysqlite:///{old}"))
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".tidemill")] == []


def test_a_file_that_is_no_backup_replaces_nothing(filled: Database, tmp_path: Path) -> None:
    stranger = sqlite3.connect(tmp_path / "stranger.db")
    stranger.execute("CREATE TABLE runs (number INTEGER)")
    stranger.close()
    with pytest.raises(HistoryError):
        copying.restore(filled, tmp_path / "stranger.db")
    assert _content(filled)["runs"]
