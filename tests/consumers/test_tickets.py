"""Tickets on a real broker: leases, redeliveries, aliases, limits, and what nobody can read."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from consumers import desk
from consumers.execution import Execution
from tests.consumers.conftest import Mill
from tests.patience import until
from tidemill import Context, Retry, task
from tidemill.kernel.frames import pack
from tidemill.kernel.protocol.records import Claim, encode
from tidemill.kernel.services.runs import Runs

pytestmark = pytest.mark.integration
ONCE = Retry(max_attempts=1)


async def test_a_long_handler_keeps_its_ticket(mill: Mill) -> None:
    calls: list[int] = []

    @task
    async def slow() -> None:
        calls.append(1)
        await asyncio.sleep(2.5)

    async with mill.worker(slow, lease=1.0), mill.worker(slow, lease=1.0):
        view = await mill.ended(await mill.trigger("slow"))
    assert (view.status, calls, view.state.starts) == ("completed", [1], 1)


async def test_a_redelivery_to_the_same_worker_goes_on_with_its_execution(mill: Mill) -> None:
    """What happens when a broker comes back that was away for longer than the lease."""
    calls: list[int] = []

    @task
    async def slow() -> None:
        calls.append(1)
        await asyncio.sleep(2.5)

    async with mill.worker(slow, lease=1.0) as worker:
        leases = worker._leases
        run = await mill.trigger("slow")
        await until(lambda: calls)
        leases._held.clear()
        await until(lambda: leases._held)
        assert (await mill.consumer("slow"))["num_redelivered"] == 1
        view = await mill.ended(run)
    assert (view.status, calls, view.state.starts) == ("completed", [1], 1)
    await mill.empty("TICKETS")


async def test_a_worker_that_lost_its_lease_stops_and_says_nothing(mill: Mill) -> None:
    """The second worker takes over while the first believes to own the run; one end is written."""
    events: list[str] = []

    @task
    async def first_version() -> None:
        events.append("first begins")
        try:
            await asyncio.sleep(30)
        finally:
            events.append("first unwinds")

    @task(id="first_version")
    async def second_version() -> str:
        events.append("second")
        await asyncio.sleep(0.5)
        return "second"

    async with mill.worker(first_version, lease=1.0) as first:
        run = await mill.trigger("first_version")
        await until(lambda: events)
        for puller in first._pullers:
            await puller.stop()
        for lease in first._leases._held.values():
            lease.renewed = float("inf")
        async with mill.worker(second_version, lease=1.0):
            await until(lambda: "second" in events)
            for lease in first._leases._held.values():
                lease.renewed = 0.0
            await until(lambda: "first unwinds" in events)
            view = await mill.ended(run)
    assert events == ["first begins", "second", "first unwinds"]
    assert (view.result, view.state.starts) == ("second", 2)
    assert [entry["kind"] for entry in view.timeline()].count("end") == 1
    await mill.empty("TICKETS")


async def test_workers_respect_the_lease_that_a_consumer_has(mill: Mill) -> None:
    calls: list[int] = []

    @task
    async def slow() -> None:
        calls.append(1)
        await asyncio.sleep(2.5)

    async with mill.worker(slow, lease=1.0):
        pass
    async with mill.worker(slow, lease=100.0):
        view = await mill.ended(await mill.trigger("slow"))
    assert (view.status, calls) == ("completed", [1])


async def test_runs_under_an_old_name_are_served_by_the_renamed_task(mill: Mill) -> None:
    seen: list[tuple[str, str]] = []

    @task(id="old", on="test.push", retry=Retry(max_attempts=2, min_delay=0.5))
    async def before(data: str) -> None:
        seen.append(("old", data))
        raise ConnectionError

    async with mill.worker(before):
        waiting = await mill.trigger("old", "waiting")
        await mill.when(waiting, lambda view: view.status == "delayed")

    @task(id="new", aliases=["old"], on="test.push")
    async def after(data: str) -> str:
        seen.append(("new", data))
        return data

    async with mill.engine(), mill.worker(after):
        assert (await mill.ended(waiting)).result == "waiting"
        mill.runs = Runs(mill.broker)  # with a fresh view of the definitions
        by_old_name = await mill.trigger("old", "triggered")
        assert (await mill.ended(by_old_name)).state.task == "new"
        await mill.post("test.push", "event")
        await until(lambda: ("new", "event") in seen)
        await mill.empty("TICKETS")
    assert seen == [("old", "waiting"), ("new", "waiting"), ("new", "triggered"), ("new", "event")]


async def test_two_workers_together_never_exceed_a_limit(mill: Mill) -> None:
    busy, peak, done = 0, 0, 0

    @task(concurrency=3, retry=Retry(max_attempts=2, min_delay=0.05))
    async def limited(number: int, ctx: Context) -> None:
        nonlocal busy, peak, done
        busy += 1
        peak = max(peak, busy)
        await asyncio.sleep(0.02)
        busy -= 1
        if number % 5 == 0 and ctx.attempt == 1:
            raise ConnectionError
        done += 1

    async with mill.worker(limited), mill.worker(limited):
        for number in range(40):
            await mill.trigger("limited", number)
        await until(lambda: done == 40)
    assert peak == 3


async def test_a_deleted_consumer_comes_back_with_its_limit(mill: Mill) -> None:
    @task(concurrency=2)
    async def work() -> None: ...

    async with mill.worker(work):
        stream, consumer = mill.names.stream("TICKETS"), mill.names.consumer_of("work")

        async def pulled() -> bool:
            return bool((await mill.consumer("work"))["num_waiting"])

        await until(pulled)
        await mill.broker.bus.api(f"CONSUMER.DELETE.{stream}.{consumer}")
        assert (await mill.ended(await mill.trigger("work"))).status == "completed"
    assert (await mill.consumer("work"))["config"]["max_ack_pending"] == 2


async def test_tickets_and_journals_that_nobody_can_read_become_dead_letters(
    mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "UNREADABLE_LIMIT", 2)
    calls: list[int] = []

    @task
    async def work() -> None:
        calls.append(1)

    bus, names = mill.broker.bus, mill.names
    async with mill.worker(work, lease=1.0):
        delayed = await mill.trigger("work", delay=0.5)
        tail = await mill.broker.journal.tail_leader(delayed)
        assert tail is not None
        newer = pack({"kind": "hologram", "rid": "x"})
        seq = await mill.broker.journal.append(delayed, newer, expect=tail.seq)
        await bus.publish(names.subject("tickets", "work", "no-number"), b"{}")
        await bus.publish(names.ticket("work", "run_x", 1), b'{"kind":"created" broken\n')
        await bus.publish(names.ticket("work", delayed, seq), b'{"kind":"signal"}\n')
        letters = await until(lambda: _letters(mill, 4))
    assert not calls
    reasons = sorted(letter.facts["attempts"][0]["message"] for letter in letters)
    assert any("no ticket's subject" in reason for reason in reasons)
    assert any("its first line is no JSON" in reason for reason in reasons)
    assert sum("hologram" in reason for reason in reasons) == 2
    assert {letter.facts["outcome"] for letter in letters} == {"undecodable"}
    assert await mill.count("TICKETS") == 0


async def _letters(mill: Mill, number: int) -> list[Any]:
    letters = await mill.letters()
    return letters if len(letters) == number else []


async def test_a_fault_of_ours_is_no_endless_loop_and_costs_no_place(
    mill: Mill, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: Execution) -> None:
        raise LookupError("a bug in the house")

    @task
    async def work() -> None: ...

    async with mill.worker(work, slots=2, lease=1.0) as worker:
        with monkeypatch.context() as patch:
            patch.setattr(Execution, "conclude", fail)
            runs = [await mill.trigger("work") for _ in range(2)]
            views = [await mill.ended(run) for run in runs]
        assert {view.status for view in views} == {"crashed"}
        assert (await mill.ended(await mill.trigger("work"))).status == "completed"
        await until(lambda: worker._shared.budget.free == 2 - sum(p._share.held for p in worker._pullers))
    assert not worker._shared.tickets
    assert "a bug in the house" in caplog.text
    assert await mill.count("DEAD") == 2


async def test_a_second_ticket_of_a_running_run_is_a_duplicate(mill: Mill) -> None:
    calls: list[int] = []
    release = asyncio.Event()

    @task
    async def work() -> None:
        calls.append(1)
        await release.wait()

    async with mill.worker(work):
        run = await mill.trigger("work")
        await until(lambda: calls)
        epoch = (await mill.runs.get(run)).state.epoch
        await mill.broker.bus.publish(mill.names.ticket("work", run, epoch), pack({"kind": "signal"}))

        async def one_left() -> bool:
            return await mill.count("TICKETS") == 1

        await until(one_left)
        release.set()
        assert (await mill.ended(run)).status == "completed"
    assert calls == [1]
    await mill.empty("TICKETS")


async def test_a_ticket_of_a_closed_run_never_runs(mill: Mill) -> None:
    calls: list[int] = []

    @task
    async def work() -> None:
        calls.append(1)

    async with mill.worker(work):
        await mill.broker.bus.publish(mill.names.ticket("work", "run_gone", 7), pack({"kind": "signal"}))
        await mill.empty("TICKETS")
    assert not calls
    assert await mill.broker.journal.read_leader("run_gone") == []


async def test_an_old_worker_does_not_set_back_what_a_newer_one_changed(mill: Mill) -> None:
    @task(id="work", concurrency=2)
    async def old() -> None: ...

    @task(id="work", concurrency=7)
    async def new() -> None: ...

    async with mill.worker(old):
        pass
    async with mill.worker(new):
        pass
    async with mill.worker(old):
        assert (await mill.consumer("work"))["config"]["max_ack_pending"] == 7


async def test_three_owners_that_die_without_progress_crash_the_run(mill: Mill) -> None:
    calls: list[int] = []

    @task
    async def work() -> None:
        calls.append(1)

    async with mill.worker(work):
        pass
    run = await mill.trigger("work")
    for number in range(3):
        tail = await mill.broker.journal.tail_leader(run)
        assert tail is not None
        claim = Claim(rid=os.urandom(4).hex(), q=1, n=number - 10, worker="w-dead")
        await mill.broker.journal.append(run, encode(claim), expect=tail.seq)
    async with mill.worker(work):
        view = await mill.ended(run)
    assert (view.status, calls) == ("crashed", [])
    assert "3 workers" in view.facts()["error"]["message"]
    assert [letter.key for letter in await mill.letters()] == [run]
