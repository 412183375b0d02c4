"""A ticket in a worker's hands: its lease, its answers, and a next delivery that it takes over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from consumers.execution import Execution
from consumers.held import Held
from consumers.lease import LeaseKeeper
from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.jetstream.delivery import Delivery


class FakeBus:
    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []

    async def send(self, subject: str, body: bytes) -> None:
        self.sent.append((subject, body))


class FakeLeases:
    def __init__(self) -> None:
        self.held: dict[str, Callable[[], None]] = {}

    def hold(self, reply: str, on_expired: Callable[[], None], since: float) -> None:
        assert since > 0
        self.held[reply] = on_expired

    def drop(self, reply: str) -> None:
        self.held.pop(reply, None)


class FakeExecution:
    def __init__(self) -> None:
        self.lost = False
        self.over = asyncio.Event()

    async def lingering(self) -> None:
        await self.over.wait()


def _reply(seq: int, attempt: int) -> str:
    return f"$JS.ACK.TICKETS.task-t.{attempt}.{seq}.{seq}.1700000000000000000.0"


def _delivery(bus: FakeBus, seq: int = 7, attempt: int = 1) -> Delivery:
    return Delivery(
        cast("Bus", bus), subject="tickets.t.r.1", body=b"", headers=None, reply=_reply(seq, attempt)
    )


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus()


@pytest.fixture
def leases() -> FakeLeases:
    return FakeLeases()


@pytest.fixture
def expired() -> list[int]:
    return []


@pytest.fixture
def held(bus: FakeBus, leases: FakeLeases, expired: list[int]) -> Held:
    ticket = Held(_delivery(bus), "r", cast("LeaseKeeper", leases))
    ticket.hold(lambda: expired.append(1))
    return ticket


async def test_answers_end_the_lease_before_they_are_sent(
    held: Held, bus: FakeBus, leases: FakeLeases
) -> None:
    assert list(leases.held) == [_reply(7, 1)]
    await held.ack()
    assert (bus.sent, leases.held) == ([(_reply(7, 1), b"+ACK")], {})
    held.drop()


@pytest.mark.parametrize("answer", ["ack", "nak"])
async def test_answers_wait_for_what_still_executes(
    held: Held, bus: FakeBus, leases: FakeLeases, answer: str
) -> None:
    executing = FakeExecution()
    held.execution = cast("Execution", executing)
    answering: asyncio.Task[Any] = asyncio.create_task(getattr(held, answer)())
    await asyncio.sleep(0)
    assert (bus.sent, len(leases.held)) == ([], 1)
    executing.over.set()
    await answering
    assert (len(bus.sent), leases.held) == (1, {})


async def test_an_expired_ticket_is_not_given_back_but_may_be_acknowledged(
    held: Held, bus: FakeBus, leases: FakeLeases, expired: list[int]
) -> None:
    leases.held[_reply(7, 1)]()
    assert (held.expired, expired) == (True, [1])
    await held.nak()
    assert bus.sent == []
    await held.ack()
    assert bus.sent == [(_reply(7, 1), b"+ACK")]


async def test_the_next_delivery_is_taken_over_with_its_lease(
    held: Held, bus: FakeBus, leases: FakeLeases
) -> None:
    executing = FakeExecution()
    executing.over.set()
    held.execution = cast("Execution", executing)
    leases.held[_reply(7, 1)]()
    assert held.adopts(_delivery(bus, attempt=2))
    assert (held.expired, list(leases.held)) == (False, [_reply(7, 2)])
    assert held.adopts(_delivery(bus, attempt=3))
    await held.nak()
    assert bus.sent == [(_reply(7, 3), b"-NAK")]


@pytest.mark.parametrize(
    ("seq", "attempt", "lost", "executing"),
    [(8, 2, False, True), (7, 3, False, True), (7, 1, False, True), (7, 2, True, True), (7, 2, False, False)],
)
async def test_no_other_delivery_is_taken_over(  # noqa: PLR0913 - three fakes and a table
    held: Held, bus: FakeBus, leases: FakeLeases, *, seq: int, attempt: int, lost: bool, executing: bool
) -> None:
    """Another ticket; somebody had it in between; a late copy; a lost run; one that never executed."""
    if executing:
        fake = FakeExecution()
        fake.lost = lost
        held.execution = cast("Execution", fake)
    leases.held[_reply(7, 1)]()
    assert not held.adopts(_delivery(bus, seq=seq, attempt=attempt))
