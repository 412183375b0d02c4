"""Webhook to handler: how long from sending a signed 7 kB GitHub push until its handler begins.

python benchmarks/latency.py [--rate 200] [--seconds 10] [--rounds 3] [--durability os fsync]

Gateway, engine and worker are one process each, beside the broker. Requests are sent at a steady rate over
kept connections; the handler holds its own clock against the time that stands in a header of the request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
import uuid
from pathlib import Path

import httpx
import uvloop
from bench_site import SECRET, Site, machine, site

from gateway.recipes.presets import preset
from gateway.recipes.sign import sign
from tidemill.kernel.settings.secrets import Secret

SAMPLE = Path(__file__).parent.parent / "schemas/github/push/samples/branch.json"


async def post(running: Site, rate: int, seconds: float) -> int:
    """Post at a steady rate; return how many requests were sent."""
    body = json.dumps(json.loads(SAMPLE.read_bytes()), separators=(",", ":")).encode()
    url = f"http://127.0.0.1:{running.public_port}/webhooks/github"
    number, begun = int(rate * seconds), time.monotonic()
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    async with httpx.AsyncClient(limits=limits, timeout=30) as client, asyncio.TaskGroup() as group:
        for index in range(number):
            await asyncio.sleep(max(0.0, begun + index / rate - time.monotonic()))
            group.create_task(one(client, url, body))
    return number


async def one(client: httpx.AsyncClient, url: str, body: bytes) -> None:
    """Post one signed push."""
    headers = sign(
        preset("github"),
        Secret(SECRET),
        body,
        event_type="push",
        event_id=str(uuid.uuid4()),
        timestamp=time.time(),
    )
    answer = await client.post(url, content=body, headers=headers | {"X-Sent-At": str(time.time())})
    answer.raise_for_status()


def measure(durability: str, rate: int, seconds: float) -> tuple[float, float]:
    """Run one round; return the median and the 99th percentile in milliseconds."""
    with site(durability) as running:
        running.start("gateway", "gateway")
        running.start_engine()
        running.start("worker", "worker", "--no-engine", "bench_handlers")
        notes = running.folder / "latencies.txt"
        uvloop.run(post(running, rate, 2))
        warm = len(settled(notes, int(rate * 2)))
        number = uvloop.run(post(running, rate, seconds))
        times = sorted(settled(notes, warm + number)[warm:])
    return times[len(times) // 2] * 1000, times[len(times) * 99 // 100] * 1000


def settled(notes: Path, number: int) -> list[float]:
    """Wait until so many handlers have noted their time."""
    deadline = time.monotonic() + 60
    notes.touch()
    while len(lines := notes.read_text(encoding="ascii").splitlines()) < number:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(lines)} of {number} handlers ran")
        time.sleep(0.1)
    return [float(line) for line in lines]


def main() -> None:
    """Print the medians over all rounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--durability", nargs="+", default=["os", "fsync"], choices=["os", "fsync"])
    options = parser.parse_args()
    print(f"webhook to handler at {options.rate}/s; {machine()}")
    for durability in options.durability:
        rounds = [measure(durability, options.rate, options.seconds) for _ in range(options.rounds)]
        median, high = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{durability:6} p50 {median:.1f} ms, p99 {high:.1f} ms")


if __name__ == "__main__":
    main()
