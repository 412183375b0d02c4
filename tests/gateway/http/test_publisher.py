"""Large bodies: as blobs, wrapped, and through the quarantine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from gateway import publisher
from gateway.depot import Depot
from gateway.reason import Reason
from gateway.verdict import Quarantined
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import BrokerUnavailableError
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT
from tidemill.kernel.jetstream.bus import Stored
from tidemill.kernel.subjects import Names

if TYPE_CHECKING:
    from conftest import Connect, House


@pytest.mark.integration
@pytest.mark.parametrize(("size", "status"), [(INLINE_LIMIT + 1, "accepted"), (700_000, "quarantined")])
async def test_a_wrapped_body_travels_as_far_as_its_data_fits_a_message(  # noqa: PLR0913, PLR0917 - fixtures
    house: House,
    connect: Connect,
    http_request: Callable[..., bytes],
    signed: Callable[..., dict[str, str]],
    size: int,
    status: str,
) -> None:
    form = urlencode({"payload": '{"zen":"' + "x" * size + '"}'}).encode()
    headers = signed(form, guid="form") | {"content-type": "application/x-www-form-urlencoded"}
    wire = await connect(house.public)
    await wire.send(http_request("/webhooks/github", form, headers))
    assert (await wire.reply()).json()["status"] == status
    if status == "accepted":
        shown = (await house.ask("events/form")).json()
        assert (len(shown["data"]["zen"]), shown["size"]) == (size, len(form))
    else:
        assert (await house.ask("quarantine/form")).json()["reason"]["code"] == "too_large"


@pytest.mark.parametrize("size", [2, INLINE_LIMIT + 1])
async def test_whatever_is_stored_carries_its_delivery_key_as_message_id(size: int) -> None:
    """By which the broker knows a delivery that comes again."""
    sent: list[tuple[str, str]] = []

    class Bus:
        names, max_payload = Names("t"), 2**20

        async def publish(self, subject: str, _: bytes, **given: Any) -> Stored:
            sent.append((subject.split(".")[1], given["headers"]["Nats-Msg-Id"]))
            return Stored("EVENTS", 1, duplicate=False)

    class Blobs:
        async def put(self, *_: object, **__: object) -> str:
            return "blob"

    store = publisher.Publisher(Bus(), Blobs(), events_age=1, quarantine_age=1)  # type: ignore[arg-type] # fakes
    envelope = Envelope(id="1", source="s", type="s.t", deliverykey="the key", raw=b"x" * size)
    await store.accept(envelope)
    await store.accept(envelope, awaited=True)
    await store.quarantine(envelope, Reason("not_json", "x"))
    assert sent == [("events", "the key"), ("events", "the key"), ("quarantine", "the key")]


async def test_one_deadline_holds_for_all_that_a_large_body_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    class SlowBlobs:
        async def put(self, *_: object, **given: float) -> str:
            assert given["timeout"] == publisher.TIMEOUT
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(publisher, "TIMEOUT", 0.01)
    monkeypatch.setattr(publisher, "SLOWEST", 2**40)
    bus = SimpleNamespace(names=Names("t"), max_payload=2**20)
    store = publisher.Publisher(bus, SlowBlobs(), events_age=1, quarantine_age=1)  # type: ignore[arg-type] # fakes
    large = Envelope(id="1", source="s", type="s.t", deliverykey="k", raw=b"x" * (INLINE_LIMIT + 1))
    for attempt in (
        store.accept(large),
        store.quarantine(large, Reason("too_large", "x")),
        store.keep_batch("k", large.raw),
    ):
        store.storing.succeeded()
        with pytest.raises(BrokerUnavailableError, match="weren't stored in time"):
            await attempt
        assert store.storing.problem is not None


async def test_a_window_that_cant_be_looked_up_is_a_failure_to_store() -> None:
    class Away:
        async def word(self, *_: object) -> str:
            raise BrokerUnavailableError("the broker is away")

    bus = SimpleNamespace(names=Names("t"), max_payload=2**20)
    store = publisher.Publisher(bus, None, events_age=1, quarantine_age=1)  # type: ignore[arg-type] # fakes
    depot = Depot(store, None, Away())  # type: ignore[arg-type] # fakes
    envelope = Envelope(id="1", source="s", type="s.t", deliverykey="k", raw=b"{}")
    with pytest.raises(BrokerUnavailableError):
        await depot.store(Quarantined(envelope, Reason("not_json", "x")), "203.0.113.7", window=60)
    assert store.storing.problem == "the broker is away"


@pytest.mark.integration
async def test_a_large_delivery_goes_through_the_quarantine_with_its_bytes(house: House) -> None:
    body = b'{"text": "' + b"x" * 1_000_000 + b'", "n": NaN}'
    assert (await house.deliver(body, guid="big")).json()["status"] == "quarantined"
    assert (await house.ask("quarantine/big?raw=1")).content == body
    await house.ask("quarantine/big/release", {})
    assert (await house.ask("events/big?raw=1")).content == body
    replayed = (await house.ask("events/big/replay", {})).json()
    assert (await house.ask(f"events/{replayed['id']}?raw=1")).content == body
