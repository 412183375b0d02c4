"""Asking key servers and identity providers: few bytes, little time, nothing that strangers could choose.

It goes over HTTPS unless what comes proves itself or the settings name another address; nothing is
redirected, and no address inside of a network is asked unless the settings name it. Tests pass a context that
trusts their own authority and a `resolve` that leads to their own server; no setting does.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, Final

import httpcore
import httpx

from gateway.keys.places import FetchError, Reply
from tidemill.kernel.addresses import Address, parse_address
from tidemill.kernel.egress import DIRECT, Egress
from tidemill.kernel.services.outbound import LookUp, Outbound, PrivateAddressError, forwarded, look_up

if TYPE_CHECKING:
    from gateway.keys.places import Ask

SECONDS: Final = 5.0
"""For one fetch, whatever happens: providers wait a few seconds for the answer to a webhook."""
CONNECT_SECONDS: Final = 2.0
MAX_BYTES: Final = 256 * 1024
_HEADERS: Final = {
    "accept": "application/json, */*;q=0.5",
    "accept-encoding": "identity",
    "user-agent": "tidemill",
}
_TIMES: Final = {"connect": CONNECT_SECONDS, "read": SECONDS, "write": SECONDS, "pool": SECONDS}
_PROBLEMS: Final = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpx.InvalidURL,
    OSError,
    ValueError,
)

Resolve = Callable[[str, int], Awaitable[list[str]]]


class HttpsFetch:
    """Asks servers of keys.

    Args:
        context: how servers' certificates are checked; by default by the usual authorities, or those that
            `SSL_CERT_FILE` names.
        resolve: finds a host's addresses; by default the system's resolver.
        inside: whether addresses inside of networks are asked too: for tests, whose servers are here.
        egress: which hosts are reached through a proxy.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
        *,
        inside: bool = False,
        egress: Egress = DIRECT,
    ) -> None:
        self._context = context
        self._look_up = look_up if resolve is None else _looking_up(resolve)
        self._inside = inside
        self._egress = egress

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
        except PrivateAddressError as error:
            raise FetchError(f"its address is inside of a network: {error}") from error
        except _PROBLEMS as error:
            raise FetchError(f"{type(error).__name__}: {error}") from error

    async def _ask(self, ask: Ask) -> Reply:
        url = httpx.URL(ask.url)
        if url.scheme not in (("https", "http") if ask.plain else ("https",)) or url.userinfo:
            raise FetchError("only https addresses are asked")
        at = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        more, extensions = forwarded(self._egress, at)
        async with (
            self._pool(url.scheme, allow_private=self._inside or not ask.public) as pool,
            pool.stream(
                ask.method,
                at,
                headers=[*_headers(url, ask), *more],
                content=ask.body or None,
                extensions={"timeout": _TIMES, **extensions},
            ) as answer,
        ):
            return Reply(answer.status, await _body(answer) if ask.reads else b"")

    def _pool(self, scheme: str, *, allow_private: bool) -> httpcore.AsyncConnectionPool:
        backend = Outbound(self._egress, scheme, allow_private=allow_private, look_up=self._look_up)
        context = self._context if self._context is not None else _default_context()
        return httpcore.AsyncConnectionPool(ssl_context=context, network_backend=backend)


def _headers(url: httpx.URL, ask: Ask) -> list[tuple[bytes, bytes]]:
    given = {name.lower(): value for name, value in ask.headers.items()}
    fields = {**_HEADERS, **given, "host": url.netloc.decode("ascii")}
    if ask.method != "GET":
        fields["content-length"] = str(len(ask.body))
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in fields.items()]


async def _body(answer: httpcore.Response) -> bytes:
    """Read a body as far as it is let in; none is decompressed."""
    told = {name.lower(): value for name, value in answer.headers}
    if told.get(b"content-encoding", b"identity").lower() != b"identity":
        raise FetchError("its answer is compressed, which wasn't asked for")
    body = bytearray()
    async for chunk in answer.aiter_stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise FetchError(f"its answer is larger than {MAX_BYTES} bytes")
    return bytes(body)


@cache
def _default_context() -> ssl.SSLContext:
    """Return a context that trusts the usual authorities: reading them takes a while."""
    return httpx.create_ssl_context()


def _looking_up(resolve: Resolve) -> LookUp:
    async def found(host: str, port: int) -> list[Address]:
        addresses = (parse_address(text) for text in await resolve(host, port))
        return [address for address in addresses if address is not None]

    return found
