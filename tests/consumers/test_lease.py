"""Leases: renewed in time while they are held, never again after a renewal came too late."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import cast

import pytest

from consumers.lease import PROGRESS, LeaseKeeper
from tests.patience import PATIENCE, until
from tidemill.kernel.errors import BrokerUnavailableError
from tidemill.kernel.jetstream.bus import Bus


class FakeBus:
    """Counts renewals; refuses them while it is away."""

    def __init__(self) -> None:
        self.renewed: Counter[str] = Counter()
        self.away = False
        self.closed = False
        self.words: set[bytes] = set()

    async def send(self, subject: str, body: bytes) -> None:
        if self.away:
            raise BrokerUnavailableError("away")
        self.words.add(body)
        self.renewed[subject] += 1

    async def close(self) -> None:
        self.closed = True


def _keeper(bus: FakeBus, lease: float) -> LeaseKeeper:
    async def connect() -> Bus:
        return cast("Bus", bus)

    return LeaseKeeper(connect, lease=lease)


async def test_held_tickets_are_renewed_and_dropped_ones_are_not() -> None:
    bus = FakeBus()
    keeper = _keeper(bus, 0.6)
    keeper.start()
    for reply in ("a", "b"):
        keeper.hold(reply, lambda: None, time.monotonic())
    await until(lambda: min(bus.renewed["a"], bus.renewed["b"]) >= 3)
    keeper.drop("a")
    keeper.drop("a")
    await until(lambda: bus.renewed["b"] >= 6)
    before = bus.renewed["a"]
    await until(lambda: bus.renewed["b"] >= 9)
    assert bus.renewed["a"] == before
    assert bus.words == {PROGRESS}
    keeper.stop()
    assert not keeper.alive
    assert bus.closed


async def test_a_blocked_loop_keeps_its_leases() -> None:
    bus = FakeBus()
    keeper, lost = _keeper(bus, 0.6), threading.Event()
    keeper.start()
    keeper.hold("a", lost.set, time.monotonic())
    given_up = time.monotonic() + PATIENCE
    while bus.renewed["a"] < 5 and time.monotonic() < given_up:  # more than a lease takes
        time.sleep(0.2)  # noqa: ASYNC251 - what handlers do
    assert bus.renewed["a"] >= 5
    assert not lost.is_set()
    keeper.stop()


async def test_a_lease_that_could_not_be_renewed_is_never_renewed_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = FakeBus()
    keeper, lost = _keeper(bus, 0.3), threading.Event()
    bus.away = True
    keeper.start()
    keeper.hold("a", lost.set, time.monotonic())
    await until(lost.is_set)
    bus.away = False
    keeper.hold("b", lost.set, time.monotonic())
    await until(lambda: bus.renewed["b"] >= 2)
    assert bus.renewed["a"] == 0
    keeper.stop()
    assert caplog.text.count("aren't renewed") == 1


async def test_a_ticket_that_was_delivered_long_ago_is_lost_at_once() -> None:
    bus = FakeBus()
    keeper, lost = _keeper(bus, 0.3), threading.Event()
    keeper.start()
    keeper.hold("a", lost.set, time.monotonic() - 1)
    await until(lost.is_set)
    assert bus.renewed["a"] == 0
    keeper.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_dies_says_why() -> None:
    async def refuse() -> Bus:
        raise BrokerUnavailableError("nobody there")

    keeper = LeaseKeeper(refuse, lease=1)
    keeper.start()
    await until(lambda: not keeper.alive)
    assert isinstance(keeper.failure, BrokerUnavailableError)
    keeper.stop()
