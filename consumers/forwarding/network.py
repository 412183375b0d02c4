"""The way to a destination: names are looked up here, and what they lead to is judged before it is used."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import Final

import httpcore

from tidemill.kernel.addresses import Address, is_public, parse_address

_TRIES: Final = 4
"""Addresses of one name that are tried, one after the other."""


class PrivateAddressError(Exception):
    """The destination isn't at a public address."""


class VettedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to addresses that a destination may have; unix sockets never."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of a host that answers.

        Raises:
            PrivateAddressError: none of its addresses may be connected to.
            httpcore.ConnectError: it has no address, or none answers.
        """
        failure: Exception = httpcore.ConnectError("its name leads nowhere")
        for address in self._vetted(await look_up(host, port))[:_TRIES]:
            try:
                return await self._inner.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
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
        raise PrivateAddressError(f"{path} is no address of a destination")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def _vetted(self, found: list[Address]) -> list[Address]:
        allowed = [address for address in found if self._allow_private or is_public(address)]
        if found and not allowed:
            raise PrivateAddressError(f"its address {found[0]} isn't public")
        return allowed


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
