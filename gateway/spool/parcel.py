"""A parcel: what one request brought, as a record's payload; stored and drained as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import pydantic

from gateway.reason import Reason
from gateway.verdict import Accepted, Quarantined
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.frames import pack, unpack

VERSION: Final = 1


class Word(NamedTuple):
    """The word of a delivery's window, chosen here while the broker couldn't be asked.

    Attributes:
        key: the delivery's key without the word.
        seconds: the window.
        word: the word.
    """

    key: str
    seconds: float
    word: str


class Item(NamedTuple):
    """One event of a parcel."""

    verdict: Accepted | Quarantined
    word: Word | None = None

    @property
    def key(self) -> str:
        """The message id under which it will be stored."""
        return self.verdict.envelope.deliverykey


class Body(NamedTuple):
    """The body of a batch, which is kept beside its events."""

    key: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Parcel:
    """The events of one request, in their order.

    Attributes:
        items: the events.
        client: the address that sent them.
        at: seconds since the epoch when they came.
        body: that of a batch, where it is kept.
    """

    items: tuple[Item, ...]
    client: str
    at: float
    body: Body | None = None

    @property
    def plain(self) -> bool:
        """Whether it is a single event that needs nothing but to be published."""
        return len(self.items) == 1 and self.items[0].word is None and self.body is None

    def encode(self) -> bytes:
        """Return it as a record's payload."""
        rows = [_row(item) for item in self.items]
        kept = [self.body.key, len(self.body.raw)] if self.body is not None else None
        facts = {"v": VERSION, "at": self.at, "client": self.client, "items": rows, "body": kept}
        raws = [item.verdict.envelope.raw for item in self.items]
        return pack(facts, b"".join([*raws, *([self.body.raw] if self.body is not None else [])]))


def decode(payload: bytes) -> Parcel:
    """Read what `Parcel.encode` wrote.

    Raises:
        PayloadError: it isn't that.
    """
    facts, raw = unpack(payload)
    try:
        if facts["v"] != VERSION:
            raise PayloadError(f"a parcel of version {facts['v']} can't be read by this version")
        items, place = [], 0
        for row in facts["items"]:
            items.append(_item(row, raw[place : place + row["size"]]))
            place += row["size"]
        kept = facts["body"]
        body = Body(kept[0], raw[place : place + kept[1]]) if kept is not None else None
        return Parcel(tuple(items), str(facts["client"]), float(facts["at"]), body)
    except (KeyError, TypeError, ValueError, IndexError, pydantic.ValidationError) as error:
        raise PayloadError(f"not a parcel: {error}") from error


class Summary(NamedTuple):
    """What is kept in memory of a parcel: its events' message ids, when it came, and words of windows."""

    keys: tuple[str, ...]
    at: float
    words: tuple[Word, ...] = ()


def summary(payload: bytes) -> Summary:
    """Return what is kept in memory of a parcel, without reading its events.

    Raises:
        PayloadError: it isn't one.
    """
    facts, _ = unpack(payload)
    try:
        rows = facts["items"]
        keys = tuple(str(row["facts"].get("deliverykey", "")) for row in rows)
        return Summary(keys, float(facts["at"]), tuple(Word(*row["word"]) for row in rows if row["word"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PayloadError(f"not a parcel: {error}") from error


def _row(item: Item) -> dict[str, Any]:
    verdict = item.verdict
    reason = verdict.reason if isinstance(verdict, Quarantined) else None
    return {
        "facts": verdict.envelope.facts(),
        "size": len(verdict.envelope.raw),
        "reason": [reason.code, reason.detail, reason.path] if reason else None,
        "word": list(item.word) if item.word else None,
    }


def _item(row: dict[str, Any], raw: bytes) -> Item:
    envelope = Envelope.from_facts(row["facts"], raw)
    word = Word(*row["word"]) if row["word"] else None
    if row["reason"] is not None:
        return Item(Quarantined(envelope, Reason(*row["reason"])), word)
    return Item(Accepted(envelope, -1, envelope.dataschema), word)


def rekeyed(verdict: Accepted | Quarantined, key: str, word: str | None = None) -> Accepted | Quarantined:
    """Return an event under another message id; with `word` a derived id gets it too."""
    update = {"deliverykey": key} | ({"id": f"{verdict.envelope.id}-{word}"} if word else {})
    envelope = verdict.envelope.model_copy(update=update)
    if isinstance(verdict, Quarantined):
        return Quarantined(envelope, verdict.reason)
    return verdict._replace(envelope=envelope)
