"""The lean bus: acknowledged publishes, requests and subscriptions on one connection to NATS.

All answers of a connection arrive on one wildcard inbox and are found in one table of futures. Nothing is
ever buffered for a broker that is away: a publish on a lost link fails at once, and a lost link fails every
publish that is in flight, with an unknown outcome. Every publish that matters therefore carries a key (a
message id, or the sequence that it expects), so that it can be repeated.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

import orjson
from nats.errors import Error as NatsError

from tidemill.kernel.errors import BrokerUnavailableError
from tidemill.kernel.jetstream.api import answer_of
from tidemill.kernel.jetstream.link import Link, Login
from tidemill.kernel.jetstream.message import Message
from tidemill.kernel.jetstream.messages import (
    AWAY,
    RETRY_HINT,
    Stored,
    Subscription,
    require_responder,
    translate,
)
from tidemill.kernel.jetstream.replies import Replies
from tidemill.kernel.subjects import Names

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence


__all__ = ["Bus", "Message", "Stored", "Subscription"]

_LOST: Final = "the connection to the broker was lost, the outcome is unknown"
_DRAIN_LIMIT: Final = 2.0


class Bus:
    """One connection to the broker, shared by everything in a process that may share its fate."""

    def __init__(self, login: Login, names: Names) -> None:
        self.names = names
        self.name = login.name
        self._link = Link(login, lost=self._on_lost, back=self._on_back)
        self._client = self._link.client
        self.closed: asyncio.Event = self._link.closed
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._replies = Replies(f"{self._inbox}.")
        self._opening: asyncio.Task[None] | None = None
        self._subscriptions = 0
        self._lost_callbacks: list[Callable[[], None]] = []
        self._back_callbacks: list[Callable[[], None]] = []

    @classmethod
    async def connect(  # noqa: PLR0913 - one keyword per setting of a connection
        cls,
        servers: Sequence[str],
        *,
        names: Names = Names(),  # noqa: B008 - frozen, so one value serves all calls
        name: str,
        user: str | None = None,
        password: str | None = None,
        credentials_file: str | None = None,
        tls: ssl.SSLContext | None = None,
        connect_timeout: float = 5.0,
    ) -> Self:
        """Connect, trying again for `connect_timeout` seconds; afterwards it reconnects for ever.

        Raises:
            BrokerUnavailableError: no server could be reached in time.
            BrokerError: a server refused the credentials.
        """
        bus = cls(Login(servers, name, user, password, credentials_file, tls), names)
        await bus._open(connect_timeout)
        return bus

    @classmethod
    async def connect_early(cls, login: Login, names: Names, *, connect_timeout: float = 5.0) -> Self:
        """Connect as `connect` does, and go on in the background where no server could be reached in time.

        Raises:
            BrokerError: a server refused the credentials.
        """
        bus = cls(login, names)
        bus._opening = asyncio.create_task(bus._open_late(), name="bus-open")
        try:
            done, _ = await asyncio.wait({bus._opening}, timeout=connect_timeout)
            if done:
                await bus._opening
        except BaseException:
            await bus.close()
            raise
        return bus

    async def opened(self) -> None:
        """Wait until it is connected for the first time.

        Raises:
            BrokerError: a server refused the credentials.
        """
        if self._opening is not None:
            await asyncio.shield(self._opening)

    async def _open(self, timeout: float | None) -> None:
        await self._link.open(timeout)
        await self._client.listen(f"{self._inbox}.*", self._replies.arrived)

    async def _open_late(self) -> None:
        """Connect however long it takes, and tell those who wait for the link."""
        await self._open(None)
        self._on_back()

    @property
    def connected(self) -> bool:
        """Whether the link stands now; False as soon as its loss is noticed."""
        return self._client.is_connected

    @property
    def max_payload(self) -> int:
        """The largest message in bytes, headers included, that the broker accepts."""
        return self._client.max_payload

    @property
    def server_version(self) -> str:
        """The version of the server that the link leads to, like `2.15.1`."""
        version = self._client.connected_server_version
        return f"{version.major}.{version.minor}.{version.patch}"

    async def wait_closed(self) -> None:
        """Wait until the connection is closed for good, on purpose or because the broker threw it out."""
        await self.closed.wait()

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call back whenever a lost link stands again and its subscriptions are in place."""
        self._back_callbacks.append(callback)

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        """Call back whenever the link is lost."""
        self._lost_callbacks.append(callback)

    def forget_callback(self, callback: Callable[[], None]) -> None:
        """Take a callback back, of either kind."""
        for callbacks in (self._lost_callbacks, self._back_callbacks):
            with suppress(ValueError):
                callbacks.remove(callback)

    async def publish(
        self,
        subject: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5.0,
    ) -> Stored:
        """Publish to a stream and return once the broker has acknowledged it.

        Raises:
            WrongSequenceError: an expected sequence was not the subject's tail.
            StreamFullError: the stream is at its limit.
            BrokerUnavailableError: not connected, lost meanwhile, no stream there or no answer in time;
                except for "not connected" the outcome is unknown.
            BrokerError: any other refusal, with its code.
        """
        answer = answer_of(subject, (await self._ask(subject, body, headers, timeout)).body)
        return Stored(answer["stream"], answer["seq"], answer.get("duplicate", False))

    async def request(
        self,
        subject: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5.0,
    ) -> Message:
        """Send a request and return its one answer.

        Raises:
            BrokerUnavailableError: as for `publish`.
        """
        return await self._ask(subject, body, headers, timeout)

    async def request_many(self, subject: str, body: bytes = b"", *, timeout: float = 5.0) -> list[Message]:
        """Send a request and return its answers, up to and with the first that carries a status.

        Raises:
            BrokerUnavailableError: as for `publish`.
        """
        self._require_link(subject)
        inbox, future = self._replies.expect_many(subject, timeout)
        try:
            self._write(subject, body, inbox, None)
            answers = await future
        finally:
            self._replies.forget(inbox)
        require_responder(subject, answers[-1])
        return answers

    async def api(
        self,
        operation: str,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float = 5.0,
    ) -> dict[str, Any]:
        """Call JetStream's API: `$JS.API.<operation>` with JSON in and out.

        Raises:
            BrokerError: the API refused, with its code.
            BrokerUnavailableError: as for `publish`.
        """
        subject = f"$JS.API.{operation}"
        body = b"" if payload is None else orjson.dumps(payload)
        return answer_of(subject, (await self._ask(subject, body, None, timeout)).body)

    async def send(
        self, subject: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> None:
        """Send without waiting for anything: acknowledgements, progress, hints.

        Raises:
            BrokerUnavailableError: not connected; nothing was sent and nothing will be.
        """
        self._require_link(subject)
        self._write(subject, body, reply, headers)

    async def subscribe(
        self, subject: str, handler: Callable[[Message], None], *, queue: str = ""
    ) -> Subscription:
        """Hand every message on a subject to a handler, in order; its exceptions are logged.

        Raises:
            BrokerUnavailableError: not connected.
        """
        self._require_link(subject)
        try:
            return Subscription(self._client, await self._client.listen(subject, handler, queue))
        except (NatsError, OSError, RuntimeError) as error:
            raise translate(subject, error) from error

    def new_inbox(self) -> str:
        """Return a subject of one's own, outside of the connection's wildcard inbox."""
        self._subscriptions += 1
        return f"{self._inbox}-{self._subscriptions}"

    async def drain(self) -> None:
        """Let what is in flight come to its end, for two seconds at most, then close."""
        # A link lost meanwhile has nothing left to drain, and a broker that doesn't answer isn't waited for.
        with suppress(NatsError, OSError, RuntimeError, TimeoutError):
            async with asyncio.timeout(_DRAIN_LIMIT):
                while len(self._replies) and self.connected:  # noqa: ASYNC110 - the table has no event: it is on the hot path
                    await asyncio.sleep(0.01)
                if self.connected:
                    await self._client.flush()
        await self.close()

    async def close(self) -> None:
        """Close at once; every request in flight fails with `BrokerUnavailableError`."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        self._replies.fail_all("the bus was closed, the outcome is unknown", "")
        await self._link.close()
        self._replies.fail_all("the bus was closed, the outcome is unknown", "")
        self._replies.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(
        self, subject: str, body: bytes, headers: Mapping[str, str] | None, timeout: float
    ) -> Message:
        self._require_link(subject)
        inbox, future = self._replies.expect(subject, timeout)
        try:
            self._write(subject, body, inbox, headers)
            answer = await future
        finally:
            self._replies.forget(inbox)
        if answer.headers is not None:
            require_responder(subject, answer)
        return answer

    def _write(self, subject: str, body: bytes, reply: str, headers: Mapping[str, str] | None) -> None:
        try:
            self._client.write(subject, body, reply, headers)
        except (NatsError, OSError, RuntimeError, AttributeError) as error:
            # RuntimeError and AttributeError: nats-py writing to a transport that has just gone.
            raise translate(subject, error, size=len(body), limit=self.max_payload) from error

    def _require_link(self, subject: str) -> None:
        if not self._client.is_connected:
            raise BrokerUnavailableError(f"{subject}: {AWAY}, nothing was sent", hint=RETRY_HINT)

    def _on_lost(self) -> None:
        self._replies.fail_all(_LOST, RETRY_HINT)
        for callback in tuple(self._lost_callbacks):
            callback()

    def _on_back(self) -> None:
        for callback in tuple(self._back_callbacks):
            callback()
