"""The history at size: what its writer takes in a second, how large it gets, how fast its pages are.

Journals and events are made up and handed to the writer as the role would do it, without a broker between;
then every list, filter and page is asked many times over, at places all over the history.

    python benchmarks/history.py --runs 1000000                       # SQLite in a temporary folder
    python benchmarks/history.py --runs 10000000 --url postgresql://user@host/database --keep
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, select, text
from sqlalchemy.engine import make_url

from tidemill.history import search, tables
from tidemill.history.database import Database, open_database
from tidemill.history.delivery_queries import DeliveryQuery, list_dead, list_deliveries
from tidemill.history.event_queries import EventQuery, event_detail, list_events
from tidemill.history.lineage import lineage
from tidemill.history.overview import ErrorQuery, delivery_rates, list_errors, run_rates, totals
from tidemill.history.reading import first_since
from tidemill.history.run_details import run_detail
from tidemill.history.run_lists import RunQuery, list_runs
from tidemill.history.writer import STREAMS, HistoryWriter
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.jetstream.records import Record
from tidemill.kernel.protocol import records
from tidemill.kernel.subjects import Names, new_run, run_of_event

BATCH = 3_000
ASKED = 40
SPAN = 30 * 86_400
TASKS = [f"task-{number}" for number in range(40)]
KINDS = ("push", "paid", "made", "gone")
TYPES = [f"{source}.{kind}" for source in ("github", "stripe", "shop") for kind in KINDS]
WORDS = ["deploy", "refund", "parcel", "invoice", "branch", "label", "carrier", "pallet", "quay", "tide"]
TRACE = 'Traceback:\n  File "tasks.py", line 10, in handle\n  File "shop.py", line 7, in pay\n'


class Made:
    """Streams of a made-up installation: one run in three was started by an event, one in fifty fails."""

    def __init__(self, runs: int) -> None:
        self._chance = random.Random(1)
        self._begin = time.time() - SPAN
        self._step = SPAN / runs
        self._seqs = dict.fromkeys(STREAMS, 0)
        self._made = 0
        self.runs = runs

    def batches(self) -> Iterator[dict[str, list[Record]]]:
        """Yield what the writer takes in at once."""
        each = self._each()
        while chunk := list(islice(each, BATCH // 3)):
            found: dict[str, list[Record]] = {stream: [] for stream in STREAMS}
            for messages in chunk:
                for stream, subject, at, body in messages:
                    self._seqs[stream] += 1
                    found[stream].append(Record(subject, self._seqs[stream], at, body))
            yield {stream: messages for stream, messages in found.items() if messages}

    def _each(self) -> Iterator[list[tuple[str, str, float, bytes]]]:
        events = 0
        for number in range(self.runs):
            at = self._begin + number * self._step
            task = TASKS[int(self._chance.random() ** 2 * len(TASKS))]
            payload = self._payload(number)
            messages = []
            facts: dict[str, Any] = {}
            run = new_run()
            if self._chance.random() < 0.33:
                events += 1
                kind = self._chance.choice(TYPES)
                envelope = Envelope(
                    id=f"evt-{events}",
                    source=kind.partition(".")[0],
                    type=kind,
                    deliverykey=f"{events:040x}",
                    raw=payload,
                )
                line = {
                    "at": at,
                    "source": envelope.source,
                    "verdict": "accepted",
                    "status": 202,
                    "us": 900,
                    "client": "192.0.2.7",
                    "events": [{"id": envelope.id, "type": kind, "status": "accepted", "seq": events}],
                }
                messages.append(("EVENTS", f"events.x.{kind}", at, envelope.to_frame()))
                messages.append(("DELIVERIES", "deliveries.log", at, orjson.dumps(line)))
                facts = {"event": envelope.facts(), "event_seq": events}
                run = run_of_event(envelope.deliverykey, task)
            messages += self._run(run, task, at, payload, facts)
            yield messages

    def _run(
        self, run: str, task: str, at: float, payload: bytes, facts: dict[str, Any]
    ) -> Iterator[tuple[str, str, float, bytes]]:
        chance, subject = self._chance.random(), f"journal.{run}"
        tags = (f"customer-{self._chance.randrange(5000)}",) if chance < 0.1 else ()
        created = records.Created(rid="c", task=task, raw=payload, tags=tags, **facts)
        yield "JOURNAL", subject, at, records.encode(created)
        yield (
            "JOURNAL",
            subject,
            at + 0.01,
            records.encode(records.Claim(rid="k", q=1, n=1, worker="w-1", at=at)),
        )
        if chance < 0.05:
            for step in range(3):
                done = records.Step(rid=f"s{step}", key=f"step-{step}", result={"step": step})
                yield "JOURNAL", subject, at + 0.02 * step, records.encode(done)
        if chance > 0.9995:
            return
        fault = None
        if chance > 0.98:
            kind = self._chance.randrange(60)
            fault = records.Fault(f"Error{kind}", f"no {WORDS[kind % 10]} for order {kind * 7}", TRACE, 1, at)
        end = records.End(
            rid="e",
            outcome="failed" if fault else "completed",
            result=None if fault else {"ok": True, "took": 12},
            fault=fault,
            task=task,
        )
        yield "JOURNAL", subject, at + 0.5, records.encode(end)

    def _payload(self, number: int) -> bytes:
        words = " ".join(self._chance.choices(WORDS, k=6))
        return orjson.dumps(
            {
                "order": number,
                "customer": f"c{self._chance.randrange(20_000)}",
                "note": words,
                "lines": [1, 2, 3],
            }
        )


def write(database: Database, made: Made) -> None:
    """Let the writer take everything in."""
    writer = HistoryWriter(database, Names(), body_limit=32_768)
    writer.begin(dict.fromkeys(STREAMS, "1"))
    spent = cpu = 0.0
    told = time.monotonic()
    for number, batch in enumerate(made.batches()):
        began, busy = time.perf_counter(), time.process_time()
        writer.write(batch)
        spent += time.perf_counter() - began
        cpu += time.process_time() - busy
        if time.monotonic() - told > 60:
            told = time.monotonic()
            done = (number + 1) * BATCH // 3
            print(f"  {done:,} runs, {done / spent:,.0f} a second so far", file=sys.stderr, flush=True)
    print(f"writer: {made.runs / spent:,.0f} runs/s, {cpu / made.runs * 1e6:.0f} us of processor time a run")


def forget_words(database: Database) -> None:
    """Keep the words of seven days, as the settings' defaults do; one step forgets one day, or some runs."""
    before = time.time() - 7 * 86_400
    more = True
    while more:
        with database.writing() as connection:
            below = first_since(connection, tables.runs, before)
            more = search.forget(connection, before=before, below=below, limit=50_000) > 0


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
QUESTIONS: dict[str, Callable[[Connection, random.Random], object]] = {
    "runs": pages(RunQuery()),
    "runs of a task": pages(RunQuery(task="task-3")),
    "runs of a rare task": pages(RunQuery(task="task-39")),
    "failed runs": pages(RunQuery(statuses=("failed",))),
    "failed, crashed and running": pages(RunQuery(statuses=("failed", "crashed", "running"))),
    "completed runs": pages(RunQuery(statuses=("completed",))),
    "failed runs of a task": pages(RunQuery(task="task-7", statuses=("failed",))),
    "runs of a source": pages(RunQuery(source="stripe")),
    "runs of a type": pages(RunQuery(type="shop.paid")),
    "failed runs of a type": pages(RunQuery(type="shop.paid", statuses=("failed",))),
    "runs of a task and a type": pages(RunQuery(task="task-30", type="shop.gone")),
    "runs with a tag": pages(RunQuery(tag="customer-77")),
    "runs between two moments": pages(RunQuery(since=NOW - 20 * 86_400, until=NOW - 19 * 86_400)),
    "failed runs of an old hour": pages(
        RunQuery(statuses=("failed",), since=NOW - 25 * 86_400, until=NOW - 25 * 86_400 + 3600)
    ),
    "runs with a common word": pages(RunQuery(text="deploy")),
    "runs with two words": pages(RunQuery(text="refund c1234")),
    "runs with a rare word": pages(RunQuery(text="c19999")),
    "runs with a word's beginning": pages(RunQuery(text="c1999*")),
    "failed runs with a word": pages(RunQuery(text="pallet", statuses=("failed",))),
    "events": lambda connection, _: list_events(connection, EventQuery()),
    "events of a type": lambda connection, _: list_events(connection, EventQuery(type="github.push")),
    "deliveries": lambda connection, _: list_deliveries(connection, DeliveryQuery()),
    "deliveries of a source": lambda connection, _: list_deliveries(connection, DeliveryQuery(source="shop")),
    "dead letters": lambda connection, _: list_dead(connection),
    "errors": lambda connection, _: list_errors(connection, ErrorQuery()),
    "errors of a task": lambda connection, _: list_errors(connection, ErrorQuery(task="task-1")),
    "totals": lambda connection, _: totals(connection),
    "runs a minute, 3 hours": lambda connection, _: run_rates(connection, span=60, since=NOW - 10_800),
    "runs an hour, 30 days": lambda connection, _: run_rates(connection, span=3600, since=NOW - SPAN),
    "requests an hour, 30 days": lambda connection, _: delivery_rates(
        connection, span=3600, since=NOW - SPAN
    ),
    "a run": lambda connection, chance: run_detail(connection, _some_run(connection, chance)),
    "an event": lambda connection, chance: event_detail(connection, f"evt-{chance.randrange(1, 1000)}"),
    "a lineage": lambda connection, chance: lineage(connection, _some_run(connection, chance)),
}


