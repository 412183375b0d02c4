"""The spool of a gateway: takes parcels while the broker is away, and knows what it holds.

A parcel counts when it is on the disk: one thread writes what came meanwhile together, with one fsync for all
(group commit). Deliveries that it holds are recognised as duplicates, also while they are being written.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from gateway.derived import DERIVED
from gateway.receipt import ACCEPTED, DUPLICATE, QUARANTINED, Taken
from gateway.spool.parcel import Body, Item, Parcel, Summary, Word, rekeyed, summary
from gateway.spool.record import OVERHEAD
from gateway.verdict import Quarantined
from tidemill.kernel.errors import BrokerUnavailableError, PayloadError, StreamFullError
from tidemill.kernel.services.windows import key_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.spool.log import SegmentLog
    from gateway.spool.record import Record
    from gateway.verdict import Accepted

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
TRIAL_SECONDS: Final = 10.0
"""Seconds after which a disk that failed is trusted to be tried again."""
_SPARE: Final = 64
_COMMIT_BYTES: Final = 8 << 20
_WORDS: Final = 100_000


class _Pending(NamedTuple):
    """A payload that waits to be written."""

    payload: bytes
    keys: tuple[str, ...]
    at: float
    written: asyncio.Future[None]


class Spool:
    """Parcels on the local disk.

    Args:
        log: where they are written.
        clock: seconds since the epoch.

    Attributes:
        arrived: set while it holds something.
        records: parcels that it holds.
        taken: parcels that it took since the start.
    """

    def __init__(
        self,
        log: SegmentLog,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._disk = log
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._index: dict[str, asyncio.Future[None] | None] = {}
        self._held: OrderedDict[int, tuple[tuple[str, ...], float]] = OrderedDict()
        self._pending: list[_Pending] = []
        self._pending_bytes = 0
        self._wanted = asyncio.Event()
        self._words: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self.arrived = asyncio.Event()
        self.taken = 0
        self._monotonic = monotonic
        self._failure, self._failed_at = "", 0.0
        for found in log.recover():
            known = _summary(found)
            self._hold(found.seq, known.keys, known.at)
            self._words.update({one.key: (one.word, known.at + one.seconds) for one in known.words})
        if self._held:
            _log.warning("the spool in %s holds %d deliveries of before", log.folder, len(self._held))

    @property
    def holds(self) -> bool:
        """Whether anything is held, or being written."""
        return bool(self._held or self._pending or self._index)

    @property
    def problem(self) -> str:
        """Why it takes nothing just now; empty where it does, or may again."""
        if self._failure and self._monotonic() < self._failed_at + TRIAL_SECONDS:
            return self._failure
        free = self.limit - self.size - self._pending_bytes
        return f"the spool is full: {self.size} of {self.limit} bytes" if free < self.limit // _SPARE else ""

    @property
    def records(self) -> int:
        """Parcels on the disk that aren't drained."""
        return len(self._held)

    @property
    def last(self) -> int:
        """The sequence of the newest parcel, that of what was drained where it holds none."""
        return next(reversed(self._held), self._disk.drained)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self._disk.size

    @property
    def limit(self) -> int:
        """Bytes that may be on the disk."""
        return self._disk.limit

    @property
    def age(self) -> float:
        """Seconds since the oldest parcel came; 0 without any."""
        oldest = next(iter(self._held.values()), None)
        return max(0.0, self._clock() - oldest[1]) if oldest else 0.0

    async def take(
        self,
        verdicts: Sequence[Accepted | Quarantined],
        client: str,
        window: float | None = None,
        body: Body | None = None,
    ) -> list[Taken]:
        """Keep the events of one request, all of them or none; return when they are on the disk.

        Args:
            verdicts: the events.
            client: the address that sent them.
            window: seconds for which their source recognises a delivery, where the broker couldn't be asked.
            body: that of a batch, where it is kept.

        Raises:
            StreamFullError: the spool is full.
            BrokerUnavailableError: the disk doesn't take them.
        """
        items = [self._item(verdict, window) for verdict in verdicts]
        new: dict[str, Item] = {}
        for item in items:
            if item.key not in self._index:
                new.setdefault(item.key, item)
        writing = [self._index[item.key] for item in items if item.key in self._index]
        if new:
            writing.append(self._write(Parcel(tuple(new.values()), client, self._clock(), body)))
        for future in writing:
            if future is not None:
                await asyncio.shield(future)
        return [_taken(one, new=new.pop(one.key, None) is not None) for one in items]

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._pending:
                await self._commit(self._next_group())

    async def batch(self, after: int, most: int) -> list[Record]:
        """Return the first records behind a sequence.

        Raises:
            OSError: they can't be read.
        """
        return await self._on_disk(lambda: self._disk.batch(after, most))

    @property
    def drained(self) -> int:
        """The sequence up to which everything was drained."""
        return self._disk.drained

    async def drain(self, upto: int) -> None:
        """Forget everything up to a sequence: the broker has it.

        Raises:
            OSError: it couldn't be noted on the disk, and would be drained again after a restart.
        """
        try:
            await self._on_disk(lambda: self._disk.drain(upto))
        finally:
            while self._held and next(iter(self._held)) <= upto:
                _, (keys, _) = self._held.popitem(last=False)
                for key in keys:
                    self._index.pop(key, None)
            if not self._held:
                self.arrived.clear()

    async def lose(self) -> None:
        """Forget what can't be found on the disk any more, and keep what is there for a look.

        Raises:
            OSError: as for `drain`.
        """
        self._disk.lose()
        await self.drain(self.last)

    async def set_aside(self, seq: int, payload: bytes) -> str:
        """Keep a record apart that can't be drained; return where.

        Raises:
            OSError: it can't be written.
        """
        return str(await self._on_disk(lambda: self._disk.set_aside(seq, payload)))

    def close(self) -> None:
        """Let the disk go, after what is being written; what is held stays there."""
        self._thread.shutdown(wait=True)
        self._disk.close()

    def _item(self, verdict: Accepted | Quarantined, window: float | None) -> Item:
        if window is None:
            return Item(verdict)
        envelope = verdict.envelope
        word = self._word(envelope.deliverykey, window)
        shown = word if envelope.id.startswith(DERIVED) else None
        changed = rekeyed(verdict, key_within(envelope.deliverykey, word), shown)
        return Item(changed, Word(envelope.deliverykey, window, word))

    def _word(self, key: str, window: float) -> str:
        """Return the word of a delivery's present window."""
        now = self._clock()
        known = self._words.get(key)
        if known is not None and now < known[1]:
            return known[0]
        word = secrets.token_hex(4)
        self._words.pop(key, None)
        self._words[key] = (word, now + window)
        if len(self._words) > _WORDS:
            self._words.popitem(last=False)
        return word

    def _write(self, parcel: Parcel) -> asyncio.Future[None]:
        """Let a parcel be written; its events are duplicates from now on."""
        payload = parcel.encode()
        if not self._disk.room_for(payload, self._pending_bytes):
            full = f"the spool has no room: {self.size} of {self.limit} bytes are used"
            raise StreamFullError(full, hint="bring the broker back, or raise gateway.spool")
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        keys = tuple(item.key for item in parcel.items)
        self._index.update(dict.fromkeys(keys, written))
        self._pending.append(_Pending(payload, keys, parcel.at, written))
        self._pending_bytes += OVERHEAD + len(payload)
        self._wanted.set()
        return written

    def _next_group(self) -> list[_Pending]:
        """Return what is written together."""
        size = 0
        for count, one in enumerate(self._pending, 1):
            size += len(one.payload)
            if size >= _COMMIT_BYTES:
                return self._pending[:count]
        return list(self._pending)

    async def _commit(self, group: list[_Pending]) -> None:
        """Write some payloads, and tell those who wait for them."""
        payloads = [one.payload for one in group]
        try:
            sequences = await self._on_disk(lambda: self._disk.append(payloads))
        except OSError as error:
            self._fail(f"the spool in {self._disk.folder} can't be written: {error}")
            self._settle(group, self._failure)
            return
        for seq, one in zip(sequences, group, strict=True):
            self._hold(seq, one.keys, one.at)
        self.taken += len(group)
        self._failure = ""
        self._settle(group)

    def _settle(self, group: list[_Pending], failure: str = "") -> None:
        del self._pending[: len(group)]
        for one in group:
            self._pending_bytes -= OVERHEAD + len(one.payload)
            if failure:
                for key in one.keys:
                    del self._index[key]
                one.written.set_exception(
                    BrokerUnavailableError(failure, hint="check the disk's space and rights")
                )
                one.written.exception()  # read: who waited for it may have gone
            else:
                one.written.set_result(None)

    def _hold(self, seq: int, keys: tuple[str, ...], at: float) -> None:
        self._held[seq] = (keys, at)
        self._index.update(dict.fromkeys(keys))
        self.arrived.set()

    def _fail(self, problem: str) -> None:
        if not self._failure:
            _log.error("%s", problem)
        self._failure, self._failed_at = problem, self._monotonic()

    async def _on_disk(self, work: Callable[[], _T]) -> _T:
        """Do something in the one thread that has to do with the disk."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _taken(item: Item, *, new: bool) -> Taken:
    verdict = item.verdict
    if isinstance(verdict, Quarantined):
        return Taken(verdict.envelope, QUARANTINED if new else DUPLICATE, reason=verdict.reason)
    return Taken(verdict.envelope, ACCEPTED if new else DUPLICATE)


def _summary(found: Record) -> Summary:
    try:
        return summary(found.payload)
    except PayloadError:
        return Summary((), time.time())  # who drains it says so
