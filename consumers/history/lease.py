"""Who may write a history: the process that holds its database's lock and its note on the broker."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import replace
from typing import Final

from tidemill.history.database import Database
from tidemill.history.writer import HistoryWriter
from tidemill.kernel.errors import ConflictError, WrongSequenceError
from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.services.histories import HistoryNote

EVERY: Final = 1.0
"""Seconds between two notes of a writer that goes on."""
RENEW: Final = 5.0
"""Seconds after which a note is written though nothing has changed."""
STALE: Final = 20.0
"""Seconds after which a note that hasn't changed was left behind."""
_LOOK: Final = 1.0


class Lease:
    """The note of one history, written by this process alone."""

    def __init__(self, bucket: Bucket, name: str, database: Database) -> None:
        self._bucket = bucket
        self._name = name
        self._revision = 0
        self._written_at = float("-inf")
        self._note = HistoryNote(database=database.id, place=database.place, writer=secrets.token_hex(6))

    async def take(self, stopping: asyncio.Event) -> str | None:
        """Wait until nobody else writes this history; return who does meanwhile, None once it is ours.

        A note of this very database is taken over at once: its lock says that its writer is gone. Another
        database's must have stood still for a while, or have been released.

        Raises:
            BrokerError: the broker is away.
        """
        found, seen, since = None, -1, time.monotonic()
        while not stopping.is_set():
            found = await self._bucket.get(self._name)
            other = HistoryNote.unpack(found.value) if found is not None else None
            if other is None or other.released or other.database == self._note.database:
                break
            if found is not None and found.revision != seen:
                if seen >= 0:
                    return other.place
                seen, since = found.revision, time.monotonic()
            if time.monotonic() - since >= STALE:
                break
            await asyncio.sleep(_LOOK)
        self._revision = found.revision if found is not None else 0
        return None

    async def write(self, writer: HistoryWriter, *, released: bool = False) -> None:
        """Write down how far the writer has come, as often as it matters.

        Raises:
            ConflictError: somebody else has taken the history over.
            BrokerError: the broker is away.
        """
        seqs = {stream: place.seq for stream, place in writer.places.items()}
        age = time.monotonic() - self._written_at
        if not released and age < (EVERY if seqs != self._note.seqs else RENEW):
            return
        left_out = writer.left_out
        self._note = replace(self._note, at=time.time(), seqs=seqs, left_out=left_out, released=released)
        try:
            self._revision = await self._bucket.put(self._name, self._note.pack(), revision=self._revision)
        except WrongSequenceError as error:
            raise ConflictError(
                f"another process has taken over the history {self._name!r}",
                hint="one process writes it at a time",
            ) from error
        self._written_at = time.monotonic()
