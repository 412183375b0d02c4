"""Pulling and acknowledging: our puller beside `fetch` and `ack` of nats-py, medians over rounds.

python benchmarks/pull.py [nats://127.0.0.1:4222]
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import sys
import time

import nats

from tidemill.kernel.jetstream.budget import Budget
from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.jetstream.delivery import Delivery
from tidemill.kernel.jetstream.pull import Puller

MESSAGES, PLACES, ROUNDS, BODY = 40_000, 256, 3, b"x" * 200
Result = tuple[float, float]


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def fill(bus: Bus, consumer: str) -> None:
    config = {"durable_name": consumer, "ack_policy": "explicit", "max_ack_pending": 20_000}
    await bus.api("STREAM.CREATE.BENCH", {"name": "BENCH", "subjects": ["bench"], "retention": "workqueue"})
    await bus.api(f"CONSUMER.DURABLE.CREATE.BENCH.{consumer}", {"stream_name": "BENCH", "config": config})
    for _ in range(MESSAGES // 500):
        await asyncio.gather(*(bus.publish("bench", BODY) for _ in range(500)))


async def ours(bus: Bus) -> Result:
    budget, done = Budget(PLACES), asyncio.Event()
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()

    async def worker() -> None:
        finished = 0
        while finished < MESSAGES:
            delivery = await arrived.get()
            await delivery.ack()
            budget.give_back()
            finished += 1
        done.set()

    puller = Puller(bus, "BENCH", "ours", budget, arrived.put_nowait)
    started, used = time.perf_counter(), cpu()
    tasks = [asyncio.create_task(puller.run()), asyncio.create_task(worker())]
    await done.wait()
    result = MESSAGES / (time.perf_counter() - started), (cpu() - used) / MESSAGES * 1e6
    await puller.stop()
    await asyncio.gather(*tasks)
    return result


async def theirs(url: str) -> Result:
    client = await nats.connect(url)
    subscription = await client.jetstream().pull_subscribe_bind("theirs", "BENCH")
    started, used = time.perf_counter(), cpu()
    left = MESSAGES
    while left:
        for message in await subscription.fetch(PLACES):
            await message.ack()
            left -= 1
    result = MESSAGES / (time.perf_counter() - started), (cpu() - used) / MESSAGES * 1e6
    await client.close()
    return result


async def main(url: str) -> None:
    bus = await Bus.connect([url], name="bench")
    results: dict[str, list[Result]] = {"puller": [], "fetch + ack": []}
    for _ in range(ROUNDS):
        await fill(bus, "ours")
        results["puller"].append(await ours(bus))
        await bus.api("STREAM.DELETE.BENCH")
        await fill(bus, "theirs")
        results["fetch + ack"].append(await theirs(url))
        await bus.api("STREAM.DELETE.BENCH")
    for name, rounds in results.items():
        rate, cost = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{name:12} {rate:8.0f} messages/s  {cost:5.1f} us CPU each")
    await bus.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222"))
