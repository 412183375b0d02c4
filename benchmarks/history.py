"""The history at size: what its writer takes in a second, how large it gets, how fast its pages are.

Journals and events are made up and handed to the writer as the role would do it, without a broker between;
then every list, filter and page is asked many times over, at places all over the history.

    python benchmarks/history.py --runs 1000000                       # SQLite in a temporary folder
    python benchmarks/history.py --runs 10000000 --url postgresql://user@host/database --keep

`history_pace.py` says whether its writer keeps up on the clock, `history_pages.py` what pages take over HTTP.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from history_days import repeat_day
from history_made import BODIES, DAY, SPAN, Installation
from sqlalchemy import Connection, Table, func, select, text
from sqlalchemy.engine import make_url

from tidemill.history import tables
from tidemill.history.database import Database, open_database
from tidemill.history.delivery_queries import DeliveryQuery, list_dead, list_deliveries, list_quarantine
from tidemill.history.event_queries import EventQuery, event_detail, list_events
from tidemill.history.lineage import lineage
from tidemill.history.overview import ErrorQuery, delivery_rates, list_errors, run_rates, totals
from tidemill.history.retention import Retention
from tidemill.history.run_details import run_detail
from tidemill.history.run_lists import RunQuery, list_runs
from tidemill.history.writer import STREAMS, HistoryWriter
from tidemill.kernel.collector import spare_collector
from tidemill.kernel.subjects import Names

ASKED = 40
DAYS = SPAN // DAY


def write(database: Database, runs: int, begin: float, seconds: float) -> None:
    """Let the writer take runs in, behind what is there, and say how fast it was."""
    with database.reading(60) as connection:
        behind = {row.stream: row.seq for row in connection.execute(select(tables.positions))}
    writer = HistoryWriter(database, Names(), body_limit=32_768)
    writer.begin(dict.fromkeys(STREAMS, "1"))
    spent = cpu = 0.0
    for _, batch in Installation(runs, begin, seconds, behind).batches():
        began, busy = time.perf_counter(), time.process_time()
        writer.write(batch)
        spent += time.perf_counter() - began
        cpu += time.process_time() - busy
    each = cpu / runs * 1e6
    print(f"writer: {runs / spent:,.0f} runs/s, {each:.0f} us of processor time a run", flush=True)


def prune(database: Database, days: int = 0) -> None:
    """Delete what the settings' defaults keep no longer, bodies some days earlier; say what a step takes."""
    keeping = Retention(database, runs=SPAN, bodies=BODIES - days * DAY)
    steps: list[tuple[float, float]] = []
    more = True
    while more:
        began, busy = time.perf_counter(), time.process_time()
        more = keeping.prune()
        steps.append((time.perf_counter() - began, time.process_time() - busy))
    clock, cpu = zip(*steps, strict=True)
    told = f"p95 {nearest(clock, 0.95) * 1e3:.1f} ms, slowest {max(clock) * 1e3:.1f} ms"
    used = f"CPU p95 {nearest(cpu, 0.95) * 1e3:.1f} ms, most {max(cpu) * 1e3:.1f} ms"
    print(f"retention: {len(steps)} steps, {told}; {used}")


def pages(query: RunQuery) -> Callable[[Connection, random.Random], object]:
    """Ask for the first page of a list, and for the next two."""

    def ask(connection: Connection, _: random.Random) -> object:
        cursor = None
        for _number in range(3):
            began, busy = time.perf_counter(), time.thread_time()
            page = list_runs(connection, query, cursor=cursor)
            taken.append((time.perf_counter() - began, time.thread_time() - busy))
            cursor = page.cursor
            if cursor is None:
                break
        return None

    return ask


