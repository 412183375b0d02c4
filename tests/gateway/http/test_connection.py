from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gateway.connection import MAX_FIELDS, MAX_HEAD

if TYPE_CHECKING:
    from conftest import Connect, Site

PATH = "/webhooks/github"
BODY = b"{}"


async def test_ten_thousand_fields_are_too_many(
    site: Site, connect: Connect, http_request: Callable[..., bytes]
) -> None:
    connection = await connect(site.address)
    await connection.send(http_request(PATH, headers={f"x-{number}": "y" for number in range(10_000)}))
    assert (await connection.reply()).status == 431
    assert await connection.at_end()
    assert site.endings == ["request-header-fields-too-large"]


@pytest.mark.parametrize(("fields", "status"), [(MAX_FIELDS - 2, 401), (MAX_FIELDS - 1, 431)])
async def test_the_number_of_fields_has_a_limit(site: Site, fields: int, status: int) -> None:
    names = [f"x-{number}" for number in range(fields - 1)]
    headers = {"content-type": "application/json"} | dict.fromkeys(names, "y")
    assert (await site.post(PATH, BODY, headers)).status == status


@pytest.mark.parametrize("pieces", [1, 100])
async def test_a_head_has_a_largest_size_however_it_arrives(
    site: Site, connect: Connect, http_request: Callable[..., bytes], pieces: int
) -> None:
    request = http_request(PATH, headers={"x-long": "y" * 2 * MAX_HEAD})
    step = len(request) // pieces + 1
    connection = await connect(site.address)
    for start in range(0, len(request), step):
        connection.writer.write(request[start : start + step])
        await asyncio.sleep(0)
    assert (await connection.reply()).status == 431


@pytest.mark.usefixtures("brusque")
async def test_an_endless_head_is_ended(site: Site, connect: Connect) -> None:
    connection = await connect(site.address)
    await connection.send(b"POST /webhooks/github HTTP/1.1\r\nhost: a\r\nx-long: ")
    with pytest.raises((ConnectionError, BrokenPipeError)):  # noqa: PT012 - which write fails isn't known
        async with asyncio.timeout(10):
            while True:
                await connection.send(b"y" * 65536)
                await asyncio.sleep(0)
    assert site.endings == ["request-header-fields-too-large"]


@pytest.mark.usefixtures("impatient")
async def test_a_head_that_trickles_is_ended(site: Site, connect: Connect) -> None:
    connection = await connect(site.address)
    await connection.send(b"POST /webhooks/github HTTP/1.1\r\nho")
    assert (await connection.reply()).status == 408
    assert await connection.at_end()
    assert site.endings == ["request-timeout"]


@pytest.mark.usefixtures("impatient")
async def test_a_body_that_trickles_is_ended(
    site: Site, connect: Connect, http_request: Callable[..., bytes]
) -> None:
    connection = await connect(site.address)
    await connection.send(http_request(PATH, headers={"content-length": "50"}) + b"{")
    assert (await connection.reply()).status == 408
    assert await connection.at_end()
    async with asyncio.timeout(20):
        while not site.metrics.requests["github", "disconnected"]:  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.005)


@pytest.mark.usefixtures("impatient")
async def test_a_connection_that_says_nothing_is_closed_without_an_answer(
    site: Site, connect: Connect
) -> None:
    connection = await connect(site.address)
    assert await connection.at_end()


@pytest.mark.usefixtures("impatient")
async def test_an_answered_request_whose_body_never_ends_keeps_no_connection(
    site: Site, connect: Connect, http_request: Callable[..., bytes]
) -> None:
    connection = await connect(site.address)
    await connection.send(http_request("/healthz", headers={"content-length": "50"}, method="GET") + b"{")
    assert (await connection.reply()).status == 200
    assert await connection.at_end()


