from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from tests.history.planting import START, plant_runs, run_row
from tidemill.history.database import open_database
from tidemill.history.reading import first_since
from tidemill.history.tables import runs

ROWS = 3_000


def test_a_moment_is_found_without_going_through_what_is_before_it(tmp_path: Path) -> None:
    """A plan says `SEARCH` also where it begins at the wrong bound: what SQLite does is counted."""
    database = open_database(make_url(f"sqlite+pysqlite:///{tmp_path}/history.db"))
    plant_runs(database, [run_row(number) for number in range(1, ROWS)])
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    with database.reading(20) as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(count, 1)
        assert first_since(connection, runs, START + ROWS - 9) == ROWS - 9
    database.close()
    assert 0 < steps < ROWS
