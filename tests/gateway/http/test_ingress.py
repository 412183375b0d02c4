from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tidemill.kernel.errors import BrokerError, BrokerUnavailableError, StreamFullError

if TYPE_CHECKING:
    from conftest import Connect, Site

PATH = "/webhooks/github"
BODY = b'{"zen": "Keep it logically awesome."}'


async def test_a_signed_delivery_is_accepted_with_its_id(site: Site) -> None:
    reply = await site.deliver(BODY, guid="72d3162e-cc78-11e3-81ab-4c9367dc0958")
    assert reply.status == 202
    assert reply.json() == {
        "id": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "type": "github.zen",
        "status": "accepted",
    }
    assert reply.headers["tidemill-event-id"] == "72d3162e-cc78-11e3-81ab-4c9367dc0958"
    assert reply.headers["tidemill-status"] == "accepted"
    (envelope,) = site.store.accepted.values()
    assert envelope.raw == BODY
    assert "server" not in reply.headers


async def test_the_same_delivery_again_is_a_duplicate_with_the_same_id(site: Site) -> None:
    first = await site.deliver(BODY, guid="same")
    again = await site.deliver(BODY, guid="same")
    hint = "it came before; `tidemill events replay same` sends it through again"
    assert (again.status, again.json()) == (202, first.json() | {"status": "duplicate", "hint": hint})
    assert again.headers["tidemill-status"] == "duplicate"
    assert [envelope.id for envelope in site.store.duplicates] == ["same"]


async def test_what_cannot_be_processed_is_quarantined(site: Site) -> None:
    reply = await site.deliver(b'{"n": NaN}', guid="odd")
    assert (reply.status, reply.json()["status"]) == (202, "quarantined")
    assert (reply.headers["tidemill-event-id"], reply.headers["tidemill-status"]) == ("odd", "quarantined")
    ((envelope, reason),) = site.store.quarantined.values()
    assert (envelope.raw, reason.code) == (b'{"n": NaN}', "not_finite")
    assert (await site.deliver(b'{"n": NaN}', guid="odd")).json()["status"] == "duplicate"


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"x-hub-signature-256": "sha256=" + "0" * 64}, "signature_mismatch"),
        ({"x-hub-signature-256": "md5=0"}, "algorithm_unknown"),
        ({"x-hub-signature-256": None}, "signature_missing"),
    ],
)
async def test_a_refusal_names_the_check_and_nothing_more(
    site: Site, signed: Callable[..., dict[str, str]], change: dict[str, Any], check: str
) -> None:
    right = signed(BODY)
    headers = {name: value for name, value in (right | change).items() if value is not None}
    reply = await site.post(PATH, BODY, headers)
    assert reply.status == 401
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["check"] == check
    assert reply.json()["type"] == f"urn:tidemill:problem:{check.replace('_', '-')}"
    digest = right["x-hub-signature-256"].removeprefix("sha256=")
    assert digest not in str(reply)
    assert [(one.check, source) for source, one in site.store.refusals] == [(check, "github")]
    assert site.metrics.refused["github", check] == 1
    assert not site.store.accepted


