"""Suspects: runs whose next owner is the last that may die are executed one at a time, whatever happens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, cast

import pytest

from consumers.held import Held
from consumers.isolation import Isolation
from tests.consumers.conftest import Mill
from tests.patience import until
from tidemill import task
from tidemill.kernel.protocol.records import Claim, encode


def _suspects(number: int) -> list[Held]:
    return [cast("Held", object()) for _ in range(number)]


def _entering(isolation: Isolation, suspects: list[Held], inside: list[Held]) -> list[asyncio.Task[None]]:
    async def enter(suspect: Held) -> None:
        await isolation.enter(suspect)
        inside.append(suspect)

    return [asyncio.create_task(enter(suspect)) for suspect in suspects]


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_suspects_enter_one_at_a_time_in_their_order() -> None:
    isolation, suspects, inside = Isolation(), _suspects(4), list[Held]()
    _entering(isolation, suspects, inside)
    for number, suspect in enumerate(suspects, 1):
        await _settle()
        assert inside == suspects[:number]
        isolation.leave(suspect)
    await isolation.enter(suspects[0])


async def test_who_is_inside_does_not_wait_for_itself() -> None:
    isolation, [first, second], inside = Isolation(), _suspects(2), list[Held]()
    _entering(isolation, [first, first, second], inside)
    await _settle()
    assert inside == [first, first]
    isolation.leave(first)
    await _settle()
    assert inside == [first, first, second]


async def test_who_never_entered_lets_nobody_in() -> None:
    isolation, suspects, inside = Isolation(), _suspects(3), list[Held]()
    _entering(isolation, suspects[:2], inside)
    await _settle()
    isolation.leave(suspects[2])
    await _settle()
    assert inside == suspects[:1]


@pytest.mark.parametrize("moment", ["while it waits", "when its turn has just come"])
async def test_a_cancelled_wait_keeps_nobody_out(moment: str) -> None:
    isolation, suspects, inside = Isolation(), _suspects(3), list[Held]()
    tasks = _entering(isolation, suspects, inside)
    await _settle()
    if moment == "while it waits":
        tasks[1].cancel()
        await _settle()
        isolation.leave(suspects[1])
        isolation.leave(suspects[0])
    else:
        isolation.leave(suspects[0])
        tasks[1].cancel()
        await _settle()
        isolation.leave(suspects[1])
    await _settle()
    assert tasks[1].cancelled()
    assert inside == [suspects[0], suspects[2]]


async def test_once_it_is_lifted_nobody_waits() -> None:
    isolation, suspects, inside = Isolation(), _suspects(4), list[Held]()
    tasks = _entering(isolation, suspects[:3], inside)
    await _settle()
    tasks[2].cancel()
    isolation.lift()
    await isolation.enter(suspects[3])
    await _settle()
    assert inside == suspects[:2]
    for suspect in suspects:
        isolation.leave(suspect)


async def _trigger_suspect(mill: Mill, name: str, *, ticket: int) -> str:
    """Start a run that two workers have died of, which had its ticket, the `ticket`-th of the stream."""
    run = await mill.trigger(name)
    for number in range(2):
        tail = await mill.broker.journal.tail_leader(run)
        assert tail is not None
        claim = Claim(rid=os.urandom(4).hex(), q=ticket, n=number - 10, worker="w-dead")
        await mill.broker.journal.append(run, encode(claim), expect=tail.seq)
    return run


class Bench:
    """A task whose runs go on until they are let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go = asyncio.Event()

        @task
        async def suspect() -> None:
            await self._work("suspect")

        @task
        async def fresh() -> None:
            await self._work("fresh")

        self.tasks = (suspect, fresh)

    async def _work(self, name: str) -> None:
        self.begun.append(name)
        await self.go.wait()

    async def suspects(self, mill: Mill, number: int) -> list[str]:
        """Start suspects, before anybody serves their task."""
        async with mill.worker(*self.tasks):
            pass
        return [await _trigger_suspect(mill, "suspect", ticket=q) for q in range(1, number + 1)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def _waiting(worker: Any, number: int) -> Callable[[], bool]:
    return lambda: len(worker._shared.isolation._waiting) == number


@pytest.mark.integration
async def test_suspects_are_executed_one_at_a_time_and_others_beside_them(mill: Mill, bench: Bench) -> None:
    suspects = await bench.suspects(mill, 3)
    async with mill.worker(*bench.tasks, lease=1.0) as worker:
        await until(_waiting(worker, 2))
        fresh = await mill.trigger("fresh")
        await until(lambda: "fresh" in bench.begun)
        assert sorted(bench.begun) == ["fresh", "suspect"]
        await asyncio.sleep(1.5)  # longer than their lease, which is kept while they wait
        assert sorted(bench.begun) == ["fresh", "suspect"]
        bench.go.set()
        views = [await mill.ended(run) for run in (*suspects, fresh)]
    assert [(view.status, view.state.starts) for view in views] == [("completed", 3)] * 3 + [("completed", 1)]
    assert not worker._shared.tickets
    await mill.empty("TICKETS")


@pytest.mark.integration
async def test_a_suspect_whose_lease_ran_out_while_it_waited_comes_again(mill: Mill, bench: Bench) -> None:
    suspects = await bench.suspects(mill, 2)
    async with mill.worker(*bench.tasks, lease=1.0) as worker:
        await until(_waiting(worker, 1))
        waiting = next(iter(worker._shared.isolation._waiting))
        for lease in worker._leases._held.values():
            if lease.reply == waiting._delivery.reply:
                lease.renewed = 0.0
        await until(lambda: waiting not in worker._shared.isolation._waiting)
        await until(_waiting(worker, 1))
        bench.go.set()
        views = [await mill.ended(run) for run in suspects]
    assert [(view.status, view.state.starts) for view in views] == [("completed", 3)] * 2
    await mill.empty("TICKETS")


@pytest.mark.integration
async def test_a_worker_that_stops_gives_waiting_suspects_back_unharmed(mill: Mill, bench: Bench) -> None:
    suspects = await bench.suspects(mill, 3)
    async with mill.worker(*bench.tasks, lease=60.0, shutdown_timeout=0.1) as worker:
        await until(_waiting(worker, 2))
    assert bench.begun == ["suspect"]
    states = [(await mill.runs.get(run)).state for run in suspects]
    assert [(state.starts, state.claims) for state in states] == [(3, 2)] * 3
    bench.go.set()
    async with mill.worker(*bench.tasks, lease=60.0):  # they come at once, not when a lease has run out
        for run in suspects:
            assert (await mill.ended(run)).status == "completed"


@pytest.mark.integration
async def test_a_cancelled_suspect_waits_for_nobody(mill: Mill, bench: Bench) -> None:
    suspects = await bench.suspects(mill, 2)
    async with mill.engine("mailman"):
        assert await mill.runs.signal(suspects[1], "cancel") == "done"
        async with mill.worker(*bench.tasks):
            assert (await mill.ended(suspects[1])).status == "cancelled"
            bench.go.set()
            assert (await mill.ended(suspects[0])).status == "completed"
