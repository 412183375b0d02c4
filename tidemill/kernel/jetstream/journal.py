"""The journal: what has happened to each run, one subject per run, extended by compare-and-set alone.

An append names the last sequence that its writer knows; the broker refuses it when another writer was
faster. A run that is over is closed to a tombstone: one empty record in place of all, which the broker
removes after a while.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidemill.kernel.jetstream import records
from tidemill.kernel.jetstream.snapshot import last_of_each

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tidemill.kernel.jetstream.bus import Bus

EXPECT_SUBJECT_TAIL: Final = "Nats-Expected-Last-Subject-Sequence"
ROLLUP: Final = "Nats-Rollup"
TTL: Final = "Nats-TTL"
TOMBSTONE: Final = "Tidemill-Tombstone"


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of a run: its stream sequence, its body (empty: a tombstone), when it was stored."""

    seq: int
    body: bytes
    at: float


@dataclass(frozen=True, slots=True)
class LastEntry:
    """The newest record of a run; with `headers_only` the body is empty and `tombstone` still right."""

    run: str
    seq: int
    body: bytes
    at: float
    tombstone: bool
    headers: dict[str, str]


class Journal:
    """All journals of a namespace."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.stream = bus.names.stream("JOURNAL")
        self._prefix = bus.names.journal("")

    async def append(
        self, run: str, body: bytes, *, expect: int, headers: Mapping[str, str] | None = None
    ) -> int:
        """Append a record when the run's tail is `expect` (0: no record at all) and return its sequence.

        Raises:
            WrongSequenceError: the tail is another one. It may be this very record, where an earlier
                acknowledgement was lost: read again and look.
            BrokerUnavailableError: the outcome is unknown.
        """
        expected = {EXPECT_SUBJECT_TAIL: str(expect)}
        if headers:
            expected.update(headers)
        return (await self._bus.publish(self._prefix + run, body, headers=expected)).seq

    async def read(self, run: str, *, at_least: int = 0) -> list[Entry]:
        """Return a run's records in order, from any replica.

        Where the newest of them is below `at_least`, the replica is behind and the leader is asked instead:
        nothing may be judged "nothing to do" from a read older than the ticket that led to it (A7).
        """
        found = [_entry(r) async for r in records.scan(self._bus, self.stream, self._prefix + run)]
        if (found[-1].seq if found else 0) < at_least:
            return await self.read_leader(run)
        return found

    async def read_leader(self, run: str, *, after: int = 0) -> list[Entry]:
        """Return a run's records behind sequence `after`, in order, as the stream's leader has them.

        They are never stale, and cost one request each.
        """
        found = records.scan_leader(self._bus, self.stream, self._prefix + run, start=after + 1)
        return [_entry(record) async for record in found]

    async def tail_leader(self, run: str) -> Entry | None:
        """Return a run's newest record as the stream's leader has it, None where there is none."""
        record = await records.last_from_leader(self._bus, self.stream, self._prefix + run)
        return None if record is None else _entry(record)

    async def close(self, run: str, *, expect: int, keep: float) -> int:
        """Replace all records of a run by a tombstone that stands for `keep` seconds, rounded up, at least 1.

        Raises:
            WrongSequenceError: the run's tail isn't `expect`; nothing was changed.
        """
        return await self.append(run, b"", expect=expect, headers={ROLLUP: "sub", **_tombstone(keep)})

    async def entomb(self, run: str, *, expect: int, keep: float) -> int:
        """Append a tombstone behind a run's records, which the caller deletes then.

        Raises:
            WrongSequenceError: the run's tail isn't `expect`; nothing was changed.
        """
        return await self.append(run, b"", expect=expect, headers=_tombstone(keep))

    async def delete(self, seq: int) -> None:
        """Delete one record; one that is gone already is fine."""
        await records.delete(self._bus, self.stream, seq)

    async def clear_tomb(self, run: str) -> bool:
        """Delete what lies in front of a run's tombstone; return whether there is one."""
        tail = await self.tail_leader(run)
        if tail is None or tail.body:
            return False
        await self._bus.api(f"STREAM.PURGE.{self.stream}", {"filter": self._prefix + run, "keep": 1})
        return True

    async def runs(self, *, headers_only: bool = False) -> AsyncIterator[LastEntry]:
        """Yield the newest record of every run that has a journal, tombstones included.

        Raises:
            BrokerUnavailableError: the link was lost on the way; begin again.
        """
        subjects = f"{self._prefix}*"
        async for record in last_of_each(self._bus, self.stream, subjects, headers_only=headers_only):
            headers = record.headers or {}
            run = record.subject.removeprefix(self._prefix)
            yield LastEntry(run, record.seq, record.body, record.at, TOMBSTONE in headers, headers)


def _tombstone(keep: float) -> dict[str, str]:
    return {TOMBSTONE: "1", TTL: f"{max(1, math.ceil(keep))}s"}


def _entry(record: records.Record) -> Entry:
    return Entry(record.seq, record.body, record.at)
