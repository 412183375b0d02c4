"""What travels on the bus, and what nats-py's messages and errors are in our words."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from nats.errors import BadHeaderError, BadSubjectError, MaxPayloadError
from nats.errors import Error as NatsError

from tidemill.kernel.errors import BrokerError, BrokerUnavailableError
from tidemill.kernel.jetstream.api import NO_RESPONDERS, no_responders
from tidemill.kernel.jetstream.message import Message

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.subscription import Subscription as NatsSubscription

STOP_LIMIT: Final = 1.0
AWAY: Final = "the broker is away"
RETRY_HINT: Final = "the bus reconnects by itself: try again in a moment, with the same message id"
TOO_LARGE: Final = 10054


class Stored(NamedTuple):
    """The broker's acknowledgement of a publish: where the message stands, or stood before."""

    stream: str
    seq: int
    duplicate: bool


class Subscription:
    """Interest in a subject, until `stop`."""

    def __init__(self, client: Client, inner: NatsSubscription) -> None:
        self._client = client
        self._inner = inner

    async def drop(self) -> None:
        """Take back the interest at once; what comes meanwhile reaches nobody."""
        with suppress(NatsError, OSError):  # a connection that is gone has no interest left to take back
            await self._inner.unsubscribe()

    async def stop(self) -> None:
        """Take back the interest; what the broker had sent before still reaches the handler.

        A broker that doesn't answer isn't waited for.
        """
        with suppress(NatsError, OSError):  # a connection that is gone has no interest left to take back
            if not self._client.is_connected:
                await self._inner.unsubscribe()  # so that it isn't renewed with the link
                return
            try:
                async with asyncio.timeout(STOP_LIMIT):
                    await self._inner.drain()  # type: ignore[no-untyped-call] # nats-py left it without types
            except TimeoutError:
                self._inner._stop_processing()  # noqa: SLF001 - as the drain would have done at its end
                self._client._remove_sub(self._inner._id)  # noqa: SLF001 - the same


def require_responder(subject: str, answer: Message) -> None:
    """Raise `BrokerUnavailableError` where the broker answered that nobody listens on the subject."""
    headers = answer.headers
    if headers is not None and headers.get("Status") == NO_RESPONDERS and not answer.body:
        raise no_responders(subject)


def translate(subject: str, error: Exception, *, size: int = 0, limit: int = 0) -> BrokerError:
    """Return the error of ours for one of nats-py's."""
    if isinstance(error, MaxPayloadError):
        return BrokerError(
            f"{subject}: {size} bytes are more than the broker's max_payload of {limit}",
            code=TOO_LARGE,
            hint="large bodies belong into a blob; a broker of your own needs max_payload of at least 1 MiB",
        )
    if isinstance(error, BadSubjectError | BadHeaderError):
        return BrokerError(f"{subject!r}: no valid subject or header", hint="escape names into tokens first")
    return BrokerUnavailableError(f"{subject}: {AWAY}, the outcome is unknown ({error})", hint=RETRY_HINT)
