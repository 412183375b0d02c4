from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from tidemill.history import search
from tidemill.history.database import open_database
from tidemill.history.scanning import LAST, Budget

DAY = 86_400.0


def _fill(connection: Connection) -> None:
    """A run every quarter of a day, 40 of them, from the evening of the first day on."""
    search.index(
        connection, [(number, (number + 3) * DAY / 4, ["tide", f"w{number}"]) for number in range(40)]
    )


def _find(connection: Connection, wanted: str, budget: Budget | None = None) -> tuple[list[int], int | None]:
    return search.find_numbers(connection, wanted, low=3, below=30, limit=5, budget=budget)


def test_a_day_has_as_many_tables_as_it_needs_and_they_are_asked_the_newest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_PART_BITS", 3)
    database = open_database(make_url(f"sqlite+pysqlite:///{tmp_path}/history.db"))
    with database.writing() as connection:
        _fill(connection)
        names = [part.name for part in search.parts(connection)]
        assert names[:4] == ["run_words_0_0", "run_words_1_0", "run_words_2_0", "run_words_2_1"]
        assert _find(connection, "tide") == ([29, 28, 27, 26, 25], 25)
        assert _find(connection, "tid*") == ([29, 28, 27, 26, 25], 25)
        assert _find(connection, "w4") == ([4], None)
        assert _find(connection, "w2") == ([], None)
        assert search.find_numbers(connection, "tide", low=0, below=LAST, limit=99)[0] == list(
            range(39, -1, -1)
        )
        spent = Budget(0.0)
        assert _find(connection, "w4", spent) == ([], 24), "tables of the same numbers are asked together"
        assert search.find_numbers(connection, "w4", low=3, below=8, limit=5, budget=spent) == ([4], None)
        while search.forget(connection, before=5 * DAY, below=0, limit=1):
            pass
        assert min(part.day for part in search.parts(connection)) == 5
    database.close()


def test_a_table_of_an_older_version_is_found_too(tmp_path: Path) -> None:
    database = open_database(make_url(f"sqlite+pysqlite:///{tmp_path}/history.db"))
    with database.writing() as connection:
        _fill(connection)
        connection.exec_driver_sql("ALTER TABLE run_words_3_0 RENAME TO run_words_3")
        assert _find(connection, "tide") == ([29, 28, 27, 26, 25], 25)
        assert _find(connection, "w11") == ([11], None)
    database.close()
