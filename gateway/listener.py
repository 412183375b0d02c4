"""One HTTP listener: a bound socket and the uvicorn server behind it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, cast

import uvicorn

from gateway.connection import Connection
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.values import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import ASGIApp
    from uvicorn._types import ASGIApplication

MAX_CONNECTIONS: Final = 4000
KEEP_ALIVE: Final = 65
"""Seconds an idle connection stays: longer than the usual 60 s of proxies, so that they close first."""
GRACE: Final = 10


def bind(address: Address, key: str) -> socket.socket:
    """Return a socket that is bound to an address; `key` is the setting that named it.

    Raises:
        SettingsError: the address can't be bound.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingsError(f"{key}: {address} is no address of this machine ({error})") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
    except OSError as error:
        bound.close()
        raise SettingsError(
            f"{key}: {address} can't be listened on: {error.strerror}", hint=_hint(error)
        ) from error
    bound.setblocking(False)  # noqa: FBT003 - the standard library's own way to say it
    return bound


def _hint(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another process listens there: stop it, choose another port, or port 0 for any free one"
    if error.errno == errno.EACCES:
        return "ports below 1024 need a privilege: choose another, or let a proxy forward to it"
    return "choose an address of this machine, 127.0.0.1 or 0.0.0.0"


class Listener(uvicorn.Server):
    """Serves one application on one socket; signals are handled by whoever started the process.

    `bounds` are those of its connections, by the names of the class attributes.
    """

    def __init__(
        self,
        name: str,
        app: ASGIApp,
        bound: socket.socket,
        ended_early: Callable[[str], None],
        bounds: Mapping[str, float] | None = None,
    ) -> None:
        attributes = {"ended_early": staticmethod(ended_early), **(bounds or {})}
        connection = type(f"{name.title()}Connection", (Connection,), attributes)
        config = uvicorn.Config(
            cast("ASGIApplication", app),
            http=connection,
            ws="none",
            lifespan="on",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=GRACE,
        )
        super().__init__(config)
        self.name = name
        self.listening = asyncio.Event()
        self._socket = bound
        host, port = bound.getsockname()[:2]
        self.address = Address(host, port)
        """Where it really listens, also where any free port was asked for."""

    async def listen(self) -> None:
        """Serve until `stop`, then let the requests that are in flight come to their ends."""
        try:
            await self.serve([self._socket])
        finally:
            self._socket.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self.listening.set()

    def stop(self) -> None:
        """Ask it to end."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signals alone: two listeners live in it."""
        yield
