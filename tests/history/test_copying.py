from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.engine import URL

from tests.history.conftest import make_url_of
from tests.history.streams import Stream, writer_of
from tidemill.history import copying, tables
from tidemill.history.database import Database, open_database
from tidemill.history.overview import mark_error
from tidemill.history.run_lists import RunQuery, list_runs
from tidemill.kernel.errors import ConflictError, HistoryError, NotFoundError


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