async def test_one_changed_byte_is_refused(site: Site, signed: Callable[..., dict[str, str]]) -> None:
    reply = await site.post(PATH, BODY.replace(b"K", b"k"), signed(BODY))
    assert reply.status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/webhooks/nobody",
        "/webhooks/",
        "/webhooks/github/",
        "/webhooks/github/a/b",
        "/webhooks/github/a%2Fb",
        "/webhooks/github/%00",
        "/webhooks/github%00",
        "/webhooks/%ff%fe",
        "/webhooks/" + "g" * 5000,
        "/webhooks/github/" + "t" * 65,
        "/webhooks/github/..%2f",
        "/webhooks//github",
        "/nothing",
        "/",
    ],
)
async def test_odd_paths_are_not_found(site: Site, path: str) -> None:
    reply = await site.post(path, BODY, {"content-type": "application/json"})
    assert (reply.status, reply.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("path", ["/webhooks/git%68ub", "/webhooks/github?x=1"])
async def test_equivalent_paths_are_found(
    site: Site, signed: Callable[..., dict[str, str]], path: str
) -> None:
    assert (await site.post(path, BODY, signed(BODY))).status == 202


async def test_a_tenant_becomes_a_part_of_the_source(
    site: Site, signed: Callable[..., dict[str, str]]
) -> None:
    headers = signed(BODY, guid="one")
    for path in (PATH, f"{PATH}/acme", f"{PATH}/Acme-2.x_y"):
        assert (await site.post(path, BODY, headers)).json()["status"] == "accepted"
    assert {one.source for one in site.store.accepted.values()} == {
        "github",
        "github/acme",
        "github/Acme-2.x_y",
    }


@pytest.mark.parametrize("tenant", [".", "..", "%2e", ".%2E", "a%20b", "x" * 65, ""])
async def test_what_can_be_no_tenant_is_not_found(
    site: Site, signed: Callable[..., dict[str, str]], tenant: str
) -> None:
    reply = await site.post(f"{PATH}/{tenant}", BODY, signed(BODY))
    assert (reply.status, reply.json()["type"]) == (404, "urn:tidemill:problem:unknown-source")
    assert "tenant" in reply.json()["detail"]
    assert not site.store.accepted


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_not_allowed(site: Site, method: str) -> None:
    reply = await site.post(PATH, method=method)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")


async def test_a_content_type_that_cannot_be_read(site: Site, signed: Callable[..., dict[str, str]]) -> None:
    reply = await site.post(PATH, BODY, signed(BODY) | {"content-type": "image/png"})
    assert (reply.status, reply.json()["check"]) == (415, "content_type")


async def test_a_declared_length_over_the_cap_is_refused_before_the_body(
    site: Site, connect: Connect, http_request: Callable[..., bytes]
) -> None:
    connection = await connect(site.address)
    await connection.send(http_request(PATH, headers={"content-length": "100001"}))
    reply = await connection.reply()
    assert (reply.status, reply.json()["type"]) == (413, "urn:tidemill:problem:body-size")
    assert reply.headers["connection"] == "close"
    assert site.metrics.refused["github", "body_size"] == 1


@pytest.mark.usefixtures("impatient")
async def test_a_chunked_body_is_refused_as_soon_as_it_passes_the_cap(
    site: Site, connect: Connect, http_request: Callable[..., bytes]
) -> None:
    head = http_request(PATH, headers={"transfer-encoding": "chunked"}).replace(b"content-length: 0\r\n", b"")
    chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
    connection = await connect(site.address)
    await connection.send(head + chunk * 24)
    await connection.send(chunk)
    reply = await connection.reply()
    assert reply.status == 413
    # The client goes on sending a body that never ends: nothing answers, and the connection is closed.
    await connection.send(chunk * 100)
    assert await connection.at_end()


async def test_a_body_of_exactly_the_cap_is_read(site: Site) -> None:
    body = b'"' + b"x" * 99_998 + b'"'
    assert (await site.deliver(body)).json()["status"] == "accepted"
    assert (await site.deliver(body + b" ")).status == 413


async def test_a_chunked_body_under_the_cap_is_accepted(
    site: Site,
    connect: Connect,
    http_request: Callable[..., bytes],
    signed: Callable[..., dict[str, str]],
) -> None:
    connection = await connect(site.address)
    headers = signed(BODY) | {"transfer-encoding": "chunked"}
    await connection.send(http_request(PATH, headers=headers).replace(b"content-length: 0\r\n", b""))
    for byte in BODY:
        await connection.send(b"1\r\n" + bytes([byte]) + b"\r\n")
    await connection.send(b"0\r\n\r\n")
    assert (await connection.reply()).json()["status"] == "accepted"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BrokerUnavailableError("no link to 10.1.2.3"), "broker-away"),
        (StreamFullError("maximum bytes"), "storage-full"),
        (BrokerError("odd code"), "broker-refused"),
    ],
)
async def test_a_broker_that_takes_nothing_is_503_with_retry_after(
    site: Site, error: BrokerError, kind: str
) -> None:
    site.store.error = error
    reply = await site.deliver(BODY)
    assert (reply.status, reply.headers["retry-after"]) == (503, "2")
    assert reply.json()["type"] == f"urn:tidemill:problem:{kind}"
    assert error.sentence not in reply.body.decode()
    assert site.metrics.publish_failures[kind,] == 1
    site.store.error = None
    assert (await site.deliver(BODY)).status == 202


async def test_a_defect_is_a_500_without_a_trace(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: object) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("a defect")

    monkeypatch.setattr(site.store, "accept", broken)
    with caplog.at_level(logging.CRITICAL):
        reply = await site.deliver(BODY)
    assert reply.status == 500
    assert "defect" not in reply.body.decode()
    assert "Traceback" not in reply.body.decode()


async def test_a_client_that_leaves_in_the_middle_is_counted_and_nothing_else(
    site: Site, connect: Connect, http_request: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    connection = await connect(site.address)
    await connection.send(http_request(PATH, headers={"content-length": "1000"}) + b"x" * 10)
    await connection.close()
    async with asyncio.timeout(20):
        while not site.metrics.requests["github", "disconnected"]:  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.005)
    assert not caplog.records


async def test_requests_follow_each_other_on_one_connection(
    site: Site, connect: Connect, http_request: Callable[..., bytes], signed: Callable[..., dict[str, str]]
) -> None:
    connection = await connect(site.address)
    one, two = (http_request(PATH, BODY, signed(BODY, guid=guid)) for guid in ("one", "two"))
    await connection.send(one + two)
    assert [(await connection.reply()).json()["id"] for _ in range(2)] == ["one", "two"]
