"""Records of the spool's log: self-describing, checksummed, found again behind damage.

    magic (4) | length (4) | sequence (8) | digest of these (8) | digest of all (16) | payload (length)

Numbers are big-endian, digests are BLAKE2b with a key that only the log knows: neither a torn nor a changed
record is taken for a whole one, nor one that a sender has written into a payload. The head has a digest of
its own, so that a search through damage doesn't believe lengths.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC: Final = b"\xf5TMS"
_HEAD: Final = struct.Struct(">4sIQ")
_HEAD_DIGEST: Final = 8
_DIGEST: Final = 16
_HEAD_END: Final = _HEAD.size + _HEAD_DIGEST
OVERHEAD: Final = _HEAD_END + _DIGEST
"""Bytes that a record has beside its payload."""


class Record(NamedTuple):
    """One record as it was found.

    Attributes:
        seq: its place among all that were ever written.
        payload: its bytes.
        start: where it begins.
        end: where the next one may begin.
    """

    seq: int
    payload: bytes
    start: int
    end: int


def encode(seq: int, payload: bytes, key: bytes) -> bytes:
    """Return a record's bytes; a key has at most 64."""
    head = _HEAD.pack(MAGIC, len(payload), seq)
    head += _digest(head, b"", key, _HEAD_DIGEST)
    return head + _digest(head, payload, key, _DIGEST) + payload


def read(data: bytes, start: int, key: bytes) -> Record | None:
    """Return the record that begins at a place, None where none does."""
    begin = start + OVERHEAD
    if not data.startswith(MAGIC, start) or begin > len(data):
        return None
    head = data[start : start + _HEAD_END]
    if _digest(head[: _HEAD.size], b"", key, _HEAD_DIGEST) != head[_HEAD.size :]:
        return None
    _, length, seq = _HEAD.unpack_from(head)
    end = begin + length
    payload = data[begin:end]
    if end > len(data) or _digest(head, payload, key, _DIGEST) != data[start + _HEAD_END : begin]:
        return None
    return Record(seq, payload, start, end)


def scan(data: bytes, key: bytes, start: int = 0) -> Iterator[Record]:
    """Yield the records in some bytes, in order; what isn't a record is passed over."""
    while (start := data.find(MAGIC, start)) >= 0:
        found = read(data, start, key)
        if found is None:
            start += 1
        else:
            yield found
            start = found.end


def _digest(head: bytes, payload: bytes, key: bytes, size: int) -> bytes:
    digest = hashlib.blake2b(head, digest_size=size, key=key)
    digest.update(payload)
    return digest.digest()
