from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert

from tests.history.conftest import DATABASES, make_url_of
from tests.history.planting import START, plant_runs, run_row
from tidemill.history import run_lists, scanning, search, tables
from tidemill.history.database import Database, open_database
from tidemill.history.run_lists import RunQuery, list_runs
from tidemill.kernel.errors import PayloadError

STATUSES = ("completed", "completed", "completed", "failed", "crashed", "running")
TASKS = ("deploy", "bill", "mail")


@pytest.fixture(scope="module", params=DATABASES)
def planted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, list[dict[str, Any]]]]:
    """One history for all tests that only read it; its words stand in many tables."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(search, "_PART_BITS", 5)
        database = open_database(make_url_of(request, tmp_path_factory.mktemp("history")))
        yield database, _plant(database)
        database.close()


def _plant(database: Database) -> list[dict[str, Any]]:
    chance = random.Random(3)
    made = [
        run_row(
            number,
            task=chance.choice(TASKS),
            status=chance.choice(STATUSES),
            source=chance.choice(("github", "stripe", None)),
        )
        for number in range(1, 400)
    ]
    texts = {row["number"]: f"order {row['number'] % 7} of Zoë" for row in made}
    plant_runs(database, made, texts)
    return made


def _all(database: Database, query: RunQuery, limit: int) -> list[int]:
    found: list[int] = []
    cursor = None
    for _ in range(2_000):
        with database.reading(5) as connection:
            page = list_runs(connection, query, cursor=cursor, limit=limit)
        assert len(page.rows) <= limit
        found += [row.number for row in page.rows]
        cursor = page.cursor
        if cursor is None:
            return found
    raise AssertionError("the pages don't end")


@pytest.mark.parametrize("limit", [1, 7, 500])
@pytest.mark.parametrize(("scan", "seconds"), [(5, 0.0), (100, 60.0), (10_000, 60.0)])
@pytest.mark.parametrize(
    "query",
    [
        RunQuery(),
        RunQuery(task="bill"),
        RunQuery(statuses=("failed",)),
        RunQuery(statuses=("failed", "completed", "crashed")),
        RunQuery(task="mail", statuses=("failed", "running"), source="stripe"),
        RunQuery(source="github", since=START + 100, until=START + 300.5),
        RunQuery(text="order 3"),
        RunQuery(text="ord* ZOË", statuses=("failed",), task="deploy"),
        RunQuery(text="nowhere"),
        RunQuery(type="github.push"),
    ],
)
def test_pages_together_are_what_fits_newest_first(  # noqa: PLR0913, PLR0917 - what a page depends on
    planted: tuple[Database, list[dict[str, Any]]],
    query: RunQuery,
    scan: int,
    limit: int,
    seconds: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database, rows = planted
    monkeypatch.setattr(scanning, "SCAN_LIMIT", scan)
    monkeypatch.setattr(scanning, "_CHUNK", max(1, scan // 3))
    monkeypatch.setattr(scanning, "SECONDS", seconds)
    monkeypatch.setattr(run_lists, "_WORD_SCAN_LIMIT", scan)
    monkeypatch.setattr(run_lists, "_CHUNK", scan)
    if limit == 1:
        query = replace(query, since=query.since or START + 340)
    expected = [row["number"] for row in reversed(rows) if _fits(row, query)]
    assert _all(database, query, limit) == expected


def _fits(row: dict[str, Any], query: RunQuery) -> bool:
    words = {"order", str(row["number"] % 7), "of", "zoë"}
    return (
        (query.task in (None, row["task"]))
        and (not query.statuses or row["status"] in query.statuses)
        and (query.source in (None, row["source"]))
        and (query.type in (None, row["type"]))
        and (query.since is None or row["created_at"] >= query.since)
        and (query.until is None or row["created_at"] < query.until)
        and (query.text is None or {w.lower() for w in query.text.split() if "*" not in w} <= words)
    )


def test_tags_and_family_are_found(database: Database) -> None:
    plant_runs(
        database, [run_row(1), run_row(2, parent_id="run_a", root_id="run_r"), run_row(3, tags='["x"]')]
    )
    with database.writing() as connection:
        connection.execute(insert(tables.run_tags), [{"tag": "x", "run": 3}])
    assert _all(database, RunQuery(tag="x"), 10) == [3]
    assert _all(database, RunQuery(tag="x", task="mail"), 10) == []
    assert _all(database, RunQuery(parent_id="run_a"), 10) == [2]
    assert _all(database, RunQuery(root_id="run_r", statuses=("completed",)), 10) == [2]


def test_a_cursor_of_another_query_is_refused(planted: tuple[Database, list[dict[str, Any]]]) -> None:
    database, _ = planted
    with database.reading(5) as connection:
        cursor = list_runs(connection, RunQuery(task="bill"), limit=3).cursor
        assert cursor is not None
        with pytest.raises(PayloadError, match="belongs to another query"):
            list_runs(connection, RunQuery(task="mail"), cursor=cursor)
        for broken in ("", "%", "a" * 5000, cursor[:-2], "AAAA", "é"):
            with pytest.raises(PayloadError, match="cursor"):
                list_runs(connection, RunQuery(task="bill"), cursor=broken)


@pytest.mark.parametrize("given", [{"statuses": ("lost",)}, {"text": "..."}, {"text": "a " * 20}])
def test_what_cannot_be_asked_is_refused(database: Database, given: dict[str, Any]) -> None:
    with database.reading(5) as connection, pytest.raises(PayloadError):
        list_runs(connection, RunQuery(**given))
