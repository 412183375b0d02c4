"""Senders who wait for what a run answers: `reply = "run"` of their source.

A sender waits on a subject that is made of its delivery's key, so that a duplicate, at whichever gateway it
arrives, waits for the same answer. Each holds one of a bounded number of places. Whoever finds none, or
waits longer than its source allows, or until the gateway stops, gets the usual receipt.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from tidemill.kernel.errors import BrokerError, PayloadError
from tidemill.kernel.reply import TAKEN, Reply

if TYPE_CHECKING:
    from gateway.body import Receive
    from tidemill.kernel.envelope import Envelope
    from tidemill.kernel.jetstream.bus import Bus, Message, Subscription
    from tidemill.kernel.services.answers import Answers

ANSWERED: Final = "answered"
LATE: Final = "late"
ENDED: Final = "ended"
"""The delivery came before, and its runs have ended without an answer."""
BUSY: Final = "busy"
STOPPED: Final = "stopped"
UNWANTED: Final = "unwanted"
"""No task answers such an event."""
GONE: Final = "gone"
_log = logging.getLogger(__name__)


class Senders:
    """Those who wait at this gateway, `limit` of them at most."""

    def __init__(self, bus: Bus, answers: Answers, limit: int) -> None:
        self.bus = bus
        self.answers = answers
        self._limit = limit
        self._waiting: set[Waiting] = set()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._waiting)

    def waiting(self, source: str, until: float) -> Waiting:
        """Return one who may wait until a moment of the loop's clock."""
        return Waiting(self, source, until)

    def admit(self, waiting: Waiting) -> str | None:
        """Give a place; return why there is none."""
        if self._stopping:
            return STOPPED
        if len(self._waiting) >= self._limit:
            return BUSY
        self._waiting.add(waiting)
        return None

    def leave(self, waiting: Waiting) -> None:
        """Take a place back."""
        self._waiting.discard(waiting)

    def stop(self) -> None:
        """End all waits, and let nobody wait any more."""
        self._stopping = True
        for waiting in tuple(self._waiting):
            waiting.end(STOPPED)


class Waiting:
    """One sender, from before its event is stored until it is answered.

    Attributes:
        source: who sends.
        outcome: what has become of it.
    """

    def __init__(self, senders: Senders, source: str, until: float) -> None:
        self.source = source
        self.outcome = UNWANTED
        self._senders = senders
        self._until = until
        self._loop = asyncio.get_running_loop()
        self._heard: asyncio.Future[Reply | None] = self._loop.create_future()
        self._subscription: Subscription | None = None
        self._delivery = ("", "")
        self._acknowledge = ""

    async def begin(self, envelope: Envelope) -> None:
        """Begin to listen, before the event is stored: its run may be fast.

        Raises:
            BrokerUnavailableError: not connected.
        """
        senders = self._senders
        self._delivery = (envelope.deliverykey, envelope.type)
        if not await senders.answers.wanted(envelope.type):
            return
        refused = senders.admit(self)
        if refused is not None:
            self.outcome = refused
            return
        self.outcome = LATE
        subject = senders.bus.names.reply(envelope.deliverykey)
        try:
            self._subscription = await senders.bus.subscribe(subject, self._arrived)
        except BaseException:
            senders.leave(self)
            raise

    async def answer(self, receive: Receive, *, duplicate: bool) -> Reply | None:
        """Wait for the answer; None where there is none in time, `outcome` says why.

        A duplicate may find that it was given before.
        """
        if self._subscription is None:
            return None
        leaving = asyncio.create_task(self._watch(receive), name=f"a sender of {self.source}")
        try:
            async with asyncio.timeout_at(self._until):
                if duplicate:
                    await self._look_back()
                reply = await self._heard
        except TimeoutError:
            return None
        finally:
            leaving.cancel()
            await self.close()
        if reply is not None:
            self.outcome = ANSWERED
            await self._take()
        return reply

    def end(self, outcome: str) -> None:
        """Wait no more."""
        if not self._heard.done():
            self.outcome = outcome
            self._heard.set_result(None)

    async def close(self) -> None:
        """Give the place back."""
        self._senders.leave(self)
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.drop()

    def _arrived(self, message: Message) -> None:
        try:
            reply = Reply.decode(message.body)
        except PayloadError as error:
            _log.warning("what came as a reply to %s is none: %s", self.source, error.sentence)
            return
        if not self._heard.done():
            self._acknowledge = message.reply
            self._heard.set_result(reply)

    async def _look_back(self) -> None:
        try:
            known = await self._senders.answers.known(*self._delivery)
        except (BrokerError, PayloadError) as error:
            _log.warning("nobody knows whether %s was answered: %s", self.source, error.sentence)
            return
        if known.reply is not None and not self._heard.done():
            self._heard.set_result(known.reply)
        elif not known.open:
            self.end(ENDED)

    async def _watch(self, receive: Receive) -> None:
        """Notice that the sender has gone: the body was read, so nothing else can come."""
        while (await receive())["type"] != "http.disconnect":
            continue
        self.end(GONE)

    async def _take(self) -> None:
        """Tell the run that a sender gets its answer."""
        if not self._acknowledge:
            return
        try:
            await self._senders.bus.send(self._acknowledge, TAKEN)
        except BrokerError as error:
            _log.debug("the run of %s isn't told that it was heard: %s", self.source, error.sentence)
