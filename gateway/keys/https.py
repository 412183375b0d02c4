"""Fetching keys: over HTTPS unless what comes proves itself, few bytes, little time.

Nothing is redirected, and no address inside of a network is asked unless the settings name it.
A host's addresses are looked up once, checked, and the connection goes to the very address that was
checked; the certificate is held against the host's name all the same. Tests pass a context that trusts
their own authority and a `resolve` that leads to their own server; no setting does.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, Final

import httpx

from gateway.keys.places import FetchError, Reply
from tidemill.kernel.addresses import is_public, parse_address

if TYPE_CHECKING:
    from gateway.keys.places import Ask

SECONDS: Final = 5.0
"""For one fetch, whatever happens: providers wait a few seconds for the answer to a webhook."""
CONNECT_SECONDS: Final = 2.0
MAX_BYTES: Final = 256 * 1024
_MAX_ADDRESSES: Final = 3
_HEADERS: Final = {
    "Accept": "application/json, */*;q=0.5",
    "Accept-Encoding": "identity",
    "User-Agent": "tidemill",
}

Resolve = Callable[[str, int], Awaitable[list[str]]]


class HttpsFetch:
    """Asks key servers.

    Args:
        context: how servers' certificates are checked; by default by the authorities that httpx trusts.
        resolve: finds a host's addresses; by default the system's resolver.
        inside: whether addresses inside of networks are asked too: for tests, whose servers are here.
    """

    def __init__(
        self, context: ssl.SSLContext | None = None, resolve: Resolve | None = None, *, inside: bool = False
    ) -> None:
        self._context = context
        self._resolve = resolve or addresses_of
        self._inside = inside

    async def __call__(self, ask: Ask) -> Reply:
        """Ask a server, in a bounded time.

        Raises:
            FetchError: there was no answer that counts.
        """
        try:
            async with asyncio.timeout(SECONDS):
                return await self._ask(ask)
        except TimeoutError as error:
            raise FetchError(f"no answer in {SECONDS:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise FetchError(f"{type(error).__name__}: {error}") from error

    async def _ask(self, ask: Ask) -> Reply:
        url = httpx.URL(ask.url)
        if url.scheme not in (("https", "http") if ask.plain else ("https",)) or url.userinfo:
            raise FetchError("only https addresses are asked")
        addresses = await self._resolve(url.host, url.port or (443 if url.scheme == "https" else 80))
        if ask.public and not self._inside and not all(_is_public(one) for one in addresses):
            raise FetchError("its address is inside of a network")
        problem: Exception = FetchError("the host has no address")
        for address in addresses[:_MAX_ADDRESSES]:
            try:
                return await self._ask_at(url, address, ask)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                problem = error
        raise problem

    async def _ask_at(self, url: httpx.URL, address: str, ask: Ask) -> Reply:
        """Ask at one address of the host, under its name."""
        host = url.host if url.port is None else f"{url.host}:{url.port}"
        client = httpx.AsyncClient(
            verify=self._context if self._context is not None else _default_context(),
            timeout=httpx.Timeout(SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=False,
        )
        request = client.build_request(
            ask.method,
            url.copy_with(host=address),
            headers={**_HEADERS, **ask.headers, "Host": host},
            content=ask.body or None,
            extensions={"sni_hostname": url.host},
        )
        async with client:
            answer = await client.send(request, stream=True)
            try:
                return Reply(answer.status_code, await _body(answer))
            finally:
                await answer.aclose()


async def _body(answer: httpx.Response) -> bytes:
    """Read a body as far as it is let in; none is decompressed."""
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchError("its answer is compressed, which wasn't asked for")
    body = bytearray()
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) > MAX_BYTES:
            raise FetchError(f"its answer is larger than {MAX_BYTES} bytes")
    return bytes(body)


@cache
def _default_context() -> ssl.SSLContext:
    """Return a context that trusts the usual authorities: reading them takes a while."""
    return httpx.create_ssl_context(trust_env=False)


async def addresses_of(host: str, port: int) -> list[str]:
    """Return the addresses of a host, in the order in which the system prefers them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _is_public(text: str) -> bool:
    address = parse_address(text)
    return address is not None and is_public(address)
