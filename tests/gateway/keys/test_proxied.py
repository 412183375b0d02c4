"""Key servers behind a proxy: what it is told, and what it never is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from consumers.forwarding.client import Client
from gateway.keys.https import HttpsFetch
from gateway.keys.places import Ask, FetchError
from tidemill.kernel.egress import Egress, Proxy

if TYPE_CHECKING:
    from tests.gateway.keys.key_server import Authority, KeyServer

BASIC = "Basic YTpi"


@dataclass
class HttpProxy:
    """An HTTP proxy that leads everywhere to one port of this machine."""

    target: int = 0
    port: int = 0
    status: bytes = b"200 Connection established"
    extra: bytes = b""
    heads: list[str] = field(default_factory=list)

    def egress(self, **options: Any) -> Egress:
        proxy = Proxy("127.0.0.1", self.port, authorization=BASIC)
        return Egress((("http", proxy), ("https", proxy)), **options)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode())
            if not head.startswith(b"CONNECT"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
            else:
                writer.write(b"HTTP/1.1 " + self.status + b"\r\n\r\n" + self.extra)
                if self.status.startswith(b"200") and not self.extra:
                    await self._pipe(reader, writer)
            await writer.drain()
        writer.close()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        await asyncio.gather(_copy(reader, back), _copy(there, writer))


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await source.read(65536):
            target.write(chunk)
            await target.drain()
    target.close()


@pytest.fixture
async def proxy(key_server: KeyServer) -> AsyncIterator[HttpProxy]:
    found = HttpProxy(key_server.port)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


def resolver(address: str) -> Any:
    async def found(host: str, port: int) -> list[str]:
        assert (host, port) != ("", 0)
        return [address]

    return found


async def test_the_proxy_is_told_the_address_that_was_judged(
    key_server: KeyServer, authority: Authority, proxy: HttpProxy
) -> None:
    key_server.put("/jwks.json", b"{}")
    fetch = HttpsFetch(authority.client, resolver("93.184.216.34"), egress=proxy.egress())
    assert (await fetch(Ask(key_server.url()))).body == b"{}"
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT 93.184.216.34:{key_server.port} HTTP/1.1\r\n")
    assert f"Proxy-Authorization: {BASIC}" in head
    assert BASIC not in key_server.heads[0]
    assert "keys.example.com" in key_server.heads[0]


async def test_it_is_told_the_name_where_it_looks_names_up(
    key_server: KeyServer, authority: Authority, proxy: HttpProxy
) -> None:
    key_server.put("/jwks.json", b"{}")
    fetch = HttpsFetch(authority.client, resolver("10.0.0.1"), egress=proxy.egress(by_name=True))
    assert (await fetch(Ask(key_server.url()))).status == 200
    assert proxy.heads[0].startswith(f"CONNECT keys.example.com:{key_server.port} ")
    with pytest.raises(FetchError, match="inside of a network"):
        await HttpsFetch(authority.client, egress=proxy.egress(by_name=True))(Ask("https://10.0.0.1/"))
    assert len(proxy.heads) == 1


@pytest.mark.parametrize("url", ["https://keys.example.com/", "http://keys.example.com/"])
async def test_it_is_never_asked_for_addresses_inside_of_networks(url: str, proxy: HttpProxy) -> None:
    for address in ("10.0.0.1", "169.254.169.254", "::1"):
        fetch = HttpsFetch(resolve=resolver(address), egress=proxy.egress())
        with pytest.raises(FetchError, match="inside of a network"):
            await fetch(Ask(url, plain=True))
    assert proxy.heads == []


async def test_plain_http_is_asked_of_the_proxy(proxy: HttpProxy) -> None:
    fetch = HttpsFetch(resolve=resolver("93.184.216.34"), egress=proxy.egress())
    assert (await fetch(Ask("http://crt.example.com/a?b=c", plain=True))).status == 200
    (head,) = proxy.heads
    assert head.startswith("GET http://crt.example.com/a?b=c HTTP/1.1\r\n")
    assert f"proxy-authorization: {BASIC}" in head.lower().replace(BASIC.lower(), BASIC)
    assert "host: crt.example.com" in head.lower()


async def test_what_no_proxy_covers_is_asked_directly(
    key_server: KeyServer, authority: Authority, proxy: HttpProxy
) -> None:
    key_server.put("/jwks.json", b"{}")
    egress = proxy.egress(no_proxy=("example.com",))
    fetch = HttpsFetch(authority.client, resolver("127.0.0.1"), inside=True, egress=egress)
    assert (await fetch(Ask(key_server.url()))).status == 200
    assert proxy.heads == []


@pytest.mark.parametrize(
    ("status", "extra", "said"),
    [
        (b"407 Proxy Authentication Required", b"", "other credentials"),
        (b"403 Forbidden", b"", "opens no tunnel .status 403."),
        (b"200 OK", b"surprise", "who wasn't asked"),
        (b"x", b"", "status 0"),
        (b"200 OK\r\nx: " + b"y" * 20_000, b"", "is no HTTP"),
    ],
)
async def test_a_proxy_that_leads_nowhere_is_named(
    authority: Authority, proxy: HttpProxy, status: bytes, extra: bytes, said: str
) -> None:
    proxy.status, proxy.extra = status, extra
    fetch = HttpsFetch(authority.client, resolver("93.184.216.34"), egress=proxy.egress())
    with pytest.raises(FetchError, match=said):
        await fetch(Ask("https://keys.example.com/jwks.json"))


async def test_no_proxy_there(authority: Authority, unused_tcp_port: int) -> None:
    egress = HttpProxy(port=unused_tcp_port).egress()
    with pytest.raises(FetchError, match="ConnectError"):
        await HttpsFetch(authority.client, resolver("93.184.216.34"), egress=egress)(
            Ask("https://a.example/")
        )


async def test_destinations_are_reached_through_it(proxy: HttpProxy) -> None:
    client = Client(
        "http://crm.example.invalid:8080/hook?a=b",
        timeout=5,
        connections=1,
        allow_private=False,
        egress=proxy.egress(by_name=True),
    )
    try:
        answer = await client.post({"x-a": "b"}, b"{}")
    finally:
        await client.close()
    assert answer.status == 200
    assert proxy.heads[0].startswith("POST http://crm.example.invalid:8080/hook?a=b HTTP/1.1\r\n")
