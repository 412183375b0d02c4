from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url

from tidemill.history.database import Database, locate, open_database
from tidemill.history.tables import metadata
from tidemill.kernel.errors import HistoryError, SettingsError
from tidemill.kernel.settings.model import Settings


def _ours(_thing: object, name: str | None, kind: str, *_: object) -> bool:
    return kind != "table" or not (name or "").startswith("run_words")


def test_the_migrations_make_the_tables_that_the_code_knows(database: Database) -> None:
    with database.reading(20) as connection:
        context = MigrationContext.configure(connection, opts={"include_object": _ours})
        assert compare_metadata(context, metadata) == []


def test_opening_again_changes_nothing(url: URL, database: Database) -> None:
    again = open_database(url)
    assert again.id == database.id
    again.close()
    looker = open_database(url, create=False)
    assert looker.id == database.id
    looker.close()


def test_a_newer_schema_is_refused(url: URL, database: Database) -> None:
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for create in (True, False):
        with pytest.raises(HistoryError, match="schema '9999'"):
            open_database(url, create=create)


def test_a_database_that_is_not_there_yet_is_not_made_by_looking(tmp_path: Path) -> None:
    url = make_url(f"sqlite+pysqlite:///{tmp_path}/none/history.db")
    with pytest.raises(HistoryError, match="no history"):
        open_database(url, create=False)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_database_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "history.db").write_bytes(b"x" * 5000)
    with pytest.raises(HistoryError, match="not a database"):
        open_database(make_url(f"sqlite+pysqlite:///{tmp_path}/history.db"))
    with pytest.raises(HistoryError, match="can't be used"):
        open_database(make_url("postgresql+psycopg://nobody@127.0.0.1:9/none"))


def test_a_statement_that_takes_too_long_is_given_up(database: Database) -> None:
    numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1000000000)"
    endless = f"{numbers} SELECT sum(x) FROM n"
    with pytest.raises(HistoryError, match="too long"), database.reading(0.05) as connection:
        connection.execute(text(endless))
    with database.reading(20) as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_the_settings_name_the_place(tmp_path: Path) -> None:
    file = tmp_path / "tidemill.toml"
    file.write_text("")
    assert locate(Settings.load(file, {})).database == f"{tmp_path}/.tidemill/history.db"
    given = {"TIDEMILL_HISTORY__URL": "postgresql://u:p@host/db"}
    url = locate(Settings.load(file, given))
    assert (url.drivername, url.password) == ("postgresql+psycopg", "p")
    with pytest.raises(SettingsError):
        locate(Settings.load(file, {"TIDEMILL_HISTORY__URL": "env:PLACE", "PLACE": "mysql://host/db"}))