def _some_run(connection: Connection, chance: random.Random) -> str:
    last = connection.execute(
        select(tables.runs.c.number).order_by(tables.runs.c.number.desc()).limit(1)
    ).scalar_one()
    look = select(tables.runs.c.id).where(tables.runs.c.number >= chance.randrange(last)).limit(1)
    return str(connection.execute(look.order_by(tables.runs.c.number)).scalar_one())


def ask(database: Database) -> None:
    """Ask every question; print the 95th percentiles of its answers: time on the clock, and of the processor.

    Where the machine has other work too, the time of the processor says more; that of a server of its
    own (PostgreSQL) isn't in it.
    """
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
        clock, cpu = (sorted(times) for times in zip(*taken, strict=True))
        place = int(len(taken) * 0.95)
        worst = max(worst[0], clock[place]), max(worst[1], cpu[place])
        shown = (clock[len(taken) // 2], clock[place], cpu[place])
        print(f"{name:32} " + " ".join(f"{seconds * 1e3:7.1f} ms" for seconds in shown), flush=True)
    print(f"slowest p95: {worst[0] * 1e3:.1f} ms on the clock, {worst[1] * 1e3:.1f} ms of the processor")


def size(database: Database) -> float:
    """Return the database's size in bytes."""
    if database.file is not None:
        return sum(file.stat().st_size for file in database.file.parent.glob(database.file.name + "*"))
    with database.reading(60) as connection:
        return float(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def main() -> None:
    """Fill a history, and ask it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--url", help="an empty database; SQLite in a temporary folder by default")
    parser.add_argument("--keep", action="store_true", help="ask a history that is there already, if it is")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = make_url(given.url or f"sqlite:///{Path(folder)}/history.db")
        drivers = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}
        database = open_database(url.set(drivername=drivers[url.get_backend_name()]))
        with database.reading(60) as connection:
            there = connection.execute(select(tables.positions.c.seq).limit(1)).first() is not None
        if not (given.keep and there):
            write(database, Made(given.runs))
        forget_words(database)
        if not database.sqlite:
            with database.writing() as connection:
                connection.execute(text("ANALYZE"))
        print(f"{database.engine.dialect.name}: {given.runs:,} runs, {size(database) / 2**20:,.0f} MiB")
        ask(database)
        database.close()


if __name__ == "__main__":
    main()
