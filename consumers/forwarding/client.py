"""Requests to one destination: bounded in time and in what is read of the answer; nothing is followed."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from importlib import metadata
from typing import Final

import httpcore
import httpx

from consumers.forwarding.verdict import Answer, retry_after
from tidemill.kernel.egress import DIRECT, Egress
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.services.outbound import Outbound, PrivateAddressError, forwarded

READ_BYTES: Final = 64 * 1024
"""So much of an answer's body is read, so that its connection can be used again; more closes it."""
READ_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 4.0
"""Less than servers usually keep a connection that nothing comes on."""
_AGENT: Final = f"tidemill/{metadata.version('tidemill')}"


class UnreachableError(Exception):
    """There was no answer; whether the request has arrived is unknown."""


class Client:
    """Posts to one address."""

    def __init__(
        self, url: str, *, timeout: float, connections: int, allow_private: bool, egress: Egress = DIRECT
    ) -> None:
        """Read the address; nothing is connected yet.

        Args:
            url: the address.
            timeout: seconds that a request may take in all.
            connections: at most so many at the same time.
            allow_private: whether it may be inside of a network.
            egress: whether it is reached through a proxy.

        Raises:
            SettingsError: the address can't be read.
        """
        try:
            found = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise SettingsError(f"the address of a destination can't be read: {error}") from None
        self._timeout = timeout
        self._url = httpcore.URL(
            scheme=found.raw_scheme, host=found.raw_host, port=found.port, target=found.raw_path
        )
        self._host = found.netloc.decode()
        self._headers, self._extensions = forwarded(egress, self._url)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_tls() if found.scheme == "https" else None,
            max_connections=connections,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=Outbound(egress, found.scheme, allow_private=allow_private),
        )

    async def post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one request.

        Raises:
            PrivateAddressError: the address mustn't be connected to.
            UnreachableError: there was no answer in time, or none that is HTTP.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(headers, body)
        except TimeoutError:
            raise UnreachableError(f"no answer within {self._timeout:g} s") from None
        except httpcore.TimeoutException:
            raise UnreachableError("no connection in time") from None
        except (httpcore.ConnectError, httpcore.NetworkError) as error:
            raise UnreachableError(f"no connection: {str(error) or 'it was closed'}") from None
        except httpcore.ProtocolError:
            raise UnreachableError("what it answered is no HTTP") from None

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def _post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        fields = {
            "host": self._host,
            "user-agent": _AGENT,
            "accept": "*/*",
            "content-length": str(len(body)),
            **headers,
        }
        sent = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()] + self._headers
        async with self._pool.stream(
            "POST", self._url, headers=sent, content=body, extensions=self._extensions
        ) as response:
            told = {name.lower(): value for name, value in response.headers}
            waits = retry_after(told.get(b"retry-after", b"").decode("latin-1"))
            await _read_on(response)
        return Answer(response.status, waits)


async def _read_on(response: httpcore.Response) -> None:
    """Read what comes behind the status, as long as that isn't much: the status is what counts."""
    size = 0
    with contextlib.suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
        async with asyncio.timeout(READ_SECONDS):
            async for chunk in response.aiter_stream():
                size += len(chunk)
                if size > READ_BYTES:
                    return


def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


__all__ = ["Client", "PrivateAddressError", "UnreachableError"]
