"""Cursors: where a page of a list ended, opaque, and good for the very query that gave them.

A cursor carries a digest of its query, so that one from another query is refused instead of quietly skipping
rows. It is no secret: whoever makes one up sees nothing that a query wouldn't show.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import orjson

from tidemill.kernel.errors import PayloadError

_DIGEST: Final = 9
_LONGEST: Final = 1024
_HINT: Final = "ask for the first page again, and then follow the cursors that come with each"
RowT = TypeVar("RowT")
Place = Sequence[int | float | str]


@dataclass(frozen=True, slots=True)
class Page(Generic[RowT]):
    """Rows of a list, and the cursor of the next page, None where there is none.

    A page may be short, even empty, and still have a next one: a search looks at so many rows at a time.
    """

    rows: tuple[RowT, ...]
    cursor: str | None = None


def write_cursor(query: Mapping[str, Any], place: Place) -> str:
    """Return the cursor of a place in a query's list."""
    facts = orjson.dumps(list(place))
    return base64.urlsafe_b64encode(_digest(query) + facts).rstrip(b"=").decode()


def read_cursor(query: Mapping[str, Any], cursor: str | None, kinds: Sequence[type]) -> list[Any] | None:
    """Return the place that a cursor of this query stands for; `kinds` are its parts' types.

    Raises:
        PayloadError: it is none, or another query's.
    """
    if cursor is None:
        return None
    if len(cursor) > _LONGEST:
        raise PayloadError("the cursor can't be read", hint=_HINT)
    try:
        packed = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = orjson.loads(packed[_DIGEST:])
    except (ValueError, binascii.Error) as error:
        raise PayloadError("the cursor can't be read", hint=_HINT) from error
    if packed[:_DIGEST] != _digest(query):
        raise PayloadError("the cursor belongs to another query", hint=_HINT)
    if not isinstance(place, list) or [type(part) for part in place] != list(kinds):
        raise PayloadError("the cursor can't be read", hint=_HINT)
    return place


def _digest(query: Mapping[str, Any]) -> bytes:
    canonical = orjson.dumps(query, option=orjson.OPT_SORT_KEYS, default=str)
    return hashlib.blake2s(canonical, digest_size=_DIGEST).digest()
