"""Compressed bodies (RFC 9110, 8.4.1): decompressed under a cap, so that a small bomb stays small."""

from __future__ import annotations

import zlib
from enum import Enum, auto
from typing import Final

_GZIP: Final = 16 + zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
_MAX_MEMBERS: Final = 100
_DEFLATED: Final = 8
_CHECK: Final = 31
CODINGS: Final = frozenset({b"gzip", b"x-gzip", b"deflate"})


class Fault(Enum):
    """Why a body can't be decompressed."""

    CORRUPT = auto()
    TOO_LARGE = auto()


def decompress(body: bytes, coding: bytes, limit: int) -> bytes | Fault:
    """Return a body as it was before compression, at most `limit` bytes.

    Args:
        body: the compressed body.
        coding: one of `CODINGS`.
        limit: the most bytes that it may become; not many more are ever held in memory.
    """
    window = _zlib_or_raw(body) if coding == b"deflate" else _GZIP
    pieces: list[bytes] = []
    size, left = 0, body
    for _ in range(_MAX_MEMBERS):
        engine = zlib.decompressobj(window)
        try:
            piece = engine.decompress(left, limit - size + 1)
        except zlib.error:
            return Fault.CORRUPT
        size += len(piece)
        if size > limit:
            return Fault.TOO_LARGE
        pieces.append(piece)
        if not engine.eof:
            return Fault.CORRUPT
        left = engine.unused_data
        if not left:
            return b"".join(pieces)
    return Fault.CORRUPT


def _zlib_or_raw(body: bytes) -> int:
    """Return the window for `deflate`: zlib's format by the standard, but some senders leave it out."""
    framed = len(body) > 1 and body[0] & 0x0F == _DEFLATED and int.from_bytes(body[:2], "big") % _CHECK == 0
    return zlib.MAX_WBITS if framed else _RAW
