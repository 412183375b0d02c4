"""`POST /events`: CloudEvents in all three modes over a socket, as the HTTP binding says.

The scenarios are those of cloudevents/conformance, features/http-protocol-binding.feature, and the rules of
the specification's sections 3.1 to 3.3, restated.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from hypothesis import given
from hypothesis import strategies as st

from gateway.clients import Clients
from gateway.depot import Depot
from gateway.events.attributes import UnsoundEventError, decode_header
from gateway.events.binding import UnreadableError, read
from gateway.events.endpoint import EventApi, envelope_of
from gateway.inbound import Inbound
from gateway.ingress import Ingress
from gateway.metrics import Metrics
from gateway.public import build_public
from gateway.schemas import SchemaStore
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import BrokerUnavailableError
from tidemill.kernel.settings.events import EventKey
from tidemill.kernel.settings.keys import create_key, hash_key
from tidemill.kernel.subjects import delivery_key

if TYPE_CHECKING:
    from conftest import BrokerProcess, Connect, Reply, Store

    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

KEY = create_key()
BINARY = {
    "ce-specversion": "1.0",
    "ce-id": "4242",
    "ce-source": "http://localhost:8080/service",
    "ce-type": "com.example.someevent",
    "content-type": "application/json",
}
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "4242",
    "source": "http://localhost:8080/service",
    "type": "com.example.someevent",
}
STRUCTURED, BATCHED = "application/cloudevents+json", "application/cloudevents-batch+json"


@dataclass
class Service:
    """A listener that takes events, and the keys that it knows."""

    store: Store
    metrics: Metrics
    keys: list[EventKey]
    send: Callable[..., Any]

    async def post(self, body: bytes = b"{}", **headers: str | None) -> Reply:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"authorization": f"Bearer {KEY}"} | given
        named = {name: value for name, value in sent.items() if value is not None}
        reply: Reply = await self.send("/events", body, named)
        return reply

    async def structured(self, document: Any, kind: str = STRUCTURED) -> Reply:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return await self.post(body, content_type=kind)


@pytest.fixture
async def service(
    bundled: SchemaStore,
    store: Store,
    connect: Connect,
    http_request: Callable[..., bytes],
    listening: Callable[..., Any],
) -> AsyncIterator[Service]:
    metrics, keys = Metrics(), [EventKey(name="test", hash=hash_key(KEY))]
    api = EventApi(
        lambda: keys,
        Depot(store, store),  # type: ignore[arg-type] # fakes
        bundled,
        logbook=store,  # type: ignore[arg-type] # the same
        metrics=metrics,
        clients=Clients(),
        max_body=100_000,
    )
    ingress = Ingress({}, store, store, metrics)  # type: ignore[arg-type] # the same

    async def never_wrong() -> dict[str, str]:
        return {}

    async with listening(build_public(ingress, never_wrong, api), []) as listener:

        async def send(path: str, body: bytes, headers: dict[str, str], method: str = "POST") -> Reply:
            wire = await connect(listener.address)
            await wire.send(http_request(path, body, headers, method=method))
            return await wire.reply()

        yield Service(store, metrics, keys, send)


async def test_binary_mode(service: Service) -> None:
    reply = await service.post(
        b'{"message": "Hello World!"}',
        **BINARY,
        ce_time="2018-04-05T03:56:24Z",
        ce_subject="4242-sub",
        ce_dataschema="https://example.com/schema",
        ce_myextension="value",
    )
    assert (reply.status, reply.json()) == (
        202,
        {"id": "4242", "type": "com.example.someevent", "status": "accepted"},
    )
    assert (reply.headers["tidemill-event-id"], reply.headers["tidemill-status"]) == ("4242", "accepted")
    (event,) = service.store.accepted.values()
    assert (event.source, event.subject, event.dataschema) == (
        "http://localhost:8080/service",
        "4242-sub",
        "https://example.com/schema",
    )
    assert event.time == datetime(2018, 4, 5, 3, 56, 24, tzinfo=UTC)
    assert event.extensions == {"myextension": "value"}
    assert (event.raw, event.data) == (b'{"message": "Hello World!"}', {"message": "Hello World!"})
    assert event.deliverykey == delivery_key(event.source, "4242")
    assert "authorization" not in event.headers
    again = await service.post(b'{"message": "Hello World!"}', **BINARY)
    assert again.json()["status"] == "duplicate"


@pytest.mark.parametrize(
    ("content_type", "body", "data"),
    [
        ("application/json", b'{"a": [1]}', {"a": [1]}),
        ("application/json; charset=utf-8", b"null", None),
        ("application/vnd.acme+json", b'"x"', "x"),
        ("text/xml", b'<much wow="xml"/>', '<much wow="xml"/>'),
        ("text/plain", "grüß".encode(), "grüß"),
        ("application/octet-stream", b"\xff\x00", base64.b64encode(b"\xff\x00").decode()),
        (None, b'{"a": 1}', {"a": 1}),
        ("application/json", b"", None),
    ],
)
async def test_data_of_every_kind_in_binary_mode(
    service: Service, content_type: str | None, body: bytes, data: Any
) -> None:
    headers = {**BINARY, "content-type": content_type}
    assert (await service.post(body, **headers)).status == 202
    (event,) = service.store.accepted.values()
    assert (event.raw, event.data) == (body, data)
    assert event.datacontenttype == (content_type or "application/json")


@pytest.mark.parametrize(
    ("attributes", "raw", "data"),
    [
        ({"data": {"much": "wow"}}, b'{"much":"wow"}', {"much": "wow"}),
        ({"datacontenttype": "application/json", "data": "text"}, b'"text"', "text"),
        ({"datacontenttype": "text/xml", "data": "<a/>"}, b"<a/>", "<a/>"),
        ({"datacontenttype": "text/xml", "data": {"a": 1}}, b'{"a":1}', {"a": 1}),
        ({"data_base64": "eyJhIjoxfQ=="}, b'{"a":1}', {"a": 1}),
        ({"datacontenttype": "application/octet-stream", "data_base64": "/wA="}, b"\xff\x00", "/wA="),
        ({}, b"", None),
        ({"data": None, "subject": None}, b"", None),
    ],
)
async def test_structured_mode(service: Service, attributes: dict[str, Any], raw: bytes, data: Any) -> None:
    reply = await service.structured({**EVENT, **attributes, "flag": True, "count": 7})
    assert (reply.status, reply.json()["id"]) == (202, "4242")
    (event,) = service.store.accepted.values()
    assert (event.raw, event.data) == (raw, data)
    assert event.extensions == {"flag": True, "count": 7}


async def test_batched_mode(service: Service) -> None:
    events = [{**EVENT, "id": str(number), "data": {"n": number}} for number in range(100)]
    reply = await service.structured(events, BATCHED)
    assert reply.status == 202
    assert [one["id"] for one in reply.json()["events"]] == [event["id"] for event in events]
    assert {one["status"] for one in reply.json()["events"]} == {"accepted"}
    assert len(service.store.accepted) == 100
    again = await service.structured(events[:2], BATCHED)
    assert again.headers["tidemill-status"] == "duplicate"
    empty = await service.structured([], "Application/CloudEvents-Batch+JSON; charset=UTF-8")
    assert (empty.status, empty.json()) == (202, {"events": []})


async def test_one_unsound_event_refuses_its_batch_and_says_which(service: Service) -> None:
    reply = await service.structured([EVENT, {**EVENT, "id": ""}], BATCHED)
    assert (reply.status, reply.json()["type"]) == (400, "urn:tidemill:problem:event")
    assert "event 1: the attribute id" in reply.json()["detail"]
    assert not service.store.accepted


async def test_a_batch_is_stored_completely_or_503(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    accept = service.store.accept

    async def failing(envelope: Any) -> Any:
        if envelope.id == "2":
            raise BrokerUnavailableError("gone")
        return await accept(envelope)

    monkeypatch.setattr(service.store, "accept", failing)
    events = [{**EVENT, "id": str(number)} for number in range(4)]
    reply = await service.structured(events, BATCHED)
    assert (reply.status, reply.headers["retry-after"]) == (503, "2")


@pytest.mark.parametrize("name", ["ce-id", "ce-source", "ce-type", "ce-specversion"])
async def test_required_attributes_are_required(service: Service, name: str) -> None:
    for value in (None, ""):
        assert (await service.post(**{**BINARY, name: value})).status == 400
    key = name.removeprefix("ce-")
    assert (await service.structured({k: v for k, v in EVENT.items() if k != key})).status == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"ce-specversion": "0.3"},
        {"ce-datacontenttype": "application/json"},
        {"ce-time": "yesterday"},
        {"ce-time": "2018-02-30T03:56:24Z"},
        {"ce-time": "2018-04-05T03:56:24"},
        {"ce-dataschema": "not absolute"},
        {"ce-subject": ""},
        {"ce-source": "a b"},
        {"ce-my-extension": "x"},
        {"ce-data": "x"},
        {"ce-raw": "x"},
        {"ce-deliverykey": "x"},
        {"ce-x": "%C0%A0"},
        {"ce-x": "%00"},
        {"ce-x": "x" * 5000},
        {f"ce-x{number}": "1" for number in range(80)},
    ],
)
async def test_what_is_no_attribute_is_refused(service: Service, headers: dict[str, str]) -> None:
    reply = await service.post(**{**BINARY, **headers})
    assert (reply.status, reply.json()["type"]) == (400, "urn:tidemill:problem:event")
    assert not service.store.accepted


@pytest.mark.parametrize(
    "change",
    [
        {"id": 5},
        {"time": 5},
        {"subject": ["x"]},
        {"ext": {"a": 1}},
        {"ext": 1.5},
        {"ext": 2**31},
        {"EXT": "x"},
        {"data": 1, "data_base64": "MQ=="},
        {"data_base64": "no base64!"},
        {"data_base64": 5},
        {"type": "a\nb"},
        {"type": "t" * 1001},
        {"source": "s" * 1001},
        {"source": "€" * 120},
        {"id": "i" * 401},
        {"data_base64": base64.b64encode(b'{"a":1,"a":2}').decode()},
    ],
)
async def test_a_structured_event_that_is_unsound_is_refused(
    service: Service, change: dict[str, Any]
) -> None:
    assert (await service.structured({**EVENT, **change})).status == 400
    assert not service.store.accepted


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (STRUCTURED, b"{", 400),
        (STRUCTURED, b"[]", 400),
        (STRUCTURED, b'{"id": "1", "id": "2"}', 400),
        (STRUCTURED, b"\xef\xbb\xbf{}", 400),
        (BATCHED, b"{}", 400),
        (BATCHED, b"[1]", 400),
        (BATCHED, json.dumps([EVENT] * 1001).encode(), 413),
        (BATCHED, b"[" + b"{}," * 1000 + b"{}]", 400),
        ("application/cloudevents+avro", b"x", 415),
        ("application/cloudevents+json; charset=utf-16", b"x", 415),
        ("application/cloudevents", b"{}", 415),
    ],
)
async def test_bodies_that_cannot_be_read(service: Service, kind: str, body: bytes, status: int) -> None:
    assert (await service.structured(body, kind)).status == status


async def test_json_data_in_binary_mode_must_be_sound(service: Service) -> None:
    assert (await service.post(b'{"a": NaN}', **BINARY)).status == 400


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        (b'"Euro%20%E2%82%AC"', "Euro €"),
        (b'"a \\"b\\" \\\\"', 'a "b" \\'),
        (b"%e2%82%ac", "€"),
        (b"%2525", "%25"),
        (b"100%", "100%"),
        (b"plain", "plain"),
        (b'"', '"'),
    ],
)
def test_values_of_headers_are_decoded_once(value: bytes, text: str) -> None:
    assert decode_header(value) == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_what_is_percent_encoded_by_the_rules_comes_back(text: str) -> None:
    """Encoded are space, double quote, percent sign and what is outside of U+0021 to U+007E."""
    parts = [
        character
        if "!" <= character <= "~" and character not in '"%'
        else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in text
    ]
    assert decode_header("".join(parts).encode("ascii")) == text


@given(st.binary())
def test_decoding_a_header_is_total(value: bytes) -> None:
    with contextlib.suppress(UnsoundEventError):
        assert isinstance(decode_header(value), str)


async def test_without_a_key_nobody_publishes(service: Service) -> None:
    for headers in (
        {"authorization": None},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer tm_guess"},
        {"authorization": f"Basic {KEY}"},
        {"authorization": "Bearer \xff"},
    ):
        reply = await service.post(**{**BINARY, **headers})
        assert (reply.status, reply.json()["type"]) == (401, "urn:tidemill:problem:api-key")
        assert reply.headers["www-authenticate"].startswith("Bearer")
    service.keys.clear()
    assert (await service.post(**BINARY)).status == 401
    assert not service.store.accepted


async def test_a_key_may_come_as_a_parameter_but_not_twice(service: Service) -> None:
    path = f"/events?access_token={KEY}"
    reply = await service.send(path, b"{}", BINARY)
    assert reply.status == 202
    (event,) = service.store.accepted.values()
    assert KEY not in event.model_dump_json()
    both = await service.send(path, b"{}", {**BINARY, "authorization": f"Bearer {KEY}"})
    assert both.status == 401


async def test_a_key_is_for_some_sources_and_types_and_for_a_time(service: Service) -> None:
    document = service.keys[0].model_dump() | {
        "sources": ("http://localhost:*",),
        "types": ("com.example.*",),
    }
    service.keys[:] = [EventKey.model_validate(document)]
    assert (await service.structured(EVENT)).status == 202
    for change in ({"type": "com.example.some.event"}, {"type": "org.x"}, {"source": "/other"}):
        reply = await service.structured([EVENT, {**EVENT, **change}], BATCHED)
        assert (reply.status, reply.json()["type"]) == (403, "urn:tidemill:problem:scope")
    past = datetime.now(UTC) - timedelta(seconds=1)
    service.keys[:] = [EventKey.model_validate({**document, "until": past})]
    assert (await service.structured(EVENT)).status == 401


async def test_origins_are_allowed_as_the_web_hook_specification_says(service: Service) -> None:
    headers = {"webhook-request-origin": "eventemitter.example.com", "webhook-request-rate": "120"}
    reply = await service.send("/events", b"", headers, "OPTIONS")
    assert reply.status == 200
    assert reply.headers["webhook-allowed-origin"] == "eventemitter.example.com"
    assert (reply.headers["webhook-allowed-rate"], reply.headers["allow"]) == ("120", "POST")
    assert (await service.send("/events", b"", {}, "OPTIONS")).status == 405
    assert (await service.send("/events", b"", {}, "GET")).headers["allow"] == "OPTIONS, POST"


async def test_large_bodies_are_413(service: Service) -> None:
    assert (await service.structured({**EVENT, "data": "x" * 100_000})).status == 413


@pytest.mark.integration
async def test_an_event_on_a_real_broker(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    keys = f'keys = [{{ name = "shop", hash = "{hash_key(KEY)}", types = ["com.example.*"] }}]\n'
    async with housed(settled(broker.url, names, events=keys)) as house:
        url, headers = f"http://{house.public}/events", {"authorization": f"Bearer {KEY}"}
        event = json.dumps({**EVENT, "data": {"n": 1}}).encode()
        sent = await house.client.post(url, content=event, headers={**headers, "content-type": STRUCTURED})
        assert (sent.status_code, sent.json()["status"]) == (202, "accepted")
        shown = (await house.ask("events/4242")).json()
        assert (shown["data"], shown["event"]["type"]) == ({"n": 1}, "com.example.someevent")
        assert shown["event"]["source"] == EVENT["source"]


@pytest.mark.parametrize("mode", ["binary", "structured", "batched"])
@pytest.mark.parametrize(
    ("attributes", "data"),
    [
        ({"datacontenttype": "application/json"}, {"message": "Hello €", "n": [1, None]}),
        ({"datacontenttype": "text/plain"}, "grüße 😀"),
        ({"datacontenttype": "application/octet-stream"}, b"\xff\x00\x01"),
        ({"subject": 'a "b" 50% €/😀', "myextension": "ü x"}, None),
    ],
)
async def test_what_the_official_sdk_sends_arrives(
    service: Service, mode: str, attributes: dict[str, Any], data: Any
) -> None:
    sent = {
        "id": "sdk-1",
        "source": "/sdk",
        "type": "org.example.sdk",
        "time": datetime.now(UTC),
        **attributes,
    }
    event = SdkEvent(sent, data)
    message = to_binary_event(event) if mode == "binary" else to_structured_event(event)
    body, headers = bytes(message.body), dict(message.headers)
    if mode == "batched":  # for which the SDK has only the events
        body, headers = b"[" + body + b"]", {"content-type": BATCHED}
    reply = await service.post(body, **headers)
    assert reply.status == 202, reply
    (found,) = service.store.accepted.values()
    assert (found.id, found.source, found.type, found.time) == (
        "sdk-1",
        "/sdk",
        "org.example.sdk",
        sent["time"],
    )
    assert found.subject == attributes.get("subject")
    assert found.extensions.get("myextension") == attributes.get("myextension")
    wanted = base64.b64encode(data).decode() if isinstance(data, bytes) else data
    assert found.data == wanted
    if isinstance(data, bytes):
        assert found.raw == data


@given(
    headers=st.dictionaries(
        st.sampled_from(
            ["ce-id", "ce-source", "ce-type", "ce-specversion", "ce-time", "ce-x", "content-type"]
        ),
        st.binary(max_size=40) | st.sampled_from([b"1.0", b"application/cloudevents+json", BATCHED.encode()]),
        max_size=7,
    ),
    body=st.binary(max_size=60) | st.sampled_from([b"[{}]", json.dumps(EVENT).encode(), b"[[[]]]", b"null"]),
)
def test_reading_a_request_is_total(headers: dict[str, bytes], body: bytes) -> None:
    raw = [(name.encode(), value) for name, value in headers.items()]
    inbound = Inbound("POST", "/events", "", raw, body, 1e9)
    with contextlib.suppress(UnsoundEventError, UnreadableError):
        for event in read(inbound).events:
            envelope = envelope_of(event, inbound)
            assert Envelope.from_frame(envelope.to_frame()).data == envelope.data


@pytest.mark.integration
async def test_the_longest_names_pass_through_a_real_broker(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    keys = f'keys = [{{ name = "shop", hash = "{hash_key(KEY)}" }}]\n'
    async with housed(settled(broker.url, names, events=keys)) as house:
        url = f"http://{house.public}/events"
        headers = {"authorization": f"Bearer {KEY}", "content-type": STRUCTURED}
        event = {**EVENT, "id": "€" * 400, "source": "😀" * 83, "type": ".".join(["€" * 10] * 10)}
        for status in ("accepted", "duplicate"):
            sent = await house.client.post(url, content=json.dumps(event).encode(), headers=headers)
            assert (sent.status_code, sent.json()["status"]) == (202, status)
            assert sent.headers["tidemill-event-id"] == "%E2%82%AC" * 400
        shown = (await house.ask("events")).json()["events"]
        assert [(one["id"], one["source"], one["type"]) for one in shown] == [
            (event["id"], event["source"], event["type"])
        ]
