"""Rows for tests of queries, with everything that a row must have."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert

from tidemill.history import search, tables
from tidemill.history.database import Database
from tidemill.history.words import words_of

START = 1_760_000_000.0


def run_row(number: int, **given: Any) -> dict[str, Any]:
    """Return a row of `runs`: one a second from START on."""
    at = START + number
    row: dict[str, Any] = dict.fromkeys(tables.runs.c.keys())
    row |= {
        "number": number,
        "id": f"run_{number:026d}",
        "task": "deploy",
        "status": "completed",
        "depth": 0,
        "attempts": 0,
        "starts": 1,
        "reopened": 0,
        "created_at": at,
        "started_at": at + 0.1,
        "changed_at": at + 0.5,
        "ended_at": at + 0.5,
        "tail": number,
    }
    return row | given


def plant_runs(database: Database, rows: list[dict[str, Any]], texts: dict[int, str] | None = None) -> None:
    """Insert runs, and the words of those that have a text."""
    with database.writing() as connection:
        connection.execute(insert(tables.runs), rows)
        known = [(number, START + number, words_of(said)) for number, said in (texts or {}).items()]
        search.index(connection, known)


def event_row(number: int, **given: Any) -> dict[str, Any]:
    """Return a row of `events`."""
    row: dict[str, Any] = dict.fromkeys(tables.events.c.keys())
    row |= {
        "number": number,
        "id": f"evt-{number}",
        "key": f"key-{number}",
        "source": "github",
        "type": "github.push",
        "at": START + number,
        "bytes": 10,
    }
    return row | given
