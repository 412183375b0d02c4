"""The logbook in front of a broker that does as it is told."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from gateway import logbook
from gateway.answer import Answer
from gateway.logbook import BURST, MOST_LINE, MOST_WAITING, Logbook
from gateway.metrics import Metrics
from gateway.outcome import Outcome
from gateway.reason import Reason
from gateway.receipt import Taken
from gateway.recipes.presets import preset
from gateway.redaction import Redaction
from gateway.verdict import Refused
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import BrokerError, BrokerUnavailableError
from tidemill.kernel.jetstream.bus import Stored
from tidemill.kernel.jetstream.messages import TOO_LARGE
from tidemill.kernel.subjects import Names

ANSWER = Answer(202, b"", b"")
EVENT = Taken(Envelope(id="e1", source="github", type="github.push", raw=b"{}"), "accepted", 7)
TOOK = Outcome(ANSWER, "accepted", 2, [EVENT.entry()], 0)
REFUSED = Outcome(Answer(401, b"", b""), "refused", 7, refused=Refused(401, "signature_mismatch", "No."))
SCOPE: dict[str, Any] = {
    "method": "POST",
    "path": "/webhooks/github",
    "headers": [(b"x-hub-signature-256", b"sha256=00"), (b"cookie", b"s"), (b"x-github-event", b"push")],
}


class Bus:
    """Keeps what is published, and fails as it is told."""

    def __init__(self) -> None:
        self.names = Names("ns")
        self.error: BrokerError | None = None
        self.stored: dict[str, tuple[str, bytes]] = {}
        self.keys: list[str] = []

    async def publish(self, subject: str, body: bytes, *, headers: dict[str, str], timeout: float) -> Stored:
        assert timeout > 0
        self.keys.append(headers["Nats-Msg-Id"])
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.stored[headers["Nats-Msg-Id"]] = (subject, body)
        return Stored("DELIVERIES", 1, duplicate=False)

    def entries(self, stream: str) -> list[dict[str, Any]]:
        bodies = [body for subject, body in self.stored.values() if subject == f"ns.{stream}.log"]
        return [orjson.loads(line) for body in bodies for line in body.split(b"\n")]


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def book(bus: Bus) -> Logbook:
    redaction = Redaction({"github": preset("github"), "stripe": preset("stripe")})
    return Logbook(bus, Metrics(), redaction, ("github", "stripe"))  # type: ignore[arg-type] # a fake


def note(book: Logbook, outcome: Outcome, source: str | None = "github", tenant: str | None = None) -> None:
    book.write_down(source, tenant, SCOPE, outcome, 0.0015, "203.0.113.7")


async def test_an_entry_says_what_a_request_came_to_and_no_secret(book: Logbook, bus: Bus) -> None:
    note(book, TOOK, tenant="acme")
    note(book, REFUSED)
    await book.drain()
    (took,), (refused,) = bus.entries("deliveries"), bus.entries("refusals")
    assert took.pop("at") > 1.7e9
    assert took == {
        "source": "github", "tenant": "acme", "verdict": "accepted", "status": 202, "us": 1500,
        "client": "203.0.113.7", "size": 2, "secret": 0,
        "events": [{"id": "e1", "type": "github.push", "status": "accepted", "seq": 7}],
    }  # fmt: skip
    assert (refused["reason"], refused["detail"], refused["path"]) == (
        "signature_mismatch", "No.", "/webhooks/github",
    )  # fmt: skip
    assert refused["headers"] == {"x-hub-signature-256": "***", "cookie": "***", "x-github-event": "push"}


async def test_many_entries_share_a_message_and_a_large_one_names_fewer_events(
    book: Logbook, bus: Bus
) -> None:
    for _ in range(200):
        note(book, TOOK)
    await book.drain()
    assert len(bus.stored) == 1
    assert len(bus.entries("deliveries")) == 200
    long = Taken(EVENT.envelope.model_copy(update={"id": "x" * 1000}), "quarantined", 1, Reason("schema", ""))
    note(book, TOOK._replace(events=[long.entry()] * 5001))
    await book.drain()
    entry = bus.entries("deliveries")[-1]
    assert len(orjson.dumps(entry)) <= MOST_LINE
    assert 500 < len(entry["events"]) < 5001
    assert entry["of"] == 5001
    assert entry["events"][0]["reason"] == "schema"


async def test_strangers_are_sampled_by_source_and_an_entry_counts_those_before_it(
    book: Logbook, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(int(BURST) + 50):
        note(book, REFUSED, None)
    note(book, REFUSED)
    assert book._metrics.records_dropped["refused",] >= 45
    monkeypatch.setattr(book._samples["unknown"].bucket, "_level", 1.0)
    note(book, REFUSED, None)
    await book.drain()
    found = bus.entries("refusals")
    assert [entry["source"] for entry in found].count("github") == 1
    assert found[-1]["missed"] >= 45


async def test_a_broker_that_is_away_is_waited_for_and_nothing_is_written_twice(
    book: Logbook, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logbook, "RETRY", 0.001)
    monkeypatch.setattr(logbook, "INTERVAL", 0.001)
    bus.error = BrokerUnavailableError("away")
    note(book, TOOK)
    running = asyncio.create_task(book.run())
    async with asyncio.timeout(20):
        while len(bus.keys) < 3:  # noqa: ASYNC110 - as the loop goes
            await asyncio.sleep(0.001)
        note(book, TOOK)
        bus.error = None
        while len(bus.stored) < 2:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.001)
    running.cancel()
    assert len(set(bus.keys)) == 2
    assert len(bus.entries("deliveries")) == 2


async def test_what_waits_is_bounded_and_what_is_missing_is_counted(book: Logbook, bus: Bus) -> None:
    many = TOOK._replace(events=[EVENT.entry()] * 5000)
    for _ in range(60):
        note(book, many)
    assert book._metrics.records_dropped["taken",] > 0
    assert book._taken._bytes <= MOST_WAITING
    await book.drain()
    assert book._taken._bytes == 0
    assert len(bus.entries("deliveries")) + book._metrics.records_dropped["taken",] == 60


async def test_a_piece_that_the_broker_never_takes_holds_nothing_up(book: Logbook, bus: Bus) -> None:
    note(book, TOOK)
    bus.error = BrokerError("too large", code=TOO_LARGE)
    await book.drain()
    bus.error = None
    note(book, TOOK)
    await book.drain()
    assert len(bus.entries("deliveries")) == 1


async def test_the_end_of_a_gateway_waits_for_no_broker_that_is_away(book: Logbook, bus: Bus) -> None:
    bus.error = BrokerUnavailableError("away")
    note(book, TOOK)
    await book.drain()
    assert bus.stored == {}