taken: list[tuple[float, float]] = []
NOW = time.time()
RUN_LISTS: dict[str, RunQuery] = {
    "runs": RunQuery(),
    "runs of a task": RunQuery(task="task-3"),
    "runs of a rare task": RunQuery(task="task-39"),
    "runs of no task": RunQuery(task="nothing"),
    "failed runs": RunQuery(statuses=("failed",)),
    "expired runs": RunQuery(statuses=("expired",)),
    "waiting runs": RunQuery(statuses=("waiting",)),
    "failed, crashed and running": RunQuery(statuses=("failed", "crashed", "running")),
    "all that went wrong": RunQuery(statuses=("failed", "crashed", "timed_out", "expired")),
    "completed runs": RunQuery(statuses=("completed",)),
    "completed runs of a task": RunQuery(task="task-3", statuses=("completed",)),
    "failed runs of a task": RunQuery(task="task-7", statuses=("failed",)),
    "running runs of a rare task": RunQuery(task="task-39", statuses=("running",)),
    "runs of a source": RunQuery(source="stripe"),
    "failed runs of a source": RunQuery(source="stripe", statuses=("failed",)),
    "runs of a type": RunQuery(type="shop.paid"),
    "failed runs of a type": RunQuery(type="shop.paid", statuses=("failed",)),
    "crashed runs of a type": RunQuery(type="shop.paid", statuses=("crashed",)),
    "runs of a type of another source": RunQuery(type="shop.paid", source="stripe"),
    "runs of a task and a type": RunQuery(task="task-30", type="shop.gone"),
    "failed runs of task, type, source": RunQuery(
        task="task-30", type="shop.gone", source="shop", statuses=("failed",)
    ),
    "runs with a tag": RunQuery(tag="customer-77"),
    "runs with a common tag": RunQuery(tag="urgent"),
    "crashed runs with a common tag": RunQuery(tag="urgent", statuses=("crashed",)),
    "runs of a task with a tag": RunQuery(tag="urgent", task="task-39"),
    "runs between two moments": RunQuery(since=NOW - 20 * DAY, until=NOW - 19 * DAY),
    "failed runs of an old hour": RunQuery(
        statuses=("failed",), since=NOW - 25 * DAY, until=NOW - 25 * DAY + 3600
    ),
    "failed runs of a task, old": RunQuery(task="task-3", statuses=("failed",), until=NOW - 25 * DAY),
    "runs with a common word": RunQuery(text="deploy"),
    "runs with two words": RunQuery(text="refund c1234"),
    "runs with six common words": RunQuery(text="deploy refund parcel invoice branch label"),
    "runs with a rare word": RunQuery(text="c19999"),
    "runs with no such word": RunQuery(text="nonsuch"),
    "runs with a word's beginning": RunQuery(text="c1999*"),
    "runs with a common beginning": RunQuery(text="c*"),
    "runs with an error's word": RunQuery(text="error17"),
    "failed runs with a word": RunQuery(text="pallet", statuses=("failed",)),
    "a task's crashed with a word": RunQuery(text="pallet", task="task-39", statuses=("crashed",)),
    "a type's with a word": RunQuery(text="quay", type="crm.gone"),
    "a tag's with a word": RunQuery(text="quay", tag="customer-77"),
    "old runs with a word": RunQuery(text="quay", until=NOW - 5 * DAY),
}
QUESTIONS: dict[str, Callable[[Connection, random.Random], object]] = {
    **{name: pages(query) for name, query in RUN_LISTS.items()},
    "runs of an error": lambda connection, chance: pages(
        RunQuery(fingerprint=list_errors(connection, ErrorQuery()).rows[chance.randrange(50)].fingerprint)
    )(connection, chance),
    "events": lambda connection, _: list_events(connection, EventQuery()),
    "events of a type": lambda connection, _: list_events(connection, EventQuery(type="github.push")),
    "events of a source": lambda connection, _: list_events(connection, EventQuery(source="github")),
    "events of type, source, time": lambda connection, _: list_events(
        connection, EventQuery(source="github", type="stripe.paid", since=NOW - 9 * DAY)
    ),
    "deliveries": lambda connection, _: list_deliveries(connection, DeliveryQuery()),
    "deliveries of a source": lambda connection, _: list_deliveries(connection, DeliveryQuery(source="shop")),
    "duplicates": lambda connection, _: list_deliveries(connection, DeliveryQuery(verdict="duplicate")),
    "duplicates of a source": lambda connection, _: list_deliveries(
        connection, DeliveryQuery(verdict="duplicate", source="shop")
    ),
    "accepted of a source": lambda connection, _: list_deliveries(
        connection, DeliveryQuery(verdict="accepted", source="shop")
    ),
    "refused for a reason": lambda connection, _: list_deliveries(
        connection, DeliveryQuery(verdict="refused", reason="stale")
    ),
    "refused for no such reason": lambda connection, _: list_deliveries(
        connection, DeliveryQuery(reason="nothing", since=NOW - 9 * DAY)
    ),
    "quarantine": lambda connection, _: list_quarantine(connection),
    "quarantine of a source": lambda connection, _: list_quarantine(connection, source="crm"),
    "dead letters": lambda connection, _: list_dead(connection),
    "dead letters of a task": lambda connection, _: list_dead(connection, task="task-39"),
    "errors": lambda connection, _: list_errors(connection, ErrorQuery()),
    "errors of a task": lambda connection, _: list_errors(connection, ErrorQuery(task="task-1")),
    "resolved errors": lambda connection, _: list_errors(connection, ErrorQuery(state="resolved")),
    "totals": lambda connection, _: totals(connection),
    "runs a minute, 3 hours": lambda connection, _: run_rates(connection, span=60, since=NOW - 10_800),
    "runs an hour, 30 days": lambda connection, _: run_rates(connection, span=3600, since=NOW - SPAN),
    "requests an hour, 30 days": lambda connection, _: delivery_rates(
        connection, span=3600, since=NOW - SPAN
    ),
    "a run": lambda connection, chance: run_detail(connection, _some(connection, chance, tables.runs)),
    "an event": lambda connection, chance: event_detail(connection, _some(connection, chance, tables.events)),
    "a lineage": lambda connection, chance: lineage(connection, _some(connection, chance, tables.runs)),
}


