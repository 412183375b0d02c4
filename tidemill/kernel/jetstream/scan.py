"""Reading a stream's messages from its newest backwards, without a consumer: how lists begin.

Direct gets only go forwards, so windows of sequences are read from the end of the stream, each twice as
large as the one after it. Where a window has nothing the next ones are merely probed: of what is deleted, or
of other subjects, a million sequences cost some twenty requests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

from tidemill.kernel.jetstream import records

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus

FIRST_WINDOW: Final = 64
SCAN_LIMIT: Final = 50_000


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as it stands in a stream, and when the broker stored it."""

    subject: str
    seq: int
    at: datetime
    body: bytes

    @classmethod
    def of(cls, record: records.Record) -> Self:
        """Return what was read as a stored message."""
        return cls(record.subject, record.seq, datetime.fromtimestamp(record.at, UTC), record.body)


async def message_at(bus: Bus, stream: str, seq: int) -> StoredMessage | None:
    """Return the message with a sequence, None where there is none; `stream` is without namespace.

    Raises:
        BrokerError: the stream can't be read.
    """
    record = await records.at(bus, bus.names.stream(stream), seq)
    return StoredMessage.of(record) if record is not None else None


async def oldest(bus: Bus, stream: str, subject: str, limit: int) -> list[StoredMessage]:
    """Return up to `limit` messages whose subject fits, the oldest first.

    Raises:
        BrokerError: the stream can't be read.
    """
    found, _ = await records.page(bus, bus.names.stream(stream), subject, limit=limit)
    return [StoredMessage.of(record) for record in found]


async def newest(  # noqa: PLR0913 - where from, and how much
    bus: Bus,
    stream: str,
    subject: str,
    *,
    before: int | None = None,
    scan_limit: int | None = SCAN_LIMIT,
    most_at_once: int = records.BATCH,
) -> AsyncIterator[StoredMessage]:
    """Yield the messages whose subject fits, the newest first.

    Args:
        bus: the connection.
        stream: the stream's name without namespace.
        subject: a subject, which may have wildcards.
        before: yield only messages with a smaller sequence, to continue a listing.
        scan_limit: how many sequences to look back at most, None for all.
        most_at_once: how many messages to hold at most, where they are large.

    Raises:
        BrokerError: the stream can't be read.
    """
    name = bus.names.stream(stream)
    state = (await bus.api(f"STREAM.INFO.{name}"))["state"]
    high = min(state["last_seq"], (before or state["last_seq"] + 1) - 1)
    bottom = max(state["first_seq"], high - scan_limit + 1 if scan_limit is not None else 1, 1)
    span = window = min(FIRST_WINDOW, most_at_once)
    while high >= bottom:
        low = max(bottom, high - span + 1)
        if span > window:
            if await _any(bus, name, subject, low, high):
                span //= 2
            else:
                high, span = low - 1, span * 2
            continue
        found = await _between(bus, name, subject, low, high)
        for record in reversed(found):
            yield StoredMessage.of(record)
        high, window = low - 1, min(window * 2, most_at_once)
        span = window if found else window * 2


async def _any(bus: Bus, stream: str, subject: str, low: int, high: int) -> bool:
    """Say whether a message whose subject fits stands between two sequences."""
    page, _ = await records.page(bus, stream, subject, start=low, limit=1)
    return bool(page) and page[0].seq <= high


async def _between(bus: Bus, stream: str, subject: str, low: int, high: int) -> list[records.Record]:
    found: list[records.Record] = []
    more = True
    while more and low <= high:
        page, more = await records.page(bus, stream, subject, start=low, limit=high - low + 1)
        found += [record for record in page if record.seq <= high]
        low = page[-1].seq + 1 if page else high + 1
    return found
