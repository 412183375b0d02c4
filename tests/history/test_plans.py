"""No query of a list looks at a whole table: its plan says so, on either database."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, text

from tests.history.conftest import DATABASES, make_url_of
from tests.history.planting import START, event_row, plant_runs, run_row
from tidemill.history import tables
from tidemill.history.database import Database, open_database
from tidemill.history.delivery_queries import DeliveryQuery, list_dead, list_deliveries, list_quarantine
from tidemill.history.event_queries import EventQuery, event_detail, list_events
from tidemill.history.lineage import lineage
from tidemill.history.overview import ErrorQuery, delivery_rates, list_errors, run_rates
from tidemill.history.retention import steps
from tidemill.history.run_details import run_detail
from tidemill.history.run_lists import RunQuery, list_runs
from tidemill.history.run_logs import logged

Ask = Callable[[Connection], Any]
QUERIES: list[tuple[str, Ask]] = [
    (str(query), lambda connection, query=query: list_runs(connection, query))
    for query in (
        RunQuery(),
        RunQuery(task="deploy"),
        RunQuery(statuses=("failed",)),
        RunQuery(statuses=("completed",)),
        RunQuery(statuses=("failed", "running", "completed"), task="deploy"),
        RunQuery(source="github"),
        RunQuery(type="github.push"),
        RunQuery(type="github.push", statuses=("failed",)),
        RunQuery(tag="x"),
        RunQuery(tag="x", task="deploy"),
        RunQuery(since=START + 10, until=START + 90),
        RunQuery(text="order", task="deploy"),
        RunQuery(fingerprint="f"),
        RunQuery(parent_id="run_a"),
        RunQuery(root_id="run_a"),
        RunQuery(replayof="run_a"),
        RunQuery(event_number=7),
    )
]
QUERIES += [
    (str(query), lambda connection, query=query: list_events(connection, query))
    for query in (
        EventQuery(),
        EventQuery(source="github"),
        EventQuery(type="github.push"),
        EventQuery(source="github", type="github.push", since=START + 5),
    )
]
QUERIES += [
    (str(query), lambda connection, query=query: list_deliveries(connection, query))
    for query in (
        DeliveryQuery(),
        DeliveryQuery(source="github"),
        DeliveryQuery(verdict="refused", source="github"),
        DeliveryQuery(verdict="duplicate"),
        DeliveryQuery(verdict="accepted", reason="none"),
        DeliveryQuery(since=START + 5, until=START + 50),
    )
]
QUERIES += [
    (
        "logs of a run",
        lambda connection: logged(connection, "run_a", after=0, below=9, limit=5),
    ),
    ("quarantine", list_quarantine),
    ("quarantine of a source", lambda connection: list_quarantine(connection, source="github")),
    ("dead", list_dead),
    ("dead of a task", lambda connection: list_dead(connection, task="deploy")),
    ("errors", lambda connection: list_errors(connection, ErrorQuery())),
    ("errors of a task", lambda connection: list_errors(connection, ErrorQuery(task="deploy", state="open"))),
    ("run rates", lambda connection: run_rates(connection, span=60, since=START, until=START + 7200)),
    ("rates of a task", lambda connection: run_rates(connection, span=60, since=START, task="deploy")),
    ("delivery rates", lambda connection: delivery_rates(connection, span=3600, since=START)),
    ("a run", lambda connection: run_detail(connection, f"run_{7:026d}")),
    ("an event", lambda connection: event_detail(connection, "evt-7")),
    ("lineage of a run", lambda connection: lineage(connection, f"run_{7:026d}")),
    ("lineage of an event", lambda connection: lineage(connection, "evt-7")),
    (
        "retention",
        lambda connection: [
            step(connection)
            for step in steps(START + 5000, runs_before=START + 1000, bodies_before=START + 2000)
        ],
    ),
]


@pytest.fixture(scope="module", params=DATABASES)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Enough rows that a planner has a reason to use an index, and statistics about them."""
    database = open_database(make_url_of(request, tmp_path_factory.mktemp("history")))
    numbers = range(1, 3000)
    rows = [
        run_row(
            number,
            source="github",
            type="github.push",
            event_number=number,
            status="completed" if number % 50 else "failed",
        )
        for number in numbers
    ]
    plant_runs(database, rows, {number: f"order {number}" for number in numbers})
    with database.writing() as connection:
        connection.execute(insert(tables.events), [event_row(number) for number in numbers])
        if not database.sqlite:
            connection.execute(text("ANALYZE"))
    yield database
    database.close()


@pytest.mark.parametrize("ask", [ask for _, ask in QUERIES], ids=[name for name, _ in QUERIES])
def test_no_query_reads_a_whole_table(filled: Database, ask: Ask) -> None:
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    with filled.reading(20) as connection:
        event.listen(connection, "before_cursor_execute", note)
        ask(connection)
        event.remove(connection, "before_cursor_execute", note)
        plans = [_plan(connection, statement, parameters) for statement, parameters in seen]
    assert seen
    for (statement, _), plan in zip(seen, plans, strict=True):
        assert not _scans(plan, sqlite=filled.sqlite), f"{statement}\n{plan}"


def _plan(connection: Connection, statement: str, parameters: Any) -> str:
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return "\n".join(str(row[3]) for row in rows)
    # A small table is rightly read as a whole by PostgreSQL: it is asked what it does with large ones.
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
    return "\n".join(str(row[0]) for row in rows)


# Full-text indices are virtual tables; a subquery's rows are the ones that its own plan found; errors
# without a filter are read in the order of their index, up to the LIMIT; and counts are summed up.
_FINE = re.compile(
    r"SCAN (\S+ VIRTUAL TABLE|anon_\d+|\(subquery|CONSTANT ROW|sqlite_master"
    r"|errors USING INDEX errors_by_last)"
)


def _scans(plan: str, *, sqlite: bool) -> bool:
    """Say whether a plan reads all of a table, or sorts what an index should have in order."""
    if not sqlite:
        return "Seq Scan" in plan
    lines = plan.splitlines()
    return any(line.startswith("SCAN") and not _FINE.match(line) for line in lines) or any(
        "TEMP B-TREE FOR ORDER BY" in line and "run_counts" not in plan for line in lines
    )
