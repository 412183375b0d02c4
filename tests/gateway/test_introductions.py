"""Fetching the address that confirms: a 2xx is success, whatever else happens is not, and nothing raises."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.introductions import Visitor
from gateway.keys import https
from gateway.keys.https import HttpsFetch
from gateway.keys.places import Ask, Reply

PLAIN = HttpsFetch(inside=True)


async def fetch(url: str) -> bool:
    """Visit a server of the test's, which speaks no TLS."""

    async def plain(ask: Ask) -> Reply:
        assert not ask.plain
        return await PLAIN(ask._replace(plain=True))

    return await Visitor(plain)(url)


@asynccontextmanager
async def answering(answer: bytes, seen: list[bytes]) -> AsyncIterator[str]:
    """A server that reads a request's head and sends the same bytes to everybody."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        seen.append((await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0])
        writer.write(answer)
        await writer.drain()
        if answer:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/confirm?token=a%20b"
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@pytest.mark.parametrize(
    ("answer", "confirmed"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\nx", True),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", False),
        (b"no http at all\r\n\r\n", False),
    ],
)
async def test_only_a_2xx_confirms_and_no_redirection_is_followed(answer: bytes, confirmed: bool) -> None:  # noqa: FBT001 - a row of a table
    seen: list[bytes] = []
    async with answering(answer, seen) as url:
        assert await fetch(url) is confirmed
    assert seen == [b"GET /confirm?token=a%20b HTTP/1.1"]


async def test_a_server_that_does_not_answer_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "SECONDS", 0.05)
    async with answering(b"", []) as url:
        assert await fetch(url) is False


async def test_nobody_there(unused_tcp_port_factory: Callable[[], int]) -> None:
    assert await fetch(f"http://127.0.0.1:{unused_tcp_port_factory()}/") is False


@pytest.mark.parametrize(
    "url", ["http://93.184.216.34/", "https://127.0.0.1/", "https://169.254.169.254/latest"]
)
async def test_only_public_addresses_are_visited_and_only_over_tls(url: str) -> None:
    assert await Visitor(HttpsFetch())(url) is False
