"""Claim check: bytes that are too large for a message stand in an object store and travel as a name.

The store follows JetStream's object store (ADR-20), so that `nats object get` reads it. A blob belongs to an
owner, a run or a delivery, and its name is made of the owner and of the content's digest: the same bytes put
again for the same owner are the same blob. The chunks' subjects begin with the owner, so that all blobs of
an owner are found and deleted together.
"""

from __future__ import annotations

import base64
import hashlib
import math
import secrets
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel import clock
from tidemill.kernel.errors import BrokerError, NotFoundError
from tidemill.kernel.jetstream import records
from tidemill.kernel.jetstream.api import answer_of
from tidemill.kernel.jetstream.records import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidemill.kernel.jetstream.bus import Bus
    from tidemill.kernel.jetstream.records import Record

INLINE_LIMIT: Final = 128 * 1024
"""Bytes above which a body doesn't travel in a message."""

_CHUNK: Final = 512 * 1024
_DIGEST_LENGTH: Final = 64


def blob_name(owner: str, data: bytes) -> str:
    """Return the name under which an owner's bytes are stored."""
    return f"{owner}/{hashlib.sha256(data).hexdigest()}"


class Blobs:
    """The blobs of a namespace."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._bucket = bus.names.stream("BLOBS")
        self._stream = f"OBJ_{self._bucket}"

    async def put(
        self, owner: str, data: bytes, *, keep: float | None = None, timeout: float = TIMEOUT
    ) -> str:
        """Store bytes for an owner (one subject token) and return the blob's name.

        With `keep` the broker removes them after so many seconds, rounded up. `timeout` is that of each
        request that it takes.

        Raises:
            BrokerError: they were not stored, or not all; putting them again is safe.
        """
        name = blob_name(owner, data)
        digest = name.rpartition("/")[2]
        if await self._meta(name, timeout) is not None:
            return name
        ttl = {} if keep is None else {"Nats-TTL": f"{max(1, math.ceil(keep))}s"}
        # Two who put the same blob at once write chunks of their own: whoever describes it last, it is whole.
        unique = f"{owner}.{digest}.{secrets.token_hex(8)}"
        chunks = await self._put_chunks(unique, data, ttl, timeout)
        meta = self._description(name, unique, len(data), chunks)
        headers = {"Nats-Rollup": "sub", **ttl}
        await self._bus.publish(self._meta_subject(name), meta, headers=headers, timeout=timeout)
        return name

    async def get(self, name: str) -> bytes:
        """Return the bytes of a blob.

        Raises:
            NotFoundError: there is none of that name, or it has been deleted.
            BrokerError: it is damaged.
        """
        meta = await self._meta(name)
        if meta is None:
            raise NotFoundError(f"blob {name} doesn't exist", hint="its owner may have been closed")
        subject = f"$O.{self._bucket}.C.{meta['nuid']}"
        found = [record async for record in records.scan(self._bus, self._stream, subject)]
        if len(found) != meta["chunks"]:  # a follower that is behind
            found = [record async for record in records.scan_leader(self._bus, self._stream, subject)]
        data = b"".join(record.body for record in found)
        if hashlib.sha256(data).hexdigest() != name.rpartition("/")[2]:
            raise BrokerError(
                f"blob {name} is damaged: {len(data)} of {meta['size']} bytes",
                hint="look at the broker's disk",
            )
        return data

    async def delete_of(self, owner: str) -> int:
        """Delete all blobs of an owner and return how many there were."""
        chunks = f"$O.{self._bucket}.C.{owner}.>"
        names = await self._names_of(owner, chunks)
        for name in names:
            await self._purge(self._meta_subject(name))
        if names:
            await self._purge(chunks)
        return len(names)

    async def _put_chunks(self, unique: str, data: bytes, ttl: Mapping[str, str], timeout: float) -> int:
        size = min(_CHUNK, self._bus.max_payload // 2)
        # Also nothing is one chunk: an owner's blobs are found by their chunks.
        starts = range(0, max(1, len(data)), size)
        for start in starts:
            chunk = data[start : start + size]
            subject = f"$O.{self._bucket}.C.{unique}"
            await self._bus.publish(subject, chunk, headers=ttl or None, timeout=timeout)
        return len(starts)

    def _description(self, name: str, unique: str, size: int, chunks: int) -> bytes:
        digest = base64.urlsafe_b64encode(bytes.fromhex(name[-_DIGEST_LENGTH:])).decode()
        info = {
            "name": name,
            "bucket": self._bucket,
            "nuid": unique,
            "size": size,
            "chunks": chunks,
            "mtime": clock.rfc3339(clock.now()),
            "digest": f"SHA-256={digest}",
        }
        return orjson.dumps(info)

    async def _meta(self, name: str, timeout: float = TIMEOUT) -> dict[str, Any] | None:
        subject = self._meta_subject(name)
        record: Record | None = await records.last(self._bus, self._stream, subject, timeout=timeout)
        if record is None:  # a follower may be behind
            record = await records.last_from_leader(self._bus, self._stream, subject, timeout=timeout)
        if record is None:
            return None
        meta = answer_of(subject, record.body)
        return None if meta.get("deleted") else meta

    def _meta_subject(self, name: str) -> str:
        return f"$O.{self._bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"

    async def _names_of(self, owner: str, chunks: str) -> set[str]:
        info = await self._bus.api(f"STREAM.INFO.{self._stream}", {"subjects_filter": chunks})
        subjects = info["state"].get("subjects") or {}
        return {f"{owner}/{subject.split('.')[-2]}" for subject in subjects}

    async def _purge(self, subject: str) -> None:
        await self._bus.api(f"STREAM.PURGE.{self._stream}", {"filter": subject})
