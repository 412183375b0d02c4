"""Whether a history keeps up: runs pass through a broker at a steady rate while its writer takes them in.

    python benchmarks/history.py --runs 10000000 --url sqlite:////data/history.db --keep     # rows behind it
    python benchmarks/history_pace.py --url sqlite:////data/history.db --rate 2000 --seconds 150
    python benchmarks/history_pace.py --url sqlite:////data/history.db --backlog 200000

Records of journals, events, requests and dead letters are made up and published when they would come: a run
lasts half a second, one that is tried again longer. The role `history` takes them in as a process of its own,
and deletes meanwhile what is older than `--keep-runs` and `--keep-bodies` days. How far it is behind is asked
in the database, twice a second: in messages of all streams, and by the age of the oldest record that isn't
there. With `--backlog` so many runs stand in the streams before the role starts: it takes in what it can.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import uvloop
from bench_site import Site, cpu_seconds, machine, site
from history import nearest, open_history, size
from history_feed import Feed
from history_made import DAY, Installation
from sqlalchemy import func, select, text

from tidemill.history import tables
from tidemill.history.database import Database
from tidemill.history.reading import first_since
from tidemill.kernel.services.broker import open_broker
from tidemill.kernel.settings.model import Settings

LOOK = 0.5
PATIENCE = 900.0


@dataclass
class Looked:
    """How far a history was behind at a moment."""

    at: float
    messages: int
    age: float


def positions(database: Database) -> dict[str, tuple[str, int, int]]:
    """Return each stream's incarnation, and up to where it has been taken in: base and sequence."""
    columns = (tables.positions.c[name] for name in ("stream", "incarnation", "base", "seq"))
    with database.reading(60) as connection:
        return {row[0]: (row[1], row[2], row[3]) for row in connection.execute(select(*columns))}


def runs_held(database: Database) -> int:
    """Return how many runs a history has."""
    with database.reading(60) as connection:
        return int(connection.execute(select(func.sum(tables.run_totals.c.count))).scalar_one() or 0)


def still_due(database: Database, keep: Mapping[str, float]) -> str:
    """Say how many rows retention has still to delete."""
    now, told = time.time(), []
    with database.reading(600) as connection:
        old, stale = now - keep["runs"] * DAY, now - keep["bodies"] * DAY
        for table, kind, before in (
            (tables.runs, tables.runs, old),
            (tables.events, tables.events, old),
            (tables.run_bodies, tables.runs, stale),
            (tables.event_bodies, tables.events, stale),
        ):
            below = table.c.number < first_since(connection, kind, before)
            many = connection.execute(select(func.count()).select_from(table).where(below)).scalar_one()
            told.append(f"{many:,} of {table.name}")
    return ", ".join(told)


def server_cpu(database: Database) -> dict[int, float]:
    """Return the CPU time of the processes of a PostgreSQL server on this machine."""
    found: dict[int, float] = {}
    if not database.sqlite:
        with database.reading(60) as connection:
            for pid in connection.execute(text("SELECT pid FROM pg_stat_activity")).scalars():
                with suppress(FileNotFoundError):
                    found[pid] = cpu_seconds(pid)
    return found


async def watch(feed: Feed, database: Database, looked: list[Looked]) -> None:
    """Look how far the history is behind, until it is cancelled."""
    while True:
        found = await asyncio.to_thread(positions, database)
        behind = sum(max(0, sent - found.get(stream, ("", 0, 0))[2]) for stream, sent in feed.sent.items())
        looked.append(Looked(time.time(), behind, feed.age(found["JOURNAL"][2])))
        await asyncio.sleep(LOOK)


async def begun(database: Database, before: Mapping[str, tuple[str, int, int]]) -> None:
    """Wait until the role has found the streams, which are others than those that the history is from."""
    while any(found == before.get(stream) for stream, found in positions(database).items()):  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.1)