@pytest.mark.usefixtures("brusque")
async def test_endless_trailers_are_ended(
    site: Site, connect: Connect, http_request: Callable[..., bytes]
) -> None:
    head = http_request(PATH, headers={"transfer-encoding": "chunked"}).replace(b"content-length: 0\r\n", b"")
    connection = await connect(site.address)
    await connection.send(head + b"2\r\n{}\r\n0\r\n")
    with pytest.raises((ConnectionError, BrokenPipeError)):  # noqa: PT012 - which write fails isn't known
        async with asyncio.timeout(10):
            while True:
                await connection.send(b"x-trailer: y\r\n" * 5000)
                await asyncio.sleep(0)
    assert site.endings == ["bad-request"]


async def test_a_trailer_is_no_header(
    site: Site, connect: Connect, http_request: Callable[..., bytes], signed: Callable[..., dict[str, str]]
) -> None:
    headers = signed(BODY)
    signature = headers.pop("x-hub-signature-256")
    request = http_request(PATH, headers=headers | {"transfer-encoding": "chunked"})
    body = b"2\r\n{}\r\n0\r\nx-hub-signature-256: " + signature.encode() + b"\r\n\r\n"
    connection = await connect(site.address)
    await connection.send(request.replace(b"content-length: 0\r\n", b"") + body)
    reply = await connection.reply()
    assert (reply.status, reply.json()["check"]) == (401, "signature_missing")


@pytest.mark.usefixtures("impatient")
async def test_a_connection_on_which_empty_lines_trickle_is_closed(
    site: Site, connect: Connect, http_request: Callable[..., bytes]
) -> None:
    connection = await connect(site.address)
    await connection.send(http_request("/healthz", method="GET"))
    assert (await connection.reply()).status == 200
    await connection.send(b"\r\n")
    assert await connection.at_end()


