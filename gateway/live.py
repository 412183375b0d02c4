"""Live: tells pages and programs that something has changed, so that they look again.

What is sent are hints without content: whoever gets one asks for what it shows, with their own rights. The
broker and the history are looked at once a second for all listeners together, and only while there are some.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from tidemill.kernel.errors import BrokerError, HistoryError
from tidemill.kernel.jetstream.inspection import stream_info

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tidemill.history.reader import HistoryReader
    from tidemill.kernel.services.broker import Broker

STREAMS: Final = ("EVENTS", "RECORDS", "DELIVERIES", "REFUSALS", "QUARANTINE", "JOURNAL", "DEAD")
BUCKETS: Final = ("ALERTS",)
"""What is told of as well to those who name it."""
MOST: Final = 256
"""Listeners of one gateway at most."""
LIFETIME: Final = 60
"""Seconds after which a listener has to come again: then it is looked at anew who it is."""
HEARTBEAT: Final = 15.0
EVERY: Final = 1.0
_SETTLE: Final = 0.15
"""Seconds from a hint about a run to the word to look: what is on its way is stored by then."""
_TIMEOUT: Final = 2.0

Marks = dict[str, int]


@dataclass(slots=True, eq=False)
class Listening:
    """One listener: the event wakes it, `seen` is what it knows."""

    streams: frozenset[str]
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    seen: Marks = field(default_factory=dict)

    def news(self, marks: Marks) -> Marks:
        """Return what has changed of what it listens to."""
        wanted = {name: mark for name, mark in marks.items() if name.partition(".")[0] in self.streams}
        changed = {name: mark for name, mark in wanted.items() if self.seen.get(name) != mark}
        self.seen |= wanted
        return changed


class Live:
    """Who listens, and what has changed."""

    def __init__(self, broker: Broker, history: HistoryReader) -> None:
        self._broker = broker
        self._history = history
        self._listening: set[Listening] = set()
        self._pages: set[asyncio.Event] = set()
        self._somebody = asyncio.Event()
        self._stopped = asyncio.Event()
        self._marks: Marks = {}
        self._number = 0

    @property
    def full(self) -> bool:
        """Whether there are as many listeners as may be."""
        return self._number >= MOST

    def stop(self) -> None:
        """Let all listeners go: the process ends."""
        self._stopped.set()
        self._wake()
        for woken in self._pages:
            woken.set()

    async def run(self) -> None:
        """Look while somebody listens, until cancelled."""
        while True:
            await self._somebody.wait()
            marks = await self._look()
            if marks != self._marks:
                self._marks = marks
                self._wake()
            await asyncio.sleep(EVERY)

    async def listen(
        self, streams: frozenset[str], run: str | None = None, seconds: float = LIFETIME
    ) -> AsyncIterator[bytes]:
        """Yield server-sent events: `change` where one of the streams has grown, or a run's journal.

        A stream's mark is its last sequence, `JOURNAL.history` that up to which the history has come.
        """
        if self.full:
            return  # others were let in at the same time
        self._number += 1
        try:
            if run is None:
                async for event in self._follow_streams(streams, seconds):
                    yield event
            else:
                async for event in self._follow_run(run, seconds):
                    yield event
        finally:
            self._number -= 1

    async def _follow_streams(self, streams: frozenset[str], seconds: float) -> AsyncIterator[bytes]:
        mine = Listening(streams)
        self._listening.add(mine)
        self._somebody.set()
        try:
            mine.news(self._marks)
            async for due in self._beats(mine.woken, seconds):
                changed = mine.news(self._marks) if due else {}
                yield _event("change", changed) if changed else _BEAT
        finally:
            self._listening.discard(mine)
            if not self._listening:
                self._somebody.clear()

    async def _follow_run(self, run: str, seconds: float) -> AsyncIterator[bytes]:
        woken = asyncio.Event()
        names, bus = self._broker.names, self._broker.bus
        journal = await bus.subscribe(names.journal(run), lambda _: woken.set())
        logs = await bus.subscribe(names.subject("logs", run), lambda _: woken.set())
        self._pages.add(woken)
        try:
            async for due in self._beats(woken, seconds):
                if due:
                    await asyncio.sleep(_SETTLE)
                    woken.clear()
                    yield _event("change", {"run_id": run})
                else:
                    yield _BEAT
        finally:
            self._pages.discard(woken)
            await journal.stop()
            await logs.stop()

    async def _beats(self, woken: asyncio.Event, seconds: float) -> AsyncIterator[bool]:
        """Yield True when woken, False from time to time, for as long as a listener may stay."""
        yield False
        until = time.monotonic() + seconds
        while not self._stopped.is_set() and (left := until - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(HEARTBEAT, left)):
                    await woken.wait()
            except TimeoutError:
                yield False
            else:
                woken.clear()
                if not self._stopped.is_set():
                    yield True

    async def _look(self) -> Marks:
        """Return the marks; what can't be looked up keeps its old one."""
        marks = dict(self._marks)
        names = (*STREAMS, *BUCKETS)
        found = await asyncio.gather(*(self._mark(name) for name in names))
        marks |= {name: mark for name, mark in zip(names, found, strict=True) if mark is not None}
        try:
            async with asyncio.timeout(_TIMEOUT):
                marks |= {f"{one.stream}.history": one.seq for one in await self._history.positions()}
        except (HistoryError, TimeoutError):
            marks |= {name: 0 for name in marks if name.endswith(".history")}
        return marks

    async def _mark(self, stream: str) -> int | None:
        name = self._broker.names.stream(stream)
        name = f"KV_{name}" if stream in BUCKETS else name
        try:
            info = await stream_info(self._broker.bus, name, timeout=_TIMEOUT)
        except BrokerError:
            return None
        return int(info["state"]["last_seq"])

    def _wake(self) -> None:
        for one in self._listening:
            one.woken.set()


_BEAT: Final = b": still here\n\n"


def _event(name: str, data: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))
