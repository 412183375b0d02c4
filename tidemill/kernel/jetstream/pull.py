"""Pulling: deliveries of one durable consumer, asked for by `CONSUMER.MSG.NEXT` requests of our own.

A puller keeps two requests at most, each with a subscription of its own, so that every delivery is known to
belong to one of them. It begins with a small request, doubles while its deliveries keep coming, and asks
again when half of a request has been delivered, so that a busy consumer never runs dry and a quiet one
holds no places. Requests are short (5 s): a frozen process swallows what its open requests have left.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from tidemill.kernel import backoff
from tidemill.kernel.errors import BrokerError, BrokerUnavailableError
from tidemill.kernel.jetstream.api import CONSUMER_NOT_FOUND, STREAM_NOT_FOUND
from tidemill.kernel.jetstream.budget import Budget
from tidemill.kernel.jetstream.delivery import Delivery
from tidemill.kernel.jetstream.pullrequest import PullRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill.kernel.jetstream.bus import Bus, Message

__all__ = ["Budget", "Delivery", "Puller"]

_log = logging.getLogger(__name__)

_TICK: Final = 1.0
_LARGEST_START: Final = 8
_STARTS_PER_BUDGET: Final = 8
_SCARCE_EXPIRES: Final = 0.5
_STOP_LIMIT: Final = 2.0
_QUIET: Final = 0.1
_HEARTBEAT: Final = "100"
_EMPTY: Final = frozenset({"404", "408"})


class Puller:
    """Feeds a consumer's deliveries to `deliver`, as many as the budget has places for.

    `deliver` is called on the event loop and returns at once; for every delivery the receiver calls
    `budget.give_back()` when it is through. `on_missing` is called, again and again with growing delays,
    while the consumer doesn't exist.
    """

    def __init__(  # noqa: PLR0913 - five things that belong together and three that tune
        self,
        bus: Bus,
        stream: str,
        consumer: str,
        budget: Budget,
        deliver: Callable[[Delivery], None],
        *,
        batch_limit: int = 256,
        expires: float = 5.0,
        on_missing: Callable[[], None] | None = None,
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._consumer = consumer
        self._budget = budget
        self._deliver = deliver
        self._batch_limit = batch_limit
        self._expires = expires
        self._on_missing = on_missing
        self._wake = asyncio.Event()
        self._resume = asyncio.Event()
        self._share = budget.join(self._on_places)
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._requests = (
            PullRequest(bus, subject, self._share),
            PullRequest(bus, subject, self._share),
        )
        self._outlived = False
        self._size = 1  # until it is known how many share the budget
        self._failures = 0
        self._failed = False
        self._stopping = False
        self._running = False
        self._finished = asyncio.Event()
        self._unwanted: list[Delivery] = []
        self._tick: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Pull until `stop`; what fails is tried again after a growing delay.

        Raises:
            RuntimeError: it has run before; a puller is used once.
        """
        if self._running:
            raise RuntimeError("a puller runs once")
        self._running = True
        self._bus.on_disconnect(self._on_lost)
        self._bus.on_reconnect(self._on_back)
        try:
            self._on_tick()
            while not self._stopping:
                await self._turn()
        finally:
            await self._leave()
            self._finished.set()

    async def stop(self) -> None:
        """Stop asking, give back what has been delivered and not handed out, return when `run` has ended."""
        self._stopping = True
        self._resume.set()
        self._wake.set()
        if self._running:
            await self._finished.wait()
        else:
            self._share.leave()

    async def _turn(self) -> None:
        try:
            if self._failed:
                self._failed = False
                await self._back_off()
            self._share.activate()
            await self._subscribe()
            await self._ask()
        except BrokerUnavailableError as error:
            _log.debug("pull %s: %s", self._consumer, error)
            self._failed = True
        if not self._failed:
            await self._wake.wait()
        self._wake.clear()

    async def _subscribe(self) -> None:
        """Subscribe each request to an inbox; to a fresh one after the link was lost.

        With the old inbox, requests that the broker still knows would come to life again.
        """
        for request in self._requests:
            if self._outlived:
                await request.unsubscribe()
            await request.subscribe(partial(self._arrived, request))
        self._outlived = False

    async def _ask(self) -> None:
        first, second = self._requests
        for request, other in ((first, second), (second, first)):
            if request.left == 0 and not other.more_than_half_left:
                taken = self._take(other.left)
                if taken:
                    scarce = self._budget.scarce
                    await request.open(
                        taken, min(self._expires, _SCARCE_EXPIRES) if scarce else self._expires
                    )

    def _take(self, coming: int) -> int:
        """Take places for another request while `coming` deliveries are on their way; few don't pay."""
        if coming and self._share.available() * 2 < coming:
            self._share.wish()
            return 0
        return self._share.take(max(1, self._size - coming))

    def _arrived(self, request: PullRequest, message: Message) -> None:
        if not message.reply:
            self._status(request, message)
            return
        if not request.use_one():
            self._budget.overdraw()
        self._failures = 0
        self._hand_over(message)
        if request.left == 0:
            self._size = min(self._size * 2, self._batch_limit)
        if not request.more_than_half_left:
            self._wake.set()

    def _hand_over(self, message: Message) -> None:
        delivery = Delivery(
            self._bus,
            subject=message.subject,
            body=message.body,
            headers=message.headers,
            reply=message.reply,
        )
        if self._stopping:
            self._unwanted.append(delivery)
            self._budget.give_back()
            return
        try:
            self._deliver(delivery)
        except BaseException:
            self._budget.give_back()
            raise

    def _status(self, request: PullRequest, message: Message) -> None:
        status = (message.headers or {}).get("Status", "")
        if status == _HEARTBEAT or not request.is_answered_by(message):
            return
        if status in _EMPTY:
            self._failures = 0
            if request.untouched:
                self._size = self._start_size()
        else:
            description = (message.headers or {}).get("Description", "").strip()
            _log.debug("pull %s: status %s %s", self._consumer, status, description)
            self._failed = True
        request.end()
        self._wake.set()

    async def _back_off(self) -> None:
        self._failures += 1
        pause = backoff.delay(
            self._failures, factor=2, min_delay=0.05, max_delay=2.0, jitter=backoff.spread()
        )
        self._share.rest()
        self._resume.clear()
        try:
            async with asyncio.timeout(pause):
                await self._resume.wait()
        except TimeoutError:
            await self._report_if_missing()

    async def _report_if_missing(self) -> None:
        if self._on_missing is None or not self._bus.connected:
            return
        try:
            await self._bus.api(f"CONSUMER.INFO.{self._stream}.{self._consumer}", timeout=2.0)
        except BrokerUnavailableError as error:
            _log.debug("pull %s: %s", self._consumer, error)
        except BrokerError as error:
            if error.code in (CONSUMER_NOT_FOUND, STREAM_NOT_FOUND):
                self._on_missing()
            else:
                _log.warning("pull %s: %s", self._consumer, error)

    def _start_size(self) -> int:
        fair = self._budget.places // (_STARTS_PER_BUDGET * self._budget.sharers)
        return max(1, min(_LARGEST_START, self._batch_limit, fair))

    def _on_places(self) -> None:
        coming = self._share.held
        if coming == 0 or self._share.available() * 2 >= coming:
            self._wake.set()

    def _on_tick(self) -> None:
        loop = asyncio.get_running_loop()
        for request in self._requests:
            if request.end_if_lost(loop.time()):
                self._wake.set()
        self._tick = loop.call_later(_TICK, self._on_tick)

    def _on_lost(self) -> None:
        for request in self._requests:
            request.end()
        self._outlived = True
        self._failed = True
        self._wake.set()

    def _on_back(self) -> None:
        self._failures = 0
        self._resume.set()

    async def _run_dry(self) -> None:
        """Let open requests come to their end, as long as something comes.

        A delivery on its way to an inbox that is just being unsubscribed would be lost until its lease ends.
        """
        arrived = -1
        while any(request.left for request in self._requests) and arrived != len(self._unwanted):
            arrived = len(self._unwanted)
            await asyncio.sleep(_QUIET)

    async def _leave(self) -> None:
        self._stopping = True
        self._bus.forget_callback(self._on_lost)
        self._bus.forget_callback(self._on_back)
        if self._tick is not None:
            self._tick.cancel()
        try:
            async with asyncio.timeout(_STOP_LIMIT):
                await self._run_dry()
                await asyncio.gather(*(request.unsubscribe() for request in self._requests))
                for delivery in self._unwanted:
                    await delivery.nak()
        except (TimeoutError, BrokerUnavailableError) as error:
            # What couldn't be given back is delivered again when its lease has run out.
            _log.info(
                "pull %s: %d deliveries not given back (%s)", self._consumer, len(self._unwanted), error
            )
        finally:
            for request in self._requests:
                request.end()
            self._share.leave()
