"""What runs have logged, on the broker: written by workers in batches, read by whoever looks at a run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import orjson

from tidemill.kernel.clock import rfc3339_at
from tidemill.kernel.errors import HistoryError
from tidemill.kernel.jetstream import records
from tidemill.kernel.jetstream.inspection import stream_info

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from tidemill.kernel.jetstream.bus import Bus

STREAM: Final = "LOGS"
_LINE_BYTES: Final = 96
_BATCH_BYTES: Final = 64 * 1024
_TIMEOUT: Final = 5.0
_LOOK_SECONDS: Final = 2.0
_log = logging.getLogger(__name__)
Said = tuple[float, str, str, str, str]
"""A line: when, level, step, logger, text."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines of one execution that are stored together.

    Attributes:
        run: whose they are.
        attempt: the number of the attempt.
        lines: the lines.
        missed: how many more there were that weren't kept.
        size: about how many bytes it has.
    """

    run: str
    attempt: int
    lines: Sequence[Said]
    missed: int
    size: int

    @classmethod
    def split(cls, run: str, attempt: int, lines: Sequence[Said], missed: int) -> Iterator[Self]:
        """Yield batches that are small enough for a message each."""
        part: list[Said] = []
        size = 0
        for line in lines:
            cost = len(line[4].encode("utf-8", "replace")) + _LINE_BYTES
            if part and size + cost > _BATCH_BYTES:
                yield cls(run, attempt, part, 0, size)
                part, size = [], 0
            part.append(line)
            size += cost
        if part or missed:
            yield cls(run, attempt, part, missed, size + _LINE_BYTES)

    def document(self) -> bytes:
        """Return it as it is stored."""
        lines = [[*line[:4], line[4].encode("utf-8", "replace").decode()] for line in self.lines]
        return orjson.dumps({"attempt": self.attempt, "lines": lines, "missed": self.missed})


async def store(bus: Bus, batch: Batch) -> None:
    """Store a batch.

    Raises:
        BrokerError: it wasn't, or it is unknown whether it was.
    """
    await bus.publish(bus.names.subject("logs", batch.run), batch.document(), timeout=_TIMEOUT)


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a run's lines, as data, and after which sequence the next ones come."""

    lines: list[dict[str, Any]]
    after: int
    more: bool


class Archive(Protocol):
    """Where messages are found that the stream keeps no longer: the history."""

    async def logged(self, run: str, *, after: int, below: int, limit: int) -> list[records.Record]:
        """Return a run's messages after one sequence and below another, the oldest first.

        Raises:
            HistoryError: it can't be asked.
        """


class RunLogReader:
    """Reads what runs have logged: from the stream, and before its beginning from an archive."""

    def __init__(self, bus: Bus, archive: Archive | None = None) -> None:
        self._bus = bus
        self._archive = archive

    async def page(self, run: str, *, after: int = 0, limit: int = 100) -> Page:
        """Return the lines of the messages after a sequence, of so many messages at most.

        Raises:
            BrokerError: they can't be read.
        """
        stream, subject = self._bus.names.stream(STREAM), self._bus.names.subject("logs", run)
        if self._archive is not None:
            first = int((await stream_info(self._bus, stream))["state"]["first_seq"])
            if after + 1 < first:
                old = await self._archived(self._archive, run, after, first, limit)
                if old:
                    return Page([line for record in old for line in _lines(record)], old[-1].seq, more=True)
                after = first - 1
        found, more = await records.page(self._bus, stream, subject, start=after + 1, limit=limit)
        lines = [line for record in found for line in _lines(record)]
        return Page(lines, found[-1].seq if found else after, more)

    @staticmethod
    async def _archived(
        archive: Archive, run: str, after: int, below: int, limit: int
    ) -> list[records.Record]:
        """Return what the archive has; where it is away the stream's own lines are all there is."""
        try:
            return await archive.logged(run, after=after, below=below, limit=limit)
        except HistoryError as error:
            _log.info("what %s has logged earlier can't be read: %s", run, error.sentence)
            return []

    async def follow(self, run: str, *, after: int = 0) -> AsyncIterator[Page]:
        """Yield what there is, then what comes, and an empty page now and then while nothing does.

        Raises:
            BrokerError: it can't be read.
        """
        news = asyncio.Event()
        subject = self._bus.names.subject("logs", run)
        hints = await self._bus.subscribe(subject, lambda _: news.set())
        try:
            while True:
                news.clear()
                page = await self.page(run, after=after)
                after = page.after
                yield page
                if not page.more:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(news.wait(), _LOOK_SECONDS)
        finally:
            await hints.stop()


def _lines(record: records.Record) -> list[dict[str, Any]]:
    document = orjson.loads(record.body)
    attempt, missed = document["attempt"], document["missed"]
    lines = [
        {
            "at": rfc3339_at(at),
            "level": level,
            "attempt": attempt,
            "step": step or None,
            "logger": logger,
            "text": text,
            "seq": record.seq,
        }
        for at, level, step, logger, text in document["lines"]
    ]
    if missed:
        text = f"{missed} more lines weren't kept"
        facts = {"at": rfc3339_at(record.at), "level": "warning", "attempt": attempt, "step": None}
        lines.append({**facts, "logger": "tidemill", "text": text, "seq": record.seq})
    return lines
