"""Instants as providers write them, read without ever raising."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_MAX_DIGITS: Final = 15
_SECONDS_PER: Final = {"s": 1.0, "ms": 0.001}


def parse_moment(text: str, unit: str) -> float | None:
    """Return seconds since the epoch, None where the text is no instant of that unit.

    Numbers are digits alone: no sign, fraction, exponent, `inf` or digits of other scripts; so that the
    text that is signed and the number that is judged can't mean different things.
    """
    if unit == "rfc3339":
        return _rfc3339(text)
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        return None
    return int(text) * _SECONDS_PER[unit]


def _rfc3339(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def datetime_of(seconds: float) -> datetime | None:
    """Return an instant as a datetime in UTC, None where it is outside of the years 1 to 9999."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
