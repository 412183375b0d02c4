"""Notes of the histories on the broker: who writes which database, and how far each has come.

A note is a lease too: it is written by compare-and-set, and a writer that finds another's changing stands by.
Nobody who moves runs along ever asks a database; the closer reads these notes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Final

import orjson

from tidemill.kernel import backoff
from tidemill.kernel.errors import PayloadError, WrongSequenceError
from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.jetstream.bus import Bus

NOBODY: Final = 2**62
"""The floor where no history is written: nothing has to be waited for."""
_LOOK_EVERY: Final = 1.0
_ABANDONED: Final = "journals.abandoned"
"""A key that no history's name can be. Older versions take it for a note that waits for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryNote:
    """How far a history has come: `seqs` is the last sequence of each stream that is committed.

    `database` is the database's own id, `place` where it is, `writer` the process that writes it, `at` that
    one's time; `released` says that the writer has stopped in order.
    """

    database: str
    place: str
    writer: str
    at: float = 0.0
    released: bool = False
    left_out: int = 0
    seqs: dict[str, int] = field(default_factory=dict)

    def pack(self) -> bytes:
        """Return the note as it is stored."""
        return orjson.dumps(asdict(self))

    @classmethod
    def unpack(cls, stored: bytes) -> HistoryNote:
        """Read a note; what a newer version says besides is left out.

        Raises:
            PayloadError: the bytes are no note.
        """
        try:
            facts = orjson.loads(stored)
            return cls(**{name: facts[name] for name in cls.__slots__ if name in facts})
        except (orjson.JSONDecodeError, TypeError) as error:
            raise PayloadError(f"a history's note can't be read: {error}") from error


async def all_notes(bucket: Bucket) -> dict[str, HistoryNote]:
    """Return the notes of all histories by their names.

    Raises:
        BrokerError: the broker is away.
    """
    stored = await bucket.items()
    stored.pop(_ABANDONED, None)
    return {name: HistoryNote.unpack(note) for name, note in stored.items()}


async def abandoned(bucket: Bucket) -> int:
    """Return how many journals were ever closed that no history has seen.

    Raises:
        BrokerError: the broker is away.
    """
    found = await bucket.get(_ABANDONED)
    return int(orjson.loads(found.value)["count"]) if found is not None else 0


async def count_abandoned(bucket: Bucket, number: int) -> None:
    """Add to the number of journals that were closed unseen; several processes may do so at a time.

    Raises:
        BrokerError: the broker is away.
    """
    while True:
        found = await bucket.get(_ABANDONED)
        count = number + (int(orjson.loads(found.value)["count"]) if found is not None else 0)
        note = HistoryNote(database="", place="", writer="", at=time.time(), seqs={"JOURNAL": NOBODY})
        stored = orjson.dumps(asdict(note) | {"count": count})
        try:
            await bucket.put(_ABANDONED, stored, revision=found.revision if found is not None else 0)
        except WrongSequenceError:
            await asyncio.sleep(backoff.spread())  # another process was faster
        else:
            return


async def lag(bus: Bus, note: HistoryNote) -> int:
    """Return how many messages a history hasn't taken in yet; those that are gone already count too.

    Raises:
        BrokerError: the broker is away.
    """
    infos = await asyncio.gather(
        *(bus.api(f"STREAM.INFO.{bus.names.stream(stream)}") for stream in note.seqs)
    )
    return sum(
        max(0, int(info["state"]["last_seq"]) - seq)
        for info, seq in zip(infos, note.seqs.values(), strict=True)
    )


class HistoryFloor:
    """Up to which sequence of the journals every history has come.

    It is looked up once a second at most; it goes back where a history begins anew.
    """

    def __init__(self, bucket: Bucket, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket = bucket
        self._clock = clock
        self._floor = -1
        self._looked_at = float("-inf")

    async def now(self) -> int:
        """Return the floor; NOBODY where no history is written.

        Raises:
            BrokerError: the broker is away.
        """
        if self._clock() - self._looked_at >= _LOOK_EVERY:
            found = (note for name, note in (await self._bucket.items()).items() if name != _ABANDONED)
            self._floor = min(map(_journals_of, found), default=NOBODY)
            self._looked_at = self._clock()
        return self._floor


def _journals_of(stored: bytes) -> int:
    """Return up to which sequence a history has the journals; a note that can't be read says nothing."""
    try:
        return int(HistoryNote.unpack(stored).seqs.get("JOURNAL", 0))
    except (AttributeError, PayloadError, TypeError, ValueError):
        return 0
