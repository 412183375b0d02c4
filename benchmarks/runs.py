"""Events to finished runs per second, for a task that does nothing.

python benchmarks/runs.py [--rounds 3] [--runs 40000] [--durability os fsync] [--history off own]

A backlog of events is stored first. Then router (with mailman, closer and sweeper) and worker start as one
process each, beside the broker. Counted is from a tenth to nine tenths of the backlog, by the
acknowledgements of the task's tickets. Ended journals are closed after a second, so that closing is part of
what is measured: `closed/s` is the rate in the same time, `open` a third of the records that stand in the
journal at its end. Both hold against closing what the router has created ahead of the worker. With
`--history off own` each round is measured without the history and with its writer in a process of its own,
in turn; then `behind` is how many messages the history lacked at the end of that time, `caught up` how long
after the last run had finished it had all, and each run is counted in it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from dataclasses import dataclass
from typing import Any

import uvloop
from bench_site import Site, machine, site

from consumers.loader import load
from tidemill.history.database import locate
from tidemill.history.reader import HistoryReader
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.services import registry
from tidemill.kernel.services.broker import Broker, open_broker
from tidemill.kernel.services.histories import all_notes, lag
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.subjects import delivery_key

IN_FLIGHT = 256
TASK = "empty"


@dataclass
class Progress:
    """How far the installation is."""

    at: float
    finished: int
    open_records: int
    cpu: dict[str, float]


async def store(broker: Broker, number: int) -> None:
    """Store a backlog of events."""
    places = asyncio.Semaphore(IN_FLIGHT)

    async def one(index: int) -> None:
        async with places:
            key = delivery_key("bench", str(index))
            event = Envelope(
                id=str(index), source="bench", type="bench.empty", deliverykey=key, raw=b'{"a":1}'
            )
            subject = broker.names.event(event.source, event.type)
            await broker.bus.publish(subject, event.to_frame(), headers={"Nats-Msg-Id": key}, timeout=30)

    await asyncio.gather(*(one(index) for index in range(number)))


async def look(broker: Broker, running: Site) -> Progress:
    """Ask the broker how many runs have finished and how many journal records are left."""
    consumer = await info(broker, f"CONSUMER.INFO.TICKETS.{broker.names.consumer_of(TASK)}")
    journal = await info(broker, "STREAM.INFO.JOURNAL")
    finished = consumer["ack_floor"]["consumer_seq"]
    return Progress(time.monotonic(), finished, journal["state"]["messages"], running.cpu())


async def info(broker: Broker, operation: str) -> dict[str, Any]:
    """Ask JetStream's API."""
    return await broker.bus.api(operation, timeout=30)


async def measure(durability: str, number: int, *, history: bool) -> dict[str, float]:
    """Run one round and return its figures."""
    with site(durability) as running:
        settings = Settings.load(running.config)
        async with open_broker(settings, name="benchmark") as broker:
            empty = load(["bench_handlers:empty"])[0]

            await registry.publish(broker.tasks, empty.definition)
            await store(broker, number)
            await asyncio.to_thread(running.start_engine, history=history)
            await asyncio.to_thread(running.start, "worker", "worker", "--no-engine", "bench_handlers")
            first = await reach(broker, running, number // 10)
            last = await reach(broker, running, number * 9 // 10)
            told = await behind(broker)
            if history:
                await reach(broker, running, number)
                told |= {"caught_up": await caught_up(broker, settings, number)}
    runs, seconds = last.finished - first.finished, last.at - first.at
    # Each run leaves three records, and closing it removes them; runs in progress have one or two.
    closed = runs - (last.open_records - first.open_records) / 3
    cpu = {name: (last.cpu[name] - first.cpu[name]) / runs * 1e6 for name in last.cpu}
    left = {"open": max(0.0, last.open_records / 3)}
    return {"rate": runs / seconds, "closed": closed / seconds} | cpu | left | told


async def behind(broker: Broker) -> dict[str, float]:
    """Return how many messages the history lacks now, where one is written."""
    lags = [await lag(broker.bus, note) for note in (await all_notes(broker.history)).values()]
    return {"behind": max(lags)} if lags else {}


async def caught_up(broker: Broker, settings: Settings, number: int) -> float:
    """Wait until the history has everything, count its runs, and return how long that took."""
    began = time.monotonic()
    while True:
        if not (await behind(broker))["behind"]:
            break
        await asyncio.sleep(0.05)
    seconds = time.monotonic() - began
    reader = HistoryReader(locate(settings))
    found = await reader.totals()
    await reader.close()
    if found != {TASK: {"completed": number}}:
        raise RuntimeError(f"the history of {number} runs has {found}")
    return seconds


async def reach(broker: Broker, running: Site, finished: int) -> Progress:
    """Wait until so many runs have finished."""
    while True:
        progress = await look(broker, running)
        if progress.finished >= finished:
            return progress
        await asyncio.sleep(0.1)


def main() -> None:
    """Print the medians over all rounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=40_000)
    parser.add_argument("--durability", nargs="+", default=["os", "fsync"], choices=["os", "fsync"])
    parser.add_argument("--history", nargs="+", default=["off"], choices=["off", "own"])
    options = parser.parse_args()
    print(f"finished runs per second; {machine()}")
    for durability in options.durability:
        number = options.runs if durability == "os" else options.runs // 8
        rounds: dict[str, list[dict[str, float]]] = {history: [] for history in options.history}
        for _ in range(options.rounds):
            for history, measured in rounds.items():
                measured.append(uvloop.run(measure(durability, number, history=history == "own")))
        for history, measured in rounds.items():
            print(f"{durability:6} history {history:4} {summary(measured)}")


def summary(rounds: list[dict[str, float]]) -> str:
    """Return the medians in words."""
    middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    rates = sorted(one["rate"] for one in rounds)
    names = ("broker", "engine", "worker", "history")
    cpu = ", ".join(f"{name} {middle[name]:.0f}" for name in names if name in middle)
    lags = (
        f"; behind {middle['behind']:.0f} messages, caught up {middle['caught_up']:.1f} s after the last run"
        if "behind" in middle
        else ""
    )
    return (
        f"{middle['rate']:6.0f} runs/s ({rates[0]:.0f} to {rates[-1]:.0f}), "
        f"{middle['closed']:.0f} closed/s, {middle['open']:.0f} open; CPU us per run: {cpu}{lags}"
    )


if __name__ == "__main__":
    main()
