"""Acknowledged publishes: the lean bus beside `nc.request` and `js.publish` of nats-py, medians over rounds.

python benchmarks/bus.py [nats://127.0.0.1:4222]
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import nats

from tidemill.kernel.jetstream.bus import Bus

MESSAGES, FLIGHT, ROUNDS, BODY = 20_000, 256, 5, b"x" * 200
Publish = Callable[[str, bytes], Awaitable[object]]


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def round_of(publish: Publish) -> tuple[float, float]:
    """Return messages per second and microseconds of CPU for each."""
    left = iter(range(MESSAGES))

    async def sender() -> None:
        for number in left:
            await publish(f"bench.{number % 100}", BODY)

    started, used = time.perf_counter(), cpu()
    await asyncio.gather(*(sender() for _ in range(FLIGHT)))
    return MESSAGES / (time.perf_counter() - started), (cpu() - used) / MESSAGES * 1e6


async def main(url: str) -> None:
    bus = await Bus.connect([url], name="bench")
    client = await nats.connect(url)
    stream = client.jetstream()
    await bus.api("STREAM.CREATE.BENCH", {"name": "BENCH", "subjects": ["bench.>"], "max_msgs": 200_000})
    ways: dict[str, Publish] = {
        "lean bus": bus.publish,
        "nc.request": lambda subject, body: client.request(subject, body, timeout=5),
        "js.publish": stream.publish,
    }
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, publish in ways.items():
            results[name].append(await round_of(publish))
    for name, rounds in results.items():
        rate, cost = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{name:12} {rate:8.0f} publishes/s  {cost:5.1f} us CPU each")
    await bus.api("STREAM.DELETE.BENCH")
    await client.close()
    await bus.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222"))
