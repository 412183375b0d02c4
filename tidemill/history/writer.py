"""The writer: takes the streams' messages into the database, each once, in the order of their sequences.

What a batch changes and how far it reaches is one transaction. A position is moved by compare-and-set: of two
writers the slower one fails as a whole.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from tidemill.history.changes import Changes
from tidemill.history.database import Database, unfit
from tidemill.history.inbound_projection import Inbound, Message
from tidemill.history.journal_projection import JournalProjection, JournalRecord
from tidemill.history.run_logs import LogBounds
from tidemill.history.tables import Row, positions, runs
from tidemill.kernel.errors import ConflictError, HistoryError, PayloadError
from tidemill.kernel.frames import unpack
from tidemill.kernel.subjects import Names

STREAMS: Final = ("EVENTS", "RECORDS", "DELIVERIES", "REFUSALS", "QUARANTINE", "JOURNAL", "DEAD", "LOGS")
_CHUNK: Final = 500
_LIVE_LIMIT: Final = 50_000
_log = logging.getLogger(__name__)


class Stored(Protocol):
    """A message as it stands in a stream."""

    @property
    def seq(self) -> int:
        """Its sequence."""

    @property
    def at(self) -> float:
        """When it was stored, in seconds since the epoch."""

    @property
    def subject(self) -> str:
        """Its subject."""

    @property
    def body(self) -> bytes:
        """Its bytes."""


@dataclass(slots=True)
class Place:
    """How far a stream has been taken in: up to sequence `seq`, which is number `base + seq`."""

    incarnation: str
    base: int = 0
    seq: int = 0
    stored: bool = False


class HistoryWriter:
    """Writes one database; everything here blocks.

    `left_out` counts messages that couldn't be read, `unknown` records of runs whose creation was closed away
    before the history saw it.
    """

    def __init__(self, database: Database, names: Names, *, body_limit: int) -> None:
        """Prepare.

        Args:
            database: where to.
            names: of the namespace that the subjects are from.
            body_limit: bytes of a body that are kept.
        """
        self.database = database
        self.places: dict[str, Place] = {}
        self.left_out = 0
        self.unknown = 0
        self._names = names
        self._limit = body_limit
        self._live: dict[str, Row] = {}
        self._bounds = LogBounds()

    def begin(self, incarnations: Mapping[str, str]) -> None:
        """Read how far each stream was taken in; one that was created anew is begun anew behind the old one.

        Raises:
            HistoryError: the database can't be used.
        """
        self._live.clear()
        self._bounds.clear()
        with self.database.reading(_PATIENCE) as connection:
            rows = {row["stream"]: row for row in connection.execute(select(positions)).mappings()}
        for stream, incarnation in incarnations.items():
            row = rows.get(stream)
            if row is None:
                self.places[stream] = Place(incarnation)
            elif row["incarnation"] == incarnation:
                self.places[stream] = Place(incarnation, row["base"], row["seq"], stored=True)
            else:
                _log.warning("%s was created anew: the history goes on behind the old one", stream)
                self.places[stream] = Place(incarnation, row["base"] + row["seq"], 0, stored=True)
                self._renew(stream)

    def stands(self) -> bool:
        """Say whether the database is where this writer left it: it may have been emptied or restored.

        Raises:
            HistoryError: the database can't be used.
        """
        with self.database.reading(_PATIENCE) as connection:
            rows = connection.execute(select(positions.c.stream, positions.c.seq))
            return {row[0]: row[1] for row in rows} == {
                stream: place.seq for stream, place in self.places.items() if place.stored
            }

    def write(self, found: Mapping[str, Sequence[Stored]]) -> None:
        """Take in what follows in each stream, all of it or nothing.

        Raises:
            HistoryError: the database can't be used.
            ConflictError: another writer was faster, or the positions were set back: begin again.
        """
        try:
            self._write_whole(found)
        except (HistoryError, OverflowError, UnicodeError) as error:
            if not unfit(error):
                raise
            self._write_apart(found, error)

    def _write_whole(self, found: Mapping[str, Sequence[Stored]]) -> None:
        try:
            self._write(found, careful=False)
        except IntegrityError:
            self._write(found, careful=True)

    def _write_apart(self, found: Mapping[str, Sequence[Stored]], error: Exception) -> None:
        """Take in what the database refused as a whole, in halves; a message that it refuses is left out."""
        parts = [(stream, messages) for stream, messages in found.items() if messages]
        if len(parts) > 1:
            for stream, messages in parts:
                self.write({stream: messages})
            return
        ((stream, messages),) = parts
        half = len(messages) // 2
        if half:
            self.write({stream: messages[:half]})
            self.write({stream: messages[half:]})
            return
        _log.warning("%s %d is left out of the history: %s", stream, messages[0].seq, error)
        with self.database.writing() as connection:
            self._move(connection, stream, messages[0].seq)
        place = self.places[stream]
        place.seq, place.stored = messages[0].seq, True
        self.left_out += 1

    def _write(self, found: Mapping[str, Sequence[Stored]], *, careful: bool) -> None:
        changes = Changes()
        bases = {stream: place.base for stream, place in self.places.items()}
        inbound = Inbound(changes, bases, self._limit)
        left_out = 0
        for stream, messages in found.items():
            if stream != "JOURNAL":
                left_out += self._take(inbound, stream, messages)
        with self.database.writing() as connection:
            for stream, messages in found.items():
                if messages:
                    self._move(connection, stream, messages[-1].seq)
            journal, unread = self._journal(found.get("JOURNAL", ()))
            rows = self._rows_of(connection, journal, careful=careful)
            roots = self._roots_of(connection, journal, rows)
            projection = JournalProjection(
                changes, rows, roots, events_base=bases["EVENTS"], body_limit=self._limit
            )
            projection.take(journal)
            projection.finish()
            changes.write(connection)
            self._bounds.keep(connection, changes.logs)
        self.left_out += left_out + unread + projection.unread
        self.unknown += projection.unknown
        for stream, messages in found.items():
            if messages:
                place = self.places[stream]
                place.seq, place.stored = messages[-1].seq, True
        self._remember(rows)

    def _take(self, inbound: Inbound, stream: str, messages: Iterable[Stored]) -> int:
        """Take in messages; return how many couldn't be read."""
        left_out, base = 0, self.places[stream].base
        for message in messages:
            tokens = self._names.tokens(message.subject)
            try:
                inbound.take(stream, Message(base + message.seq, message.at, tokens, message.body))
            except (AttributeError, LookupError, PayloadError, TypeError, ValueError) as error:
                _log.warning("%s %d is left out of the history: %r", stream, message.seq, error)
                left_out += 1
        return left_out

    def _journal(self, messages: Sequence[Stored]) -> tuple[list[JournalRecord], int]:
        """Read records; return how many couldn't be. A tombstone tells nothing."""
        base, unread = self.places["JOURNAL"].base if "JOURNAL" in self.places else 0, 0
        found: list[JournalRecord] = []
        for message in messages:
            if not message.body:
                continue
            try:
                facts, raw = unpack(message.body)
            except PayloadError as error:
                _log.warning("journal record %d is left out of the history: %s", message.seq, error.sentence)
                unread += 1
                continue
            run = message.subject.rpartition(".")[2]
            found.append(JournalRecord(run, base + message.seq, message.at, facts, raw))
        return found, unread

    def _rows_of(
        self, connection: Connection, journal: Sequence[JournalRecord], *, careful: bool
    ) -> dict[str, Row]:
        """Return the rows of the runs that have some; with `careful` also of those that are created now.

        An id comes again when its journal has been closed for long (an idempotency key): the older run then
        gives its name to the new one.
        """
        rows: dict[str, Row] = {}
        missing: dict[str, None] = {}
        born: dict[str, int] = {}
        for record in journal:
            created = record.facts.get("kind") == "created"
            if created:
                born[record.run] = record.number
            if (created and not careful) or record.run in rows or record.run in missing:
                continue
            if record.run in born and not created:
                continue
            if (known := self._live.get(record.run)) is not None:
                rows[record.run] = dict(known)
            else:
                missing[record.run] = None
        rows |= self._select(connection, list(missing))
        for run, number in born.items():
            old = rows.get(run)
            if careful and old is not None and old["number"] != number:
                self._rename(connection, old)
                del rows[run]
        return rows

    def _select(self, connection: Connection, ids: Sequence[str]) -> dict[str, Row]:
        found: dict[str, Row] = {}
        for begin in range(0, len(ids), _CHUNK):
            query = select(runs).where(runs.c.id.in_(ids[begin : begin + _CHUNK]))
            found |= {row["id"]: dict(row) for row in connection.execute(query).mappings()}
        return found

    def _rename(self, connection: Connection, old: Row) -> None:
        name = f"{old['id']}~{old['number']}"
        connection.execute(update(runs).where(runs.c.number == old["number"]).values(id=name))
        self._live.pop(old["id"], None)

    def _roots_of(
        self, connection: Connection, journal: Sequence[JournalRecord], rows: Mapping[str, Row]
    ) -> dict[str, str]:
        """Return the roots of parents that don't stand among the rows."""
        parents: dict[str, None] = {}
        roots: dict[str, str] = {}
        for record in journal:
            parent = record.facts.get("parent") if record.facts.get("kind") == "created" else None
            if isinstance(parent, dict) and (run := parent["run"]) not in rows:
                if (known := self._live.get(run)) is not None:
                    roots[run] = known["root_id"] or run
                else:
                    parents[run] = None
        wanted = list(parents)
        for begin in range(0, len(wanted), _CHUNK):
            query = select(runs.c.id, runs.c.root_id).where(runs.c.id.in_(wanted[begin : begin + _CHUNK]))
            roots |= {row[0]: row[1] or row[0] for row in connection.execute(query)}
        return roots

    def _move(self, connection: Connection, stream: str, seq: int) -> None:
        """Move a stream's position on.

        Raises:
            ConflictError: it doesn't stand where this writer left it.
        """
        place = self.places[stream]
        if not place.stored:
            made = {"stream": stream, "incarnation": place.incarnation, "base": place.base}
            try:
                connection.execute(insert(positions).values(**made, seq=seq, at=time.time()))
            except IntegrityError as error:
                raise _overtaken(stream) from error
            return
        changed = connection.execute(
            update(positions)
            .where(
                positions.c.stream == stream,
                positions.c.incarnation == place.incarnation,
                positions.c.seq == place.seq,
            )
            .values(seq=seq, at=time.time())
        )
        if changed.rowcount != 1:
            raise _overtaken(stream)

    def _renew(self, stream: str) -> None:
        place = self.places[stream]
        given: dict[str, Any] = {"incarnation": place.incarnation, "base": place.base, "seq": 0}
        with self.database.writing() as connection:
            connection.execute(update(positions).where(positions.c.stream == stream).values(given))

    def _remember(self, rows: Mapping[str, Row]) -> None:
        """Keep the rows of runs that go on, so that their next records need no look."""
        for run, row in rows.items():
            if row["ended_at"] is None:
                self._live[run] = row
            else:
                self._live.pop(run, None)
        while len(self._live) > _LIVE_LIMIT:
            del self._live[next(iter(self._live))]


_PATIENCE: Final = 30.0


def _overtaken(stream: str) -> ConflictError:
    return ConflictError(
        f"another writer has taken in {stream}", hint="only one process writes a history at a time"
    )
