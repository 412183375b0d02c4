"""Small key-value access, on streams that follow JetStream's key-value conventions (ADR-8).

`nats kv` reads and writes the same buckets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from tidemill.kernel.errors import BrokerError, WrongSequenceError
from tidemill.kernel.jetstream import records
from tidemill.kernel.jetstream.snapshot import last_of_each

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill.kernel.jetstream.bus import Bus, Subscription
    from tidemill.kernel.jetstream.records import Record

_OPERATION: Final = "KV-Operation"
_PURGE_HEADERS: Final = {_OPERATION: "PURGE", "Nats-Rollup": "sub"}
_EXPECT: Final = "Nats-Expected-Last-Subject-Sequence"
_TOO_MANY: Final = "413"
_NOTHING: Final = "404"


@dataclass(frozen=True, slots=True)
class Value:
    """What a key holds, with the revision that a later `put` may expect."""

    value: bytes
    revision: int
    at: float


class Bucket:
    """The keys of one bucket; a key is one or more subject tokens, already escaped."""

    def __init__(self, bus: Bus, name: str) -> None:
        bucket = bus.names.stream(name)
        self._bus = bus
        self._stream = f"KV_{bucket}"
        self._prefix = f"$KV.{bucket}."

    async def get(self, key: str, *, timeout: float = records.TIMEOUT) -> Value | None:
        """Return what a key holds, None where it holds nothing; asked of the leader, so never stale."""
        subject = self._prefix + key
        record = await records.last_from_leader(self._bus, self._stream, subject, timeout=timeout)
        return None if record is None or _deleted(record) else _value(record)

    async def put(self, key: str, value: bytes, *, revision: int | None = None) -> int:
        """Set a key and return its new revision; with `revision` only if that is the present one (0: none).

        Raises:
            WrongSequenceError: the key has another revision.
        """
        headers = None if revision is None else {_EXPECT: str(await self._expected(key, revision))}
        return (await self._bus.publish(self._prefix + key, value, headers=headers)).seq

    async def create(
        self, key: str, value: bytes, *, keep: float, again: bool = False, timeout: float = records.TIMEOUT
    ) -> None:
        """Set a key that was never deleted and holds nothing, for `keep` seconds, at least one.

        With `again` it may have been deleted.

        Raises:
            WrongSequenceError: it holds something.
        """
        headers = {_EXPECT: "0", "Nats-TTL": _seconds(keep)}
        try:
            await self._bus.publish(self._prefix + key, value, headers=headers, timeout=timeout)
        except WrongSequenceError:
            expected = await self._expected(key, 0) if again else 0
            if not expected:
                raise
            headers[_EXPECT] = str(expected)
            await self._bus.publish(self._prefix + key, value, headers=headers, timeout=timeout)

    async def delete(self, key: str, *, keep: float | None = None) -> None:
        """Make a key hold nothing; with `keep` the broker forgets after so many seconds that it ever did."""
        ttl = {"Nats-TTL": _seconds(keep)} if keep is not None else {}
        await self._bus.publish(self._prefix + key, headers={**_PURGE_HEADERS, **ttl})

    async def items(self) -> dict[str, bytes]:
        """Return all keys with what they hold; what was just written may not be among it yet."""
        return {key: value.value for key, value in (await self.values()).items()}

    async def keys(self) -> list[str]:
        """Return all keys that hold something."""
        return list(await self.values())

    async def values(self, under: str = "") -> dict[str, Value]:
        """Return all keys with what they hold, revisions included; `under` names their first tokens."""
        found = [record for record in await self._all(under) if not _deleted(record)]
        return {record.subject.removeprefix(self._prefix): _value(record) for record in found}

    async def changes(self, start: int) -> tuple[list[tuple[str, Value | None]], int]:
        """Return the keys written since a sequence, what they hold (None: deleted), and the next sequence.

        What a replica doesn't have yet comes with a later call.
        """
        found: list[tuple[str, Value | None]] = []
        async for record in records.scan(self._bus, self._stream, f"{self._prefix}>", start=start):
            key = record.subject.removeprefix(self._prefix)
            found.append((key, None if _deleted(record) else _value(record)))
            start = record.seq + 1
        return found, start

    async def watch(self, hint: Callable[[str], None]) -> Subscription:
        """Call `hint` with the key whenever somebody writes it, before the write is acknowledged.

        A hint may get lost with the link: who relies on it reads all keys again now and then.
        """
        return await self._bus.subscribe(
            f"{self._prefix}>", lambda message: hint(message.subject.removeprefix(self._prefix))
        )

    async def _expected(self, key: str, revision: int) -> int:
        """Return the sequence to expect: that of its deletion marker where a key shall hold nothing."""
        if revision:
            return revision
        record = await records.last_from_leader(self._bus, self._stream, self._prefix + key)
        return record.seq if record is not None and _deleted(record) else 0

    async def _all(self, under: str) -> list[Record]:
        """Read the newest message of every key with one request, or in a pass where there are too many."""
        subject = f"$JS.API.DIRECT.GET.{self._stream}"
        everything = f"{self._prefix}{under}.>" if under else f"{self._prefix}>"
        *found, last = await self._bus.request_many(subject, orjson.dumps({"multi_last": [everything]}))
        status = (last.headers or {}).get("Status")
        if status == _TOO_MANY:
            return [record async for record in last_of_each(self._bus, self._stream, everything)]
        if status not in (_NOTHING, "204"):
            raise BrokerError(f"{subject}: {status} {(last.headers or {}).get('Description', '')}")
        return [records.from_direct(message) for message in found]


def _seconds(keep: float) -> str:
    return f"{max(1, math.ceil(keep))}s"


def _deleted(record: Record) -> bool:
    return (record.headers or {}).get(_OPERATION) in ("DEL", "PURGE")


def _value(record: Record) -> Value:
    return Value(record.body, record.seq, record.at)
