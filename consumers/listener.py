"""The listener: finds the events that runs wait for, and has them brought to the runs.

It reads the events by itself, at its own pace: a wait costs the router nothing. What it knows is in memory;
after a restart it looks again at everything since each wait began, and runs take the same event once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final

import orjson
from pydantic import ValidationError

from consumers.follower import Follower
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import BrokerError, DefinitionError, NotFoundError, PayloadError
from tidemill.kernel.frames import unpack
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT
from tidemill.kernel.matching import EventWait, Occurrence
from tidemill.kernel.protocol.operations import Tell
from tidemill.kernel.protocol.records import End, Item, decode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidemill.kernel.jetstream.records import Record
    from tidemill.kernel.services.broker import Broker

POLL_SECONDS: Final = 0.2
_RETRY_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 30.0
_TIDY_SECONDS: Final = 10.0
_TIDY_AT_ONCE: Final = 100
_LATE_SECONDS: Final = 5.0
_LOOKS: Final = 5
_MOST_PATTERNS: Final = 32
_AT_ONCE: Final = 64
_log = logging.getLogger(__name__)


class Listener:
    """The role that matches events against open waits; several processes may run it side by side."""

    name: ClassVar[str] = "listener"

    def __init__(self, broker: Broker, *, poll: float = POLL_SECONDS) -> None:
        self._broker = broker
        self._poll = poll
        self._entries: dict[str, dict[str, Any]] = {}
        self._followers: dict[str, Follower] = {}
        self._where: dict[str, Follower] = {}
        self._next = 1
        self._looks = _LOOKS
        self._tidy_at = time.monotonic() + _TIDY_SECONDS
        self._stirred = asyncio.Event()
        self._stopping = False

    async def run(self) -> None:
        """Work until `stop`."""
        hints = None
        self._broker.bus.on_reconnect(self._stir)
        try:
            while not self._stopping:
                try:
                    hints = hints or await self._broker.waiting.watch(self._hear)
                    pause = await self._round()
                except BrokerError as error:
                    _log.warning("events are matched later: %s", error.sentence)
                    pause = _RETRY_SECONDS
                await self._nap(pause)
        finally:
            self._broker.bus.forget_callback(self._stir)
            if hints is not None:
                await hints.stop()

    async def stop(self) -> None:
        """Match no more; what wasn't found is found by the next one that works."""
        self._stopping = True
        self._stirred.set()

    def _hear(self, _: str) -> None:
        self._stir()

    def _stir(self) -> None:
        # A hint comes before its entry can be read everywhere: several looks follow it.
        self._looks = _LOOKS
        self._stirred.set()

    async def _nap(self, pause: float) -> None:
        if pause <= self._poll:  # hints don't make it look more often
            await asyncio.sleep(pause)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stirred.wait(), pause)

    async def _round(self) -> float:
        """Look at what is new, once; return how long nothing is to be done."""
        self._stirred.clear()
        self._looks = max(0, self._looks - 1)
        await self._read_directory()
        more = False
        for follower in list(self._followers.values()):
            more |= await self._follow(follower)
        await self._tidy()
        if more:
            return 0.0
        if self._where or self._looks:
            return self._poll
        return _TIDY_SECONDS if self._entries else _IDLE_SECONDS

    async def _read_directory(self) -> None:
        changes, self._next = await self._broker.waiting.changes(self._next)
        for key, facts, at in changes:
            self._forget(key)
            if facts is not None:
                self._entries[key] = facts
                if facts.get("kind") == "event":
                    self._enter(key, facts, at)

    def _enter(self, key: str, facts: dict[str, Any], at: float) -> None:
        try:
            wait = EventWait.of(facts, at)
        except (DefinitionError, KeyError, TypeError) as error:
            _log.error("the wait %s of %s can't be matched: %s", facts.get("box"), facts.get("run"), error)
            return
        pattern = wait.pattern
        if pattern not in self._followers and len(self._followers) >= _MOST_PATTERNS:
            pattern = ">"
        follower = self._followers.setdefault(pattern, Follower(self._broker.bus, pattern))
        follower.enter(key, wait)
        self._where[key] = follower

    def _forget(self, key: str) -> None:
        self._entries.pop(key, None)
        follower = self._where.pop(key, None)
        if follower is not None:
            follower.leave(key)
            if not follower.waits:
                self._followers = {name: one for name, one in self._followers.items() if one is not follower}

    async def _follow(self, follower: Follower) -> bool:
        """Match one page of events, each wait with the first that it takes; say whether there are more."""
        page, more = await follower.page()
        found: dict[str, tuple[str, bytes]] = {}
        for record in page:
            await asyncio.sleep(0)  # others live on this loop too
            event = await self._read(record)
            if event is not None:
                waits = follower.candidates(event)
                takers = [key for key, wait in waits if key not in found and _takes(wait, event)]
                found |= dict.fromkeys(takers, (event.key, _content(event))) if takers else {}
        await self._bring_all(found)
        if page:
            follower.passed(page[-1])
        return more

    async def _read(self, record: Record) -> Occurrence | None:
        """Return an event, None where it can't be read."""
        try:
            facts, raw = unpack(record.body)
            blob = facts.pop("blob", None)
            Envelope.from_facts(facts, b"")
            return Occurrence(facts, raw if blob is None else await self._broker.blobs.get(blob), record.at)
        except (PayloadError, NotFoundError, ValidationError) as error:
            _log.warning("event %d isn't matched with waits: %s", record.seq, error)
            return None

    async def _bring_all(self, found: Mapping[str, tuple[str, bytes]]) -> None:
        places = asyncio.Semaphore(_AT_ONCE)
        outcomes = await asyncio.gather(
            *(self._bring(places, key, *event) for key, event in found.items()), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _bring(self, places: asyncio.Semaphore, key: str, who: str, content: bytes) -> None:
        """Send an event to the run that waits for it; then nobody needs to look out for it any more."""
        async with places:
            wait = self._where[key].waits[key]
            large = len(content) > INLINE_LIMIT
            if not (large and await self._is_over(wait.run)):
                item = Item(
                    id=f"event-{key}-{who}",
                    box=wait.box,
                    who=who,
                    data=None if large else orjson.Fragment(content),
                    blob=await self._broker.blobs.put(wait.run, content) if large else None,
                    at=time.time(),
                )
                await self._broker.performer.perform(Tell(wait.run, item))
            await self._broker.waiting.close(wait.run, wait.box)
            self._forget(key)

    async def _tidy(self) -> None:
        """Now and then remove entries of waits that are over: their time or their runs."""
        if time.monotonic() < self._tidy_at:
            return
        self._tidy_at = time.monotonic() + _TIDY_SECONDS
        for key in list(islice(self._entries, _TIDY_AT_ONCE)):
            facts = self._entries.pop(key)
            self._entries[key] = facts  # it comes last the next time
            until = facts.get("until")
            if (until is not None and until + _LATE_SECONDS < time.time()) or await self._is_over(
                facts["run"]
            ):
                await self._broker.waiting.close(facts["run"], facts["box"])
                self._forget(key)

    async def _is_over(self, run: str) -> bool:
        tail = await self._broker.journal.tail_leader(run)
        try:
            return tail is None or not tail.body or isinstance(decode(tail.body), End)
        except PayloadError:
            return False  # a newer version wrote it


def _content(event: Occurrence) -> bytes:
    return orjson.dumps(Envelope.from_facts(dict(event.facts), event.raw).to_json())


def _takes(wait: EventWait, event: Occurrence) -> bool:
    try:
        return wait.takes(event)
    except ValueError as error:
        _log.warning("event %s doesn't decide the wait %s of %s: %s", event.key, wait.box, wait.run, error)
        return False
