from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tidemill.kernel import clock
from tidemill.kernel.errors import StreamFullError, WrongSequenceError
from tidemill.kernel.jetstream.task_consumers import ensure_task_consumer
from tidemill.kernel.jetstream.topology import TopologyLimits, apply, diff, wanted

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus


def sentences(changes: object) -> list[str]:
    assert isinstance(changes, list)
    return [str(change) for change in changes]


async def test_a_second_apply_changes_nothing(bus: Bus) -> None:
    topology = wanted(bus.names)
    planned = await diff(bus, topology)
    assert len(planned) == len(topology.streams) + len(topology.consumers)
    assert f"stream {bus.names.stream('EVENTS')}: created" in sentences(planned)
    assert await apply(bus, topology) == planned
    assert await diff(bus, topology) == []
    assert await apply(bus, topology) == []


async def test_concurrent_callers_agree(bus: Bus) -> None:
    topology = wanted(bus.names)
    await asyncio.gather(*(apply(bus, topology) for _ in range(4)))
    assert await diff(bus, topology) == []


@pytest.mark.parametrize(
    ("window", "events_age", "expected"), [(7200.0, 604800.0, 7200), (7200.0, 60.0, 60), (7200.0, 0.0, 7200)]
)
async def test_events_and_quarantine_recognise_a_delivery_for_the_whole_window(
    bus: Bus, window: float, events_age: float, expected: int
) -> None:
    """Unless an event isn't kept as long: the broker takes no window that is longer."""
    limits = TopologyLimits(events_max_age=events_age, duplicate_window=window)
    await apply(bus, wanted(bus.names, limits))
    for name, seconds in (("EVENTS", expected), ("QUARANTINE", 7200)):
        config = (await bus.api(f"STREAM.INFO.{bus.names.stream(name)}"))["config"]
        assert config["duplicate_window"] == seconds * 10**9


async def test_an_upgrade_says_what_it_changes(bus: Bus) -> None:
    await apply(bus, wanted(bus.names))
    newer = wanted(bus.names, TopologyLimits(events_max_bytes=1 << 30, records_max_age=3600))
    wished = await diff(bus, newer)
    assert sentences(wished) == [
        f"stream {bus.names.stream('EVENTS')}: max_bytes -1 -> 1073741824",
        f"stream {bus.names.stream('RECORDS')}: max_age 604800 s -> 3600 s",
    ]
    assert await apply(bus, newer) == wished
    assert await diff(bus, newer) == []


async def test_what_the_broker_cannot_change_is_refused_in_words(bus: Bus) -> None:
    topology = wanted(bus.names)
    await apply(bus, topology)
    stream = next(stream for stream in topology.streams if stream.name == bus.names.stream("SIGNALS"))
    other = replace(stream, config={**stream.config, "storage": "memory", "description": "new"})
    changes = await apply(bus, replace(topology, streams=(other,)))
    assert sorted(change.kind for change in changes) == ["changed", "refused"]
    assert any("storage file -> memory refused" in text for text in sentences(changes))
    info = await bus.api(f"STREAM.INFO.{stream.name}")
    assert info["config"]["description"] == "new"
    assert info["config"]["storage"] == "file"


async def test_what_an_operator_set_beside_it_stays(bus: Bus) -> None:
    topology = wanted(bus.names)
    await apply(bus, topology)
    name = bus.names.stream("EVENTS")
    config = (await bus.api(f"STREAM.INFO.{name}"))["config"] | {"description": "ours"}
    await bus.api(f"STREAM.UPDATE.{name}", config)
    assert await diff(bus, topology) == []
    await apply(bus, wanted(bus.names, TopologyLimits(events_max_bytes=1 << 20)))
    assert (await bus.api(f"STREAM.INFO.{name}"))["config"]["description"] == "ours"


async def test_a_task_consumer_is_created_once_and_changes_its_limit_alone(bus: Bus) -> None:
    await apply(bus, wanted(bus.names))
    created = await ensure_task_consumer(bus, "my.task", limit=5)
    assert created is not None
    assert created.kind == "created"
    assert await ensure_task_consumer(bus, "my.task", limit=5, ack_wait=99) is None
    changed = await ensure_task_consumer(bus, "my.task", limit=None)
    assert str(changed).endswith("max_ack_pending 5 -> -1")
    stream, consumer = bus.names.stream("TICKETS"), bus.names.consumer_of("my.task")
    config = (await bus.api(f"CONSUMER.INFO.{stream}.{consumer}"))["config"]
    assert config["filter_subject"] == bus.names.tickets_of("my.task")
    assert config["ack_wait"] == 12_000_000_000
    assert config["max_deliver"] == -1


async def test_a_scheduled_ticket_fires_and_a_ticket_published_for_it_cancels_it(bus: Bus) -> None:
    await apply(bus, wanted(bus.names))
    names, stream = bus.names, bus.names.stream("TICKETS")

    async def schedule(run: str, seconds: float) -> None:
        due = clock.rfc3339(clock.now() + timedelta(seconds=seconds))
        headers = {"Nats-Schedule": f"@at {due}", "Nats-Schedule-Target": names.ticket("t", run, 1)}
        await bus.publish(names.timer("t", run, 1), b"body", headers=headers)

    async def subjects() -> set[str]:
        info = await bus.api(f"STREAM.INFO.{stream}", {"subjects_filter": ">"})
        return set(info["state"].get("subjects") or {})

    await schedule("run_a", 3600)
    assert await subjects() == {names.timer("t", "run_a", 1)}
    headers = {"Nats-Scheduler": names.timer("t", "run_a", 1), "Nats-Schedule-Next": "purge"}
    await bus.publish(names.ticket("t", "run_a", 1), headers=headers)
    assert await subjects() == {names.ticket("t", "run_a", 1)}
    await schedule("run_b", 0.05)
    async with asyncio.timeout(10):
        while names.ticket("t", "run_b", 1) not in await subjects():  # noqa: ASYNC110 - a stream has no event
            await asyncio.sleep(0.05)


async def test_full_events_refuse_instead_of_losing(bus: Bus) -> None:
    await apply(bus, wanted(bus.names, TopologyLimits(events_max_bytes=20_000)))
    subject = bus.names.event("github", "push")
    publishes = [bus.publish(subject, b"x" * 1000) for _ in range(30)]
    outcomes = await asyncio.gather(*publishes, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert 0 < len(refused) < 30
    assert all(isinstance(outcome, StreamFullError) for outcome in refused)
    info = await bus.api(f"STREAM.INFO.{bus.names.stream('EVENTS')}")
    assert info["state"]["first_seq"] == 1


async def test_the_journal_takes_tombstones(bus: Bus) -> None:
    await apply(bus, wanted(bus.names))
    subject = bus.names.journal("run_a")
    tail = (await bus.publish(subject, b"one")).seq
    expect = {"Nats-Expected-Last-Subject-Sequence": str(tail), "Nats-Rollup": "sub", "Nats-TTL": "60s"}
    await bus.publish(subject, headers=expect)
    with pytest.raises(WrongSequenceError):
        await bus.publish(subject, headers=expect)


async def test_a_window_longer_than_the_age_is_cut(bus: Bus) -> None:
    topology = wanted(bus.names, TopologyLimits(events_max_age=60, duplicate_window=3600))
    await apply(bus, topology)
    assert await diff(bus, topology) == []
