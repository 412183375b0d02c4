"""The way to hosts elsewhere: names are looked up here, and what they lead to is judged before it is used.

Through a proxy the same holds: it is told the address that was judged (`CONNECT`, RFC 9110, 9.3.6), and TLS
goes end to end under the host's name. Of plain HTTP it is told the name, behind the same judgement. Where the
settings leave names to the proxy, it alone can judge them.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import httpcore

from tidemill.kernel.addresses import Address, is_public, parse_address
from tidemill.kernel.egress import DIRECT, Egress, Proxy

_TRIES: Final = 4
"""Addresses of one name that are tried, one after the other."""
_MAX_HEAD: Final = 16 * 1024
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
_WANTS_CREDENTIALS: Final = 407

LookUp = Callable[[str, int], Awaitable[list[Address]]]


class PrivateAddressError(Exception):
    """The host isn't at a public address."""


async def look_up(host: str, port: int) -> list[Address]:
    """Return the addresses of a host, each once.

    Raises:
        httpcore.ConnectError: its name can't be looked up.
    """
    if (literal := parse_address(host)) is not None:
        return [literal]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no valid name"
        raise httpcore.ConnectError(f"its name can't be looked up: {reason}") from None
    addresses = (parse_address(str(place[0])) for *_, place in found)
    return list(dict.fromkeys(address for address in addresses if address is not None))


class Outbound(httpcore.AsyncNetworkBackend):
    """Opens connections to addresses that may be connected to; unix sockets never.

    Args:
        egress: which hosts are reached through a proxy.
        scheme: of the addresses that are asked: those of `https` are tunnelled to.
        allow_private: whether addresses that aren't public may be connected to.
        look_up: finds a host's addresses; tests pass one that leads to their own server.
    """

    def __init__(
        self, egress: Egress, scheme: str, *, allow_private: bool, look_up: LookUp = look_up
    ) -> None:
        self._egress = egress
        self._scheme = scheme
        self._allow_private = allow_private
        self._look_up = look_up
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of a host that answers, through the proxy where there is one.

        Raises:
            PrivateAddressError: none of its addresses may be connected to.
            httpcore.ConnectError: it has no address, or none answers, or the proxy lets nobody through.
        """
        proxy = self._egress.proxy_for(self._scheme, host, port)
        places = await self._places(host, port, named=proxy is not None and self._egress.by_name)
        if proxy is not None and self._scheme == "http":
            return await self._to_proxy(proxy, timeout)
        failure: Exception = httpcore.ConnectError("its name leads nowhere")
        for place in places:
            try:
                if proxy is not None:
                    return await self._tunnel(proxy, place, port, timeout)
                return await self._inner.connect_tcp(place, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002 - httpcore's interface
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002 - the same
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: no address leads to one."""
        raise PrivateAddressError(f"{path} is no address of a host")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def _places(self, host: str, port: int, *, named: bool) -> list[str]:
        """Return what may be connected to: addresses, or the name where a proxy looks it up.

        Raises:
            PrivateAddressError: nothing may be.
        """
        if named and parse_address(host) is None:
            return [host]
        found = await self._look_up(host, port)
        allowed = [address for address in found if self._allow_private or is_public(address)]
        if found and not allowed:
            raise PrivateAddressError(f"its address {found[0]} isn't public")
        if not allowed:
            raise httpcore.ConnectError("its name leads nowhere")
        return [str(address) for address in allowed[:_TRIES]]

    async def _to_proxy(self, proxy: Proxy, timeout: float | None) -> httpcore.AsyncNetworkStream:
        stream = await self._inner.connect_tcp(proxy.host, proxy.port, timeout)
        if not proxy.secure:
            return stream
        return await stream.start_tls(ssl.create_default_context(), proxy.host, timeout)

    async def _tunnel(
        self, proxy: Proxy, place: str, port: int, timeout: float | None
    ) -> httpcore.AsyncNetworkStream:
        """Ask a proxy for a way to an address.

        Raises:
            httpcore.ConnectError: it doesn't give one.
        """
        stream = await self._to_proxy(proxy, timeout)
        try:
            await stream.write(_connect(proxy, place, port), timeout)
            _check_answer(await _head(stream, timeout), proxy)
        except BaseException as error:
            await stream.aclose()
            if isinstance(error, httpcore.NetworkError | httpcore.TimeoutException):
                raise httpcore.ConnectError(f"the proxy {proxy.host} gave no answer: {error}") from error
            raise
        return stream


def forwarded(egress: Egress, url: httpcore.URL) -> tuple[list[tuple[bytes, bytes]], dict[str, Any]]:
    """Return what a request needs besides: `http` addresses aren't tunnelled to, but asked of the proxy.

    Args:
        egress: which hosts are reached through one.
        url: the address.

    Returns:
        headers, and httpcore's extensions: the whole address as target (RFC 9112, 3.2.2).
    """
    scheme, host = url.scheme.decode(), url.host.decode()
    proxy = egress.proxy_for(scheme, host, url.port or 80) if scheme == "http" else None
    if proxy is None:
        return [], {}
    headers = [] if proxy.authorization is None else [(b"proxy-authorization", proxy.authorization.encode())]
    return headers, {"target": bytes(url)}


def _connect(proxy: Proxy, place: str, port: int) -> bytes:
    authority = f"[{place}]:{port}" if ":" in place else f"{place}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    return "\r\n".join([*lines, "", ""]).encode()


async def _head(stream: httpcore.AsyncNetworkStream, timeout: float | None) -> bytes:
    """Read the head of a proxy's answer, as far as it counts."""
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = await stream.read(4096, timeout)
        head += chunk
        if not chunk or len(head) > _MAX_HEAD:
            raise httpcore.ConnectError("the proxy's answer is no HTTP")
    return head


def _check_answer(head: bytes, proxy: Proxy) -> None:
    found = _STATUS.match(head)
    status = int(found[1]) if found else 0
    if status == _WANTS_CREDENTIALS:
        raise httpcore.ConnectError(f"the proxy {proxy.host} wants other credentials (407)")
    if not 200 <= status < 300:  # noqa: PLR2004 - 2xx opens the tunnel
        raise httpcore.ConnectError(f"the proxy {proxy.host} opens no tunnel (status {status})")
    if not head.endswith(b"\r\n\r\n"):
        raise httpcore.ConnectError("somebody speaks in the tunnel who wasn't asked")


__all__ = ["DIRECT", "LookUp", "Outbound", "PrivateAddressError", "forwarded", "look_up"]
