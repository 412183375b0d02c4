from __future__ import annotations

import asyncio
import json

from gateway.metrics import Metrics
from gateway.recorder import QUEUE_LENGTH, Recorder, TokenBucket
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import BrokerUnavailableError
from tidemill.kernel.jetstream.bus import Stored
from tidemill.kernel.subjects import Names

FACTS = {"type": "github.push", "findings": []}


class Bus:
    def __init__(self) -> None:
        self.names = Names("ns")
        self.away = False
        self.stored: list[tuple[str, bytes]] = []
        self.asked = asyncio.Event()
        self.idle = True

    async def publish(self, subject: str, body: bytes, *, timeout: float) -> Stored:
        assert timeout > 0
        self.asked.set()
        self.idle = False
        await asyncio.sleep(0)
        self.idle = True
        if self.away:
            raise BrokerUnavailableError("away")
        self.stored.append((subject, body))
        return Stored("RECORDS", 1, duplicate=False)


async def run_through(recorder: Recorder, bus: Bus) -> None:
    task = asyncio.create_task(recorder.run())
    async with asyncio.timeout(20):
        while recorder._queue.qsize() or not bus.idle:  # noqa: ASYNC110 - the queue tells nobody that it is empty
            await asyncio.sleep(0)
    task.cancel()


async def test_records_say_what_happened() -> None:
    bus, metrics = Bus(), Metrics()
    recorder = Recorder(bus, metrics)  # type: ignore[arg-type] # a fake
    recorder.drift("github", FACTS)
    envelope = Envelope(id="e1", source="github", type="github.push", deliverykey="key1")
    recorder.duplicate(envelope, "203.0.113.7")
    await run_through(recorder, bus)
    (drift_at, drift), (duplicate_at, duplicate) = bus.stored
    assert drift_at.startswith("ns.records.drift.github.")
    assert duplicate_at == "ns.records.duplicate.github.key1"
    facts = json.loads(drift)
    assert (facts["type"], facts["missed"]) == ("github.push", 0)
    assert json.loads(duplicate)["id"] == "e1"


async def test_under_load_records_are_sampled_and_the_missed_are_counted() -> None:
    bus, metrics = Bus(), Metrics()
    recorder = Recorder(bus, metrics)  # type: ignore[arg-type] # a fake
    recorder._buckets["drift"] = TokenBucket(rate=0, burst=3, clock=lambda: 0.0)
    for _ in range(10):
        recorder.drift("github", FACTS)
    assert recorder._queue.qsize() == 3
    assert metrics.records_dropped["drift",] == 7
    recorder._buckets["drift"] = TokenBucket(rate=0, burst=1, clock=lambda: 0.0)
    recorder.drift("github", FACTS)
    await run_through(recorder, bus)
    assert json.loads(bus.stored[-1][1])["missed"] == 7


async def test_a_broker_that_is_away_never_blocks_and_the_queue_is_bounded() -> None:
    bus, metrics = Bus(), Metrics()
    bus.away = True
    recorder = Recorder(bus, metrics)  # type: ignore[arg-type] # a fake
    recorder._buckets["drift"] = TokenBucket(rate=0, burst=1e9)
    task = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)
    for _ in range(QUEUE_LENGTH + 100):
        recorder.drift("github", FACTS)
    await bus.asked.wait()
    await asyncio.sleep(0.01)
    assert recorder._queue.qsize() <= QUEUE_LENGTH
    assert metrics.records_dropped["drift",] >= 100
    task.cancel()


def test_a_bucket_refills_with_time() -> None:
    now = 0.0
    bucket = TokenBucket(rate=2, burst=2, clock=lambda: now)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    now = 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]
    now = 100.0
    assert [bucket.take() for _ in range(3)] == [True, True, False]
