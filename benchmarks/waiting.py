"""What waiting costs: many runs asleep, many due at once, and parents with many children.

python benchmarks/waiting.py [--asleep 100000] [--due 10000] [--children 100 1000 10000]

Engine and worker are one process each, beside the broker, in `os` mode. Printed are the resident memory of
each process, what stands in the broker, and how late the runs were that were due within one second.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

import uvloop
from bench_site import Site, machine, site

from tidemill.kernel.services.broker import Broker, open_broker
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.trigger import TriggerRequest

IN_FLIGHT = 128


def resident(running: Site) -> str:
    """Return the resident memory of each process."""
    pages = {
        name: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
        for name, pid in running.pids.items()
    }
    return ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in pages.items())


async def state(broker: Broker, stream: str) -> dict[str, Any]:
    """Return a stream's state."""
    found: dict[str, Any] = (await broker.bus.api(f"STREAM.INFO.{broker.names.stream(stream)}", timeout=30))[
        "state"
    ]
    return found


async def waiting_tickets(broker: Broker, task: str) -> int:
    """Return how many tickets of a task are delivered or stored."""
    consumer = f"CONSUMER.INFO.{broker.names.stream('TICKETS')}.{broker.names.consumer_of(task)}"
    info = await broker.bus.api(consumer, timeout=30)
    return int(info["num_pending"]) + int(info["num_ack_pending"])


async def trigger_all(runs: Runs, task: str, payloads: list[bytes]) -> None:
    """Start a run for each payload."""
    places = asyncio.Semaphore(IN_FLIGHT)

    async def one(payload: bytes) -> None:
        async with places:
            await runs.trigger(TriggerRequest(task, payload))

    await asyncio.gather(*(one(payload) for payload in payloads))


async def idle(broker: Broker, task: str) -> None:
    """Wait until no ticket of a task is left."""
    while await waiting_tickets(broker, task):  # noqa: ASYNC110 - the broker has no event for it
        await asyncio.sleep(0.1)


async def asleep(broker: Broker, running: Site, number: int) -> None:
    """Put runs to sleep and print what that holds."""
    print(f"before: {resident(running)}", flush=True)
    begun = time.monotonic()
    moment = time.time() + 86_400
    await trigger_all(Runs(broker), "sleeper", [b"%f" % moment] * number)
    await idle(broker, "sleeper")
    rate = number / (time.monotonic() - begun)
    print(f"{number} runs asleep, put to sleep at {rate:.0f}/s: {resident(running)}")
    tickets, journal = await state(broker, "TICKETS"), await state(broker, "JOURNAL")
    print(
        f"  tickets held or stored: {await waiting_tickets(broker, 'sleeper')}, "
        f"timers {tickets['messages']}, "
        f"journal records {journal['messages']} ({journal['bytes'] / 1e6:.0f} MB)",
        flush=True,
    )


async def fired(broker: Broker, task: str) -> int:
    """Return how many tickets of a task there have ever been."""
    consumer = f"CONSUMER.INFO.{broker.names.stream('TICKETS')}.{broker.names.consumer_of(task)}"
    info = await broker.bus.api(consumer, timeout=30)
    return int(info["num_pending"]) + int(info["delivered"]["consumer_seq"])


async def lateness(broker: Broker, start: float, number: int, before: int) -> list[float]:
    """Watch tickets come out that are due evenly within a second, and return how late each is."""
    late: list[float] = []
    while len(late) < number:
        out, now = await fired(broker, "sleeper") - before, time.time()
        late += [now - (start + index / number) for index in range(len(late), out)]
        await asyncio.sleep(0.02)
    return late


async def due(broker: Broker, running: Site, number: int) -> None:
    """Have runs wake within one second, and print how late they were and how fast they were done."""
    start = time.time() + max(10.0, number / 400)
    moments = [b"%f" % (start + index / number) for index in range(number)]
    await trigger_all(Runs(broker), "sleeper", moments)
    await idle(broker, "sleeper")
    if time.time() > start:
        raise RuntimeError("putting them to sleep took too long: give them more time")
    before = await fired(broker, "sleeper")
    late = await lateness(broker, start, number, before)
    notes = running.folder / "woken.txt"
    while len(lines := notes.read_text().splitlines()) < number:  # noqa: ASYNC110 - another process's
        await asyncio.sleep(0.2)
    woken = [float(line.split()[1]) for line in lines]
    print(
        f"{number} due within 1 s: tickets out {statistics.median(late):.2f} s late in the median, "
        f"{max(late):.2f} s at most; executed at {number / (max(woken) - min(woken)):.0f}/s",
        flush=True,
    )


async def family(broker: Broker, number: int) -> None:
    """Run a parent with children and print what that took."""
    runs = Runs(broker)
    before = (await state(broker, "JOURNAL"))["last_seq"]
    begun = time.monotonic()
    parent = await runs.trigger(TriggerRequest("many", b"%d" % number))
    async with runs.watching(parent.id) as ending:
        while not (view := await runs.get(parent.id)).ended:
            ending.clear()
            try:
                await asyncio.wait_for(ending.wait(), 1)
            except TimeoutError:
                continue
    seconds = time.monotonic() - begun
    written = (await state(broker, "JOURNAL"))["last_seq"] - before
    size = sum(len(str(entry.record)) for entry in view.entries)
    print(
        f"{number:6} children: {view.status} in {seconds:.2f} s, {number / seconds:.0f}/s; "
        f"{written / number:.2f} journal records a child; the parent has {len(view.entries)} of them "
        f"({size / 1e3:.0f} kB)",
        flush=True,
    )


async def measure(asleep_number: int, due_number: int, families: list[int]) -> None:
    """Measure all three on one installation each."""
    print(f"waiting; {machine()}")
    parts = {"asleep": asleep_number, "due": due_number, "children": families}
    for part in [part for part, wanted in parts.items() if wanted]:
        with site("os") as running:
            await asyncio.to_thread(running.start_engine)
            await asyncio.to_thread(running.start, "worker", "worker", "--no-engine", "bench_handlers")
            async with open_broker(Settings.load(running.config), name="benchmark") as broker:
                if part == "asleep":
                    await asleep(broker, running, asleep_number)
                elif part == "due":
                    await due(broker, running, due_number)
                else:
                    for number in families:
                        await family(broker, number)


def main() -> None:
    """Read the words and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--asleep", type=int, default=100_000)
    parser.add_argument("--due", type=int, default=10_000)
    parser.add_argument("--children", type=int, nargs="*", default=[100, 1000, 10_000])
    options = parser.parse_args()
    uvloop.run(measure(options.asleep, options.due, options.children))


if __name__ == "__main__":
    main()