def _some(connection: Connection, chance: random.Random, table: Table) -> str:
    """Return the id of some run or event, from anywhere in the history."""
    first, last = (
        connection.execute(select(edge(table.c.number))).scalar_one() for edge in (func.min, func.max)
    )
    look = select(table.c.id).where(table.c.number >= chance.randrange(first, last)).limit(1)
    return str(connection.execute(look.order_by(table.c.number)).scalar_one())


def nearest(values: Sequence[float], part: float) -> float:
    """Return a quantile by the nearest rank: of 40 values the 38th is the 95th percentile."""
    return sorted(values)[math.ceil(len(values) * part) - 1]


def ask(database: Database) -> None:
    """Ask every question; print the 95th percentiles of its answers: time on the clock, and of the processor.

    Where the machine has other work too, the time of the processor says more; that of a server of its
    own (PostgreSQL) isn't in it.
    """
    spare_collector()
    chance = random.Random(2)
    worst = (0.0, 0.0)
    print(f"{'':32} {'median':>10} {'p95':>10} {'p95, CPU':>10}")
    for name, question in QUESTIONS.items():
        taken.clear()
        for _ in range(ASKED):
            with database.reading(60) as connection:
                began, busy, known = time.perf_counter(), time.thread_time(), len(taken)
                question(connection, chance)
                if len(taken) == known:
                    taken.append((time.perf_counter() - began, time.thread_time() - busy))
        clock, cpu = zip(*taken, strict=True)
        shown = (nearest(clock, 0.5), nearest(clock, 0.95), nearest(cpu, 0.95))
        worst = max(worst[0], shown[1]), max(worst[1], shown[2])
        print(f"{name:32} " + " ".join(f"{seconds * 1e3:7.1f} ms" for seconds in shown), flush=True)
    print(f"slowest p95: {worst[0] * 1e3:.1f} ms on the clock, {worst[1] * 1e3:.1f} ms of the processor")


def size(database: Database) -> float:
    """Return the database's size in bytes."""
    if database.file is not None:
        return sum(file.stat().st_size for file in database.file.parent.glob(database.file.name + "*"))
    with database.reading(60) as connection:
        return float(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def open_history(url: str) -> Database:
    """Open a database by an URL as the settings have it."""
    parsed = make_url(url)
    drivers = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}
    return open_database(parsed.set(drivername=drivers[parsed.get_backend_name()]))


def main() -> None:
    """Fill a history, and ask it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--url", help="an empty database; SQLite in a temporary folder by default")
    parser.add_argument("--keep", action="store_true", help="ask a history that is there already, if it is")
    parser.add_argument("--more", type=int, default=0, help="runs that the writer takes in behind them")
    parser.add_argument("--prune", type=int, default=0, help="delete bodies so many days earlier, too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = open_history(given.url or f"sqlite:///{Path(folder)}/history.db")
        with database.reading(60) as connection:
            there = connection.execute(select(tables.positions.c.seq).limit(1)).first() is not None
        if not (given.keep and there):
            write(database, given.runs // DAYS, NOW - SPAN, DAY)
            repeat_day(database, DAYS)
            prune(database)
        if given.prune:
            prune(database, given.prune)
        if given.more:
            write(database, given.more, NOW - 60, 60)
        if not database.sqlite:
            with database.writing() as connection:
                connection.execute(text("ANALYZE"))
        print(f"{database.engine.dialect.name}: {given.runs:,} runs, {size(database) / 2**20:,.0f} MiB")
        ask(database)
        database.close()


if __name__ == "__main__":
    main()
