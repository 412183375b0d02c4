"""Answers that are awaited: one table of futures, keyed by reply subject, and one sweep for time-outs.

A timer per request would cost as much as the request itself, so overdue ones are looked for at fixed
intervals: a time-out is late by up to `SWEEP` seconds and never early.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tidemill.kernel.errors import BrokerUnavailableError

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.message import Message

SWEEP: Final = 0.1
# A sweep that comes later than this was held up by a blocked loop: the answers may lie unread in the socket.
_HELD_UP: Final = 5 * SWEEP

OneFuture: TypeAlias = "asyncio.Future[Message]"
ManyFuture: TypeAlias = "asyncio.Future[list[Message]]"


class _One(NamedTuple):
    future: OneFuture
    deadline: float
    what: str


class _Many(NamedTuple):
    future: ManyFuture
    deadline: float
    what: str
    parts: list[Message]


class Replies:
    """The futures of one connection's open requests; every one of them is resolved at some time."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0
        self._loop = asyncio.get_running_loop()
        self._open: dict[str, _One | _Many] = {}
        self._sweep_handle: asyncio.TimerHandle | None = None
        self._sweep_due = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def expect(self, what: str, timeout: float) -> tuple[str, OneFuture]:
        """Return a fresh reply subject and the future of the one answer that will arrive there."""
        future: OneFuture = self._loop.create_future()
        inbox = self._next_inbox()
        self._open[inbox] = _One(future, self._loop.time() + timeout, what)
        return inbox, future

    def expect_many(self, what: str, timeout: float) -> tuple[str, ManyFuture]:
        """Return a fresh reply subject and the future of all answers up to one that carries a status."""
        future: ManyFuture = self._loop.create_future()
        inbox = self._next_inbox()
        self._open[inbox] = _Many(future, self._loop.time() + timeout, what, [])
        return inbox, future

    def forget(self, inbox: str) -> None:
        """Drop a request that nobody awaits any more."""
        self._open.pop(inbox, None)

    def arrived(self, message: Message) -> None:
        """Hand an answer to who awaits it; answers that come too late are dropped."""
        request = self._open.get(message.subject)
        if request is None or request.future.done():
            return
        if isinstance(request, _One):
            request.future.set_result(message)
            return
        request.parts.append(message)
        if message.headers is not None and "Status" in message.headers:
            request.future.set_result(request.parts)

    def fail_all(self, sentence: str, hint: str) -> None:
        """Fail every open request at once: the link is lost and the outcome of each is unknown."""
        for request in self._open.values():
            if not request.future.done():
                request.future.set_exception(BrokerUnavailableError(f"{request.what}: {sentence}", hint=hint))

    def close(self) -> None:
        """Stop the sweep; what is open must have been failed before."""
        if self._sweep_handle is not None:
            self._sweep_handle.cancel()
            self._sweep_handle = None

    def _next_inbox(self) -> str:
        if self._sweep_handle is None:
            self._arm()
        self._count += 1
        return f"{self._prefix}{self._count}"

    def _arm(self) -> None:
        self._sweep_due = self._loop.time() + SWEEP
        self._sweep_handle = self._loop.call_at(self._sweep_due, self._sweep)

    def _sweep(self) -> None:
        self._sweep_handle = None
        now = self._loop.time()
        if now - self._sweep_due < _HELD_UP:
            self._fail_overdue(now)
        if self._open:
            self._arm()

    def _fail_overdue(self, now: float) -> None:
        for request in self._open.values():
            if request.deadline <= now and not request.future.done():
                request.future.set_exception(
                    BrokerUnavailableError(
                        f"{request.what}: no answer in time, the outcome is unknown",
                        hint="the broker is slow or changes its leader: repeat it with the same message id",
                    )
                )
