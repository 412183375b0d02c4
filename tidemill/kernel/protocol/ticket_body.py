"""What a ticket's message says: the created record of a first one, else its kind and the journal so far.

A run that is continued with its journal at hand needs no read. What it brings is as good as what a replica
that lags behind would answer: a claim behind a tail that has moved is refused (A7). Long journals stay where
they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast, get_args

from tidemill.kernel.errors import PayloadError
from tidemill.kernel.frames import pack, unpack
from tidemill.kernel.protocol.operations import TicketKind
from tidemill.kernel.protocol.records import Created, Entry, decode, encode

MOST_BYTES: Final = 4096
"""Of a journal that goes along with a ticket."""
MOST_RECORDS: Final = 24
_CREATED: Final = b'{"kind":"created"'
_NEWER: Final = "a newer version wrote it: upgrade this one"
Known = tuple[Entry, ...]


def write(kind: TicketKind, created: Created | None = None, known: Sequence[Entry] = ()) -> bytes:
    """Return a ticket's body; a journal that is too large for it stays out."""
    if created is not None:
        return encode(created)
    carried = _carried(known)
    if not carried:
        return pack({"kind": kind})
    places = [(entry.seq, entry.at, len(body)) for entry, body in carried]
    return pack({"kind": kind, "known": places}, b"".join(body for _, body in carried))


def read(body: bytes) -> tuple[TicketKind, Created | None, Known]:
    """Return a ticket's kind, the created record of a first one, and the journal that came along.

    Raises:
        PayloadError: it is no ticket, or none of this version.
    """
    if body.startswith(_CREATED):
        record = decode(body)
        return "start", record if isinstance(record, Created) else None, ()
    facts, rest = unpack(body)
    kind = facts.get("kind")
    if kind not in get_args(TicketKind):
        raise PayloadError(f"unknown kind of ticket {kind!r}", hint=_NEWER)
    return cast("TicketKind", kind), None, _read_known(facts.get("known", ()), rest)


def _carried(known: Sequence[Entry]) -> list[tuple[Entry, bytes]]:
    first = known[0].record if known else None
    if len(known) > MOST_RECORDS or (isinstance(first, Created) and len(first.raw) > MOST_BYTES):
        return []
    carried: list[tuple[Entry, bytes]] = []
    left = MOST_BYTES
    for entry in known:
        body = b"" if entry.record is None else encode(entry.record)
        left -= len(body)
        if left < 0 or not body:
            return []
        carried.append((entry, body))
    return carried


def _read_known(places: object, rest: bytes) -> Known:
    found: list[Entry] = []
    at = 0
    try:
        for seq, moment, size in cast("Sequence[tuple[int, float, int]]", places):
            found.append(Entry(int(seq), decode(rest[at : at + size]), float(moment)))
            at += size
    except (TypeError, ValueError) as error:
        raise PayloadError(f"a ticket brings no journal that can be read: {error}", hint=_NEWER) from error
    return tuple(found)