async def test_an_empty_line_between_two_requests_is_nothing(
    site: Site, connect: Connect, http_request: Callable[..., bytes], signed: Callable[..., dict[str, str]]
) -> None:
    connection = await connect(site.address)
    for _ in range(3):
        await connection.send(http_request(PATH, BODY, signed(BODY)))
        assert (await connection.reply()).status == 202
        await connection.send(b"\r\n")


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
@pytest.mark.parametrize("apart", [True, False])
async def test_who_asks_for_another_protocol_is_served_in_this_one(  # noqa: PLR0913, PLR0917 - fixtures
    site: Site,
    connect: Connect,
    http_request: Callable[..., bytes],
    signed: Callable[..., dict[str, str]],
    protocol: str,
    apart: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    upgrade = {"connection": "Upgrade, HTTP2-Settings", "upgrade": protocol, "http2-settings": "AAEA"}
    body = b'{"zen": "Keep it logically awesome."}'
    first = http_request(PATH, body, signed(body) | upgrade)
    connection = await connect(site.address)
    if apart:
        await connection.send(first[: -len(body)])
        await asyncio.sleep(0)
        await connection.send(first[-len(body) :])
    else:
        await connection.send(first)
    assert (await connection.reply()).status == 202
    assert [envelope.raw for envelope in site.store.accepted.values()] == [body]
    await connection.send(http_request("/healthz", headers=upgrade, method="GET") * 2)
    assert [(await connection.reply()).status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /webhooks/git\x00hub HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /webhooks/github HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST /webhooks/github HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"POST /webhooks/github HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST /webhooks/github HTTP/1.1\r\nhost: a\r\nbad name: x\r\n\r\n",
        b"CONNECT example.com:80 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_no_http_is_400(site: Site, connect: Connect, garbage: bytes) -> None:
    connection = await connect(site.address)
    await connection.send(garbage)
    reply = await connection.reply()
    assert (reply.status, reply.headers["content-type"]) == (400, "application/problem+json")
    assert await connection.at_end()


async def test_an_answer_is_never_interrupted_by_another_ones_problem(
    site: Site, connect: Connect, http_request: Callable[..., bytes], signed: Callable[..., dict[str, str]]
) -> None:
    """Garbage behind a request whose answer isn't there yet closes the connection without a word."""
    held, release = asyncio.Event(), asyncio.Event()
    accept = site.store.accept

    async def slowly(envelope: object) -> object:
        held.set()
        await release.wait()
        return await accept(envelope)  # type: ignore[arg-type] # passed on

    site.store.accept = slowly  # type: ignore[method-assign,assignment] # held back
    connection = await connect(site.address)
    await connection.send(http_request(PATH, BODY, signed(BODY)) + b"\x00garbage\r\n\r\n")
    await held.wait()
    assert await connection.at_end()
    release.set()


async def test_random_bytes_get_an_answer_or_an_end_and_the_server_goes_on(
    site: Site, connect: Connect, http_request: Callable[..., bytes], signed: Callable[..., dict[str, str]]
) -> None:
    dice = random.Random(7)
    good = http_request(PATH, BODY, signed(BODY))
    for _ in range(60):
        mutated = bytearray(good)
        for _ in range(dice.randrange(1, 6)):
            mutated[dice.randrange(len(mutated))] = dice.randrange(256)
        connection = await connect(site.address)
        await connection.send(bytes(mutated))
        connection.writer.write_eof()
        async with asyncio.timeout(10):
            answer = await connection.reader.read()
        assert answer == b"" or answer.split(b" ")[1] in (
            b"202",
            b"400",
            b"401",
            b"404",
            b"405",
            b"413",
            b"415",
        )
        await connection.close()
    assert (await site.deliver(BODY)).status == 202


@pytest.mark.parametrize("hosts", [0, 2])
async def test_a_request_of_http_1_1_names_one_host(site: Site, connect: Connect, hosts: int) -> None:
    connection = await connect(site.address)
    await connection.send(b"GET /healthz HTTP/1.1\r\n" + b"Host: a\r\n" * hosts + b"\r\n")
    reply = await connection.reply()
    assert (reply.status, reply.json()["type"]) == (400, "urn:tidemill:problem:bad-request")
    assert "Host" in reply.json()["detail"]
    assert await connection.at_end()
    assert site.endings == ["bad-request"]


async def test_a_request_of_http_1_0_needs_no_host(site: Site, connect: Connect) -> None:
    connection = await connect(site.address)
    await connection.send(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (await connection.reply()).status == 200


@pytest.mark.parametrize("requests", [1, 3])
async def test_a_client_that_only_closes_its_writing_side_is_answered(  # noqa: PLR0913, PLR0917 - fixtures
    site: Site,
    connect: Connect,
    http_request: Callable[..., bytes],
    signed: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    requests: int,
) -> None:
    closed, accept = asyncio.Event(), site.store.accept

    async def slowly(envelope: Any) -> Any:
        await closed.wait()
        return await accept(envelope)

    monkeypatch.setattr(site.store, "accept", slowly)
    connection = await connect(site.address)
    for _ in range(requests):
        connection.writer.write(http_request(PATH, BODY, signed(BODY)))
    connection.writer.write_eof()
    await connection.writer.drain()
    asyncio.get_running_loop().call_later(0.05, closed.set)
    replies = [await connection.reply() for _ in range(requests)]
    assert [reply.status for reply in replies] == [202] * requests
    assert await connection.at_end()


@pytest.mark.parametrize(
    "sent", [b"", b"POST /webhooks/gi", b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab"]
)
async def test_what_doesnt_come_to_its_end_before_the_client_closes_is_given_up(
    site: Site, connect: Connect, sent: bytes
) -> None:
    connection = await connect(site.address)
    await connection.send(sent)
    connection.writer.write_eof()
    async with asyncio.timeout(10):
        assert b" 202 " not in await connection.reader.read()


async def test_an_idle_connection_that_is_half_closed_is_closed(
    site: Site, connect: Connect, http_request: Callable[..., bytes]
) -> None:
    connection = await connect(site.address)
    await connection.send(http_request("/healthz", method="GET"))
    assert (await connection.reply()).status == 200
    connection.writer.write_eof()
    assert await connection.at_end()
