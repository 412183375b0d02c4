"""Destinations on a real socket: what arrives, what answers mean, receivers that misbehave."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from consumers.faults import fault_of
from consumers.forwarding import client
from consumers.forwarding.destination import DeliveryError, RejectedError
from consumers.forwarding.message import message_of
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import SettingsError
from tidemill.retry import RetryAfter

if TYPE_CHECKING:
    from conftest import Receiver

    from consumers.forwarding.destination import Destination
    from tidemill.kernel.services.destinations import Disabled

Destine = Callable[..., "Destination"]
Envelopes = Callable[..., Envelope]


async def deliver(destination: Destination, envelope: Envelope, attempt: int = 1) -> Any:
    return await destination.deliver(envelope, "run_1", attempt)


async def test_a_raw_event_arrives_as_it_came_and_signed(
    destine: Destine, receiver: Receiver, envelope: Envelopes, secret: str
) -> None:
    event = envelope(b'{"a":  1}', subject="a b%", extensions={"tenant": "x", "first": True})
    headers = {"Authorization": "env:TOKEN"}
    outcome = await deliver(destine({"TOKEN": "Bearer abc"}, secrets=[secret], headers=headers), event)
    [request] = receiver.received
    assert (request.method, request.target, request.body) == ("POST", "/in/here?a=b", b'{"a":  1}')
    assert Webhook(secret).verify(request.body, request.headers) == {"a": 1}
    assert request.headers["webhook-id"] == f"msg_{event.deliverykey}"
    assert request.headers["authorization"] == "Bearer abc"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    told = {name: value for name, value in request.headers.items() if name.startswith("ce-")}
    assert told.pop("ce-time")
    assert told == {
        "ce-specversion": "1.0",
        "ce-id": "e-1",
        "ce-source": "test",
        "ce-type": "test.done",
        "ce-subject": "a%20b%25",
        "ce-tenant": "x",
        "ce-first": "true",
    }
    assert outcome["status"] == 200


async def test_the_official_library_reads_both_kinds(
    destine: Destine, receiver: Receiver, envelope: Envelopes
) -> None:
    for kind in ("raw", "cloudevent"):
        await deliver(destine(body=kind), envelope(subject="ä", traceparent="00-" + "a" * 32))
        request = receiver.received[-1]
        read = from_http_event(HTTPMessage(request.headers, request.body))
        assert (read.get_id(), read.get_type(), read.get_source()) == ("e-1", "test.done", "test")
        assert (read.get_subject(), read.get_data()) == ("ä", {"a": 1})
        assert request.headers["traceparent"] == "00-" + "a" * 32


@pytest.mark.parametrize(
    ("facts", "raw", "expected"),
    [
        ({}, b'{"a": [1.10]}', {"datacontenttype": "application/json", "data": {"a": [1.1]}}),
        ({}, b"", {}),
        ({}, b"no json", {"datacontenttype": "application/json", "data_base64": "bm8ganNvbg=="}),
        (
            {"datacontenttype": "application/x-www-form-urlencoded", "value": {"a": "b"}},
            b"a=b",
            {"datacontenttype": "application/json", "data": {"a": "b"}},
        ),
        (
            {"datacontenttype": "text/plain"},
            b"\xff",
            {"datacontenttype": "text/plain", "data_base64": "/w=="},
        ),
    ],
)
def test_data_of_every_kind_fits_into_a_document(
    envelope: Envelopes, facts: dict[str, Any], raw: bytes, expected: dict[str, Any]
) -> None:
    message = message_of(envelope(raw, **facts), "cloudevent")
    assert message.headers["content-type"] == "application/cloudevents+json"
    document = json.loads(message.body)
    names = ("data", "data_base64", "datacontenttype")
    assert {name: document[name] for name in names if name in document} == expected


def test_a_raw_body_keeps_the_parameters_of_its_type(envelope: Envelopes) -> None:
    given = {"datacontenttype": "multipart/form-data"}
    whole = envelope(**given, headers={"content-type": "multipart/form-data; boundary=x"})
    assert message_of(whole, "raw").headers["content-type"] == "multipart/form-data; boundary=x"
    other = envelope(**given, headers={"content-type": "application/cloudevents+json"})
    assert message_of(other, "raw").headers["content-type"] == "multipart/form-data"


@given(
    st.text(min_size=1), st.text(), st.text(min_size=1), st.dictionaries(st.text(), st.text() | st.booleans())
)
def test_whatever_an_event_says_headers_stay_headers(
    identity: str, subject: str, media_type: str, extensions: dict[str, Any]
) -> None:
    event = Envelope(
        id=identity,
        source="s",
        type="t",
        subject=subject,
        datacontenttype=media_type,
        traceparent=subject,
        tracestate=f"{subject}\r\nx: y",
        extensions=extensions,
        headers={"content-type": media_type},
        raw=b"x",
    )
    for name, value in message_of(event, "raw").headers.items():
        assert f"{name}: {value}".isascii()
        assert f"{name}: {value}".isprintable()
    assert message_of(event, "cloudevent").body


async def test_every_active_secret_signs(
    destine: Destine, receiver: Receiver, envelope: Envelopes, secret: str
) -> None:
    new = "whsec_" + base64.b64encode(b"n" * 24).decode()
    past = {"value": "whsec_" + base64.b64encode(b"p" * 24).decode(), "until": "2020-01-01T00:00:00Z"}
    await deliver(destine(secrets=[secret, new, past]), envelope())
    [request] = receiver.received
    for one in (secret, new):
        Webhook(one).verify(request.body, request.headers)
    assert len(request.headers["webhook-signature"].split()) == 2


async def test_without_a_secret_nothing_is_signed_and_the_id_still_stands(
    destine: Destine, receiver: Receiver, envelope: Envelopes
) -> None:
    await deliver(destine(), envelope(deliverykey=""))
    assert receiver.received[0].headers["webhook-id"] == "msg_run_1"
    assert "webhook-signature" not in receiver.received[0].headers


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599, 408, 425, 429])
async def test_what_may_pass_is_tried_again(
    destine: Destine, receiver: Receiver, envelope: Envelopes, answer: Any, status: int
) -> None:
    receiver.answers = [answer(status)]
    with pytest.raises(DeliveryError, match=f"crm answered {status}"):
        await deliver(destine(), envelope())


@pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 413, 415, 422])
async def test_what_wont_is_final_and_no_redirection_is_followed(
    destine: Destine, receiver: Receiver, envelope: Envelopes, answer: Any, status: int
) -> None:
    receiver.answers = [answer(status, f"location: {receiver.url}")]
    with pytest.raises(RejectedError, match=f"crm answered {status}"):
        await deliver(destine(), envelope())
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120.0), ("0", 5.0), ("9999999999", 86400.0), ("later", None), ("-5", None)],
)
async def test_the_destinations_own_time_is_kept(  # noqa: PLR0913, PLR0917 - fixtures and what varies
    destine: Destine, receiver: Receiver, envelope: Envelopes, answer: Any, header: str, seconds: float | None
) -> None:
    receiver.answers = [answer(503, f"retry-after: {header}")]
    with pytest.raises(RetryAfter if seconds is not None else DeliveryError) as caught:
        await deliver(destine(), envelope())
    if seconds is not None:
        assert caught.value.delay == seconds


async def test_who_is_gone_gets_nothing_more(
    destine: Destine, receiver: Receiver, envelope: Envelopes, answer: Any, disabled: Disabled
) -> None:
    receiver.answers = [answer(410)]
    destination = destine()
    with pytest.raises(RejectedError, match="answered 410 Gone: it is disabled"):
        await deliver(destination, envelope())
    with pytest.raises(RejectedError, match=r"is disabled since .* `tidemill destinations enable crm`"):
        await deliver(destination, envelope())
    assert len(receiver.received) == 1
    receiver.answers = [answer(204)]
    assert await disabled.enable("crm")
    assert not await disabled.enable("crm")
    assert (await deliver(destination, envelope()))["status"] == 204


async def silent(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


async def cut_off(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 20")


async def endless_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-more: " + b"a" * 1000 + b"\r\n")
        await writer.drain()


async def trickle(writer: asyncio.StreamWriter) -> None:
    for byte in b"HTTP/1.1 200 OK\r\n" * 1000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("misbehave", [silent, no_http, cut_off, endless_head, trickle])
async def test_a_broken_or_slow_receiver_is_tried_again(
    destine: Destine, receiver: Receiver, envelope: Envelopes, misbehave: Callable[..., Awaitable[None]]
) -> None:
    receiver.answers = [misbehave]
    with pytest.raises(DeliveryError, match=r"^crm: "):
        await deliver(destine(timeout=0.3), envelope())


async def test_nobody_listens(destine: Destine, envelope: Envelopes) -> None:
    with pytest.raises(DeliveryError, match="crm: no connection"):
        await deliver(destine(url="http://127.0.0.1:9/"), envelope())
    with pytest.raises(DeliveryError, match="crm: no connection: its name can't be looked up"):
        await deliver(destine(url="http://nowhere.invalid/"), envelope())


async def endless_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"400\r\n" + b"a" * 1024 + b"\r\n")
        await writer.drain()


async def open_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
    await writer.drain()
    await asyncio.sleep(30)


@pytest.mark.parametrize("misbehave", [endless_body, open_body])
async def test_the_status_counts_however_much_follows_it(
    destine: Destine,
    receiver: Receiver,
    envelope: Envelopes,
    misbehave: Callable[..., Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "READ_SECONDS", 0.2)
    receiver.answers = [misbehave]
    assert (await deliver(destine(), envelope()))["status"] == 200


async def test_connections_are_used_again_also_behind_an_answer_with_a_body(
    destine: Destine, receiver: Receiver, envelope: Envelopes, answer: Any
) -> None:
    receiver.answers = [answer(200, body=b"thanks" * 1000)]
    destination = destine()
    for _ in range(3):
        await deliver(destination, envelope())
    assert (len(receiver.received), receiver.connections) == (3, 1)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://127.1:{port}/",
    ],
)
async def test_private_addresses_are_refused(
    destine: Destine, receiver: Receiver, envelope: Envelopes, url: str
) -> None:
    with pytest.raises(RejectedError, match=r"isn't public; destinations\.crm\.allow_private = true lets it"):
        await deliver(destine(url=url.format(port=receiver.port), allow_private=False), envelope())
    assert receiver.connections == 0


async def test_a_name_that_leads_elsewhere_the_second_time_is_refused(
    destine: Destine, receiver: Receiver, envelope: Envelopes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: nothing is looked up between the judgement and the connection."""
    asked: list[str] = []
    connected: list[str] = []

    async def rebinding(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        address = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
        return [(2, 1, 6, "", (address, port))]

    destination = destine(url=f"http://rebind.test:{receiver.port}/", allow_private=False, timeout=0.3)
    inner = destination._client._pool._network_backend._inner

    async def connect(host: str, *_: Any) -> Any:
        connected.append(host)
        raise client.httpcore.ConnectError("far away")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", rebinding)
    monkeypatch.setattr(inner, "connect_tcp", connect)
    with pytest.raises(DeliveryError, match="far away"):
        await deliver(destination, envelope())
    with pytest.raises(RejectedError, match=r"127\.0\.0\.1 isn't public"):
        await deliver(destination, envelope())
    assert asked == ["rebind.test", "rebind.test"]
    assert connected == ["93.184.216.34"]


async def test_secrets_stand_in_no_fault_and_no_log(
    destine: Destine, receiver: Receiver, envelope: Envelopes, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = "whsec_" + base64.b64encode(b"k" * 32).decode()
    url = f"http://127.0.0.1:{receiver.port}/hooks/path-secret?key=query-secret"
    destination = destine({"TOKEN": "header-secret"}, url=url, secrets=[key], headers={"x-key": "env:TOKEN"})
    said = [repr(destination.settings), str(destination.settings.model_dump(mode="json"))]
    echo = b"path-secret query-secret header-secret " + key.encode()
    for one in (answer(500, body=echo), answer(400, body=echo), cut_off):
        receiver.answers = [one]
        with pytest.raises((DeliveryError, RejectedError)) as caught:
            await deliver(destination, envelope())
        fault = fault_of(caught.value, attempt=1, at=0.0)
        said += [fault.message, fault.traceback]
    said += [
        record.getMessage() for record in caplog.records if record.name.startswith(("consumers", "tidemill"))
    ]
    for secret in ("path-secret", "query-secret", "header-secret", key):
        assert [text for text in said if secret in text] == []


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (
            {"secrets": ["whsec_short"]},
            "destinations.crm: a signing secret is no secret of Standard Webhooks",
        ),
        ({"secrets": ["env:GONE"]}, "there is no variable GONE"),
        ({"headers": {"x-key": "env:LINES"}}, "can't stand in a header"),
        ({"headers": {"Host": "a"}}, "host is set by the forwarding itself"),
        ({"headers": {"webhook-id": "a"}}, "webhook-id is set by"),
        ({"headers": {"a b": "a"}}, "not the name of a header"),
        ({"url": "http://user:pass@example.com/"}, "no credentials in the address"),
        ({"url": "ftp://example.com/"}, "url"),
        ({"on": []}, "on"),
        ({"on": ["a.>.b"]}, "not a pattern of types"),
        ({"where": "data."}, "where"),
        ({"retry": {"min_delay": "2h", "max_delay": "1h"}}, "min_delay is longer than max_delay"),
        ({"retries": 3}, "is no setting; did you mean destinations.crm.retry?"),
    ],
)
async def test_settings_that_cant_be_used_say_so_without_the_secret(
    destine: Destine, table: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        destine({"LINES": "a\r\nx: y"}, **table)
    assert sentence in str(caught.value)
    assert "whsec_short" not in str(caught.value)
    assert "pass@" not in str(caught.value)