async def caught_up(looked: list[Looked]) -> float:
    """Wait until nothing is missing; return the moment."""
    seen = len(looked)
    async with asyncio.timeout(PATIENCE):
        while len(looked) <= seen or looked[-1].messages:  # noqa: ASYNC110 - a benchmark may look
            await asyncio.sleep(LOOK / 5)
    return looked[-1].at


def report(looked: list[Looked], begin: float, end: float) -> None:
    """Print how far behind it was."""
    within = [one for one in looked if begin + 5 <= one.at <= end]
    messages, ages = [one.messages for one in within], [one.age for one in within]
    print(
        f"behind: median {nearest(messages, 0.5):,} messages, p95 {nearest(messages, 0.95):,},"
        f" most {max(messages):,}; oldest record median {nearest(ages, 0.5):.2f} s,"
        f" p95 {nearest(ages, 0.95):.2f} s, most {max(ages):.2f} s"
    )


async def measure(running: Site, database: Database, given: argparse.Namespace) -> None:
    """Let runs arrive, and print how the history fares."""
    before, held = positions(database), runs_held(database)
    settings = Settings.load(running.config)
    number = given.backlog or round(given.rate * given.seconds)
    async with open_broker(settings, name="benchmark") as broker:
        feed, looked = Feed(broker), list[Looked]()
        events_before = sum(before["EVENTS"][1:])

        async def arrive(*, hurry: bool) -> None:
            made = Installation(number, time.time(), number / given.rate, events_before=events_before)
            await feed.play(made.messages(), time.time(), hurry=hurry)

        if given.backlog:
            await arrive(hurry=True)
        await asyncio.to_thread(running.start, "history", "engine", "--roles", "history")
        await begun(database, before)
        busy, served, began = running.cpu(), server_cpu(database), time.time()
        watching = asyncio.create_task(watch(feed, database, looked), name="watch")
        if not given.backlog:
            await arrive(hurry=False)
        last = time.time()
        ready = await caught_up(looked)
        used, server = running.cpu(), server_cpu(database)
        watching.cancel()
    each = {name: (used[name] - busy[name]) / number * 1e6 for name in used if name in busy}
    if server:
        each["PostgreSQL"] = sum(now - served.get(pid, 0.0) for pid, now in server.items()) / number * 1e6
    each["feed"] = feed.cpu / number * 1e6
    told = ", ".join(f"{name} {spent:.0f}" for name, spent in each.items())
    if given.backlog:
        print(f"took in {number:,} runs in {ready - began:.1f} s: {number / (ready - began):,.0f} runs/s")
    else:
        print(f"{feed.runs / (feed.newest - began):,.0f} runs/s arrived, for {feed.newest - began:.0f} s")
        report(looked, began, feed.newest)
        print(f"caught up {max(0.0, ready - last):.1f} s after the last record")
    print(f"CPU us per run: {told}; {sum(feed.sent.values()) / number:.2f} messages per run")
    gone = held + number - runs_held(database)
    print(f"runs held: {held:,} before, {runs_held(database):,} after; deleted {gone:,}")


def main() -> None:
    """Print the figures of one history."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", required=True, help="a history that benchmarks/history.py has filled")
    parser.add_argument("--rate", type=float, default=2000, help="runs a second")
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--backlog", type=int, default=0, help="runs that stand there at once, instead")
    parser.add_argument("--keep-runs", type=float, default=30, help="days")
    parser.add_argument("--keep-bodies", type=float, default=7, help="days")
    given = parser.parse_args()
    keep = {"runs": given.keep_runs, "bodies": given.keep_bodies}
    database = open_history(given.url)
    print(f"{database.engine.dialect.name}, {size(database) / 2**20:,.0f} MiB; {machine()}")
    print(f"to delete: {still_due(database, keep)}", flush=True)
    with site("os") as running:
        kept = {name: f"{days * 24:g}h" for name, days in keep.items()}
        running.configure("history", url=given.url, keep_runs=kept["runs"], keep_bodies=kept["bodies"])
        uvloop.run(measure(running, database, given))
    print(f"to delete: {still_due(database, keep)}; {size(database) / 2**20:,.0f} MiB")
    database.close()


if __name__ == "__main__":
    main()
