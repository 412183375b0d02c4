"""One connection of nats-py, with the pitfalls of that client designed out.

- It reconnects for ever, after short waits that differ between processes, and finds a dead link by pings.
- While the link is down nothing is buffered: what a dead link left unsent is thrown away. A late
  acknowledgement of a delivery that has expired would delete the ticket of its new owner.
- nats-py's own tasks can die of an exception that they don't expect (a write to a transport that has just
  been closed raises RuntimeError under uvloop); the client then stays "connected" or "reconnecting" for
  ever. A watchdog looks at them every second and starts the reconnection anew.
- It closes a lost connection politely and waits until the peer has taken all that was written: a frozen
  broker never does. The watchdog aborts such a connection.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from nats.errors import Error as NatsError

from tidemill.kernel.errors import BrokerError, BrokerUnavailableError
from tidemill.kernel.jetstream.wire import WireClient

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

_log = logging.getLogger(__name__)

PING_INTERVAL: Final = 5
WATCH_INTERVAL: Final = 1.0
_CLOSE_LIMIT: Final = 1.0
_REFUSALS: Final = ("authorization violation", "authentication", "user authentication expired")


@dataclass(frozen=True, slots=True)
class Login:
    """Where the broker is and how to log in there; `password` never appears in a representation."""

    servers: Sequence[str]
    name: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    credentials_file: str | None = None
    tls: ssl.SSLContext | None = None


class Link:
    """A connection to the broker that mends itself, and says when it is lost, back, or closed for good."""

    def __init__(self, login: Login, *, lost: Callable[[], None], back: Callable[[], None]) -> None:
        self.client = WireClient()
        self.closed = asyncio.Event()
        self._login = login
        self._lost = lost
        self._back = back
        self._established = False
        self._closing = False
        self._last_error: Exception | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._repair: asyncio.Task[None] | None = None

    async def open(self, timeout: float | None) -> None:
        """Connect, trying again until `timeout` seconds are over, or for ever.

        Raises:
            BrokerUnavailableError: no server could be reached in time.
            BrokerError: a server refused the credentials.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._connect()
        except TimeoutError as error:
            await self._abandon()
            raise self._unreachable(timeout or 0.0) from (self._last_error or error)
        except BaseException:
            await self._abandon()
            raise
        self._established = True
        self._watch()

    async def close(self) -> None:
        """Close the connection for good; safe to call twice."""
        self._closing = True
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        if self._repair is not None:
            self._repair.cancel()
        await self._abandon()
        self.closed.set()

    async def _connect(self) -> None:
        login = self._login
        await self.client.connect(
            servers=list(login.servers),
            name=login.name,
            user=login.user,
            password=login.password,
            user_credentials=login.credentials_file,
            tls=login.tls,
            error_cb=self._on_error,
            disconnected_cb=self._on_lost,
            reconnected_cb=self._on_back,
            closed_cb=self._on_closed,
            max_reconnect_attempts=-1,
            reconnect_time_wait=random.uniform(0.15, 0.4),  # type: ignore[arg-type]  # noqa: S311 - any number of seconds will do; it spreads load
            connect_timeout=2,
            ping_interval=PING_INTERVAL,
            max_outstanding_pings=1,
            drain_timeout=5,
            # No buffer: a publish on a lost link fails at once instead of being sent later as a ghost, and
            # a publish never waits in the flusher for a link that may not come back.
            pending_size=0,
        )

    async def _abandon(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_LIMIT):
                await self.client.close()
        except TimeoutError:
            self._abort()
        except (NatsError, OSError, RuntimeError, AssertionError) as error:
            # The client asserts on a transport that it never had, and writes to one that is gone.
            _log.debug("while closing a connection to the broker: %s", error)

    def _unreachable(self, timeout: float) -> BrokerUnavailableError:
        where = ", ".join(_without_password(server) for server in self._login.servers)
        reason = f" ({self._last_error})" if self._last_error else ""
        return BrokerUnavailableError(
            f"no broker could be reached at {where} within {timeout:g} s{reason}",
            hint="check that it runs and that [nats] url is right; `tidemill doctor` looks closer",
        )

    async def _on_error(self, error: Exception) -> None:
        self._last_error = error
        if not self._established:
            text = str(error).lower()
            if any(refusal in text for refusal in _REFUSALS):
                # Raised through nats-py, whose own loop would go on for ever.
                raise BrokerError(
                    f"the broker refused the credentials: {error}",
                    hint="check [nats] user and password or the credentials file",
                ) from error
        if isinstance(error, NatsError | OSError | TimeoutError):
            _log.debug("broker connection %s: %s", self._login.name, error)
        else:
            _log.error("broker connection %s: a callback failed", self._login.name, exc_info=error)

    async def _on_lost(self) -> None:
        self._discard_unsent()
        if self._established:
            if not self._closing and not self.client.is_closed:  # closed: somebody wanted that
                _log.warning("broker connection %s: lost (%s)", self._login.name, self._last_error)
            self._lost()

    async def _on_back(self) -> None:
        _log.info("broker connection %s: back", self._login.name)
        self._back()

    async def _on_closed(self) -> None:
        if self._established:
            self._lost()
        self.closed.set()

    def _abort(self) -> None:
        """Drop a connection that is being closed and waits for its peer to read."""
        writer: asyncio.StreamWriter | None = getattr(self.client._transport, "_io_writer", None)  # noqa: SLF001 - there is no public way
        if writer is not None and writer.is_closing():
            writer.transport.abort()

    def _discard_unsent(self) -> None:
        self.client._pending.clear()  # noqa: SLF001 - there is no public way, see the module's first lines
        self.client._pending_data_size = 0  # noqa: SLF001 - the same

    def _watch(self) -> None:
        if self.client.is_closed or self._closing:
            return
        self._mend()
        self._watchdog = asyncio.get_running_loop().call_later(WATCH_INTERVAL, self._watch)

    def _mend(self) -> None:
        if self._repair is not None and not self._repair.done():
            return
        client = self.client
        if client.is_connected and not client.is_draining:
            workers = (client._reading_task, client._ping_interval_task)  # noqa: SLF001 - nats-py tells nobody of their end
            if any(worker is None or worker.done() for worker in workers):
                _log.warning("broker connection %s: its reader has died, connecting anew", self._login.name)
                self._repair = asyncio.create_task(client.force_reconnect(), name="bus-force-reconnect")
        elif client.is_reconnecting or client.is_connecting:
            self._abort()
            attempt = client._reconnection_task  # noqa: SLF001 - the same
            if attempt is None or attempt.done():
                _log.warning("broker connection %s: its reconnection has died, trying anew", self._login.name)
                self._repair = asyncio.create_task(client._attempt_reconnect(), name="bus-reconnect")  # noqa: SLF001 - the same


def _without_password(server: str) -> str:
    scheme, separator, rest = server.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
