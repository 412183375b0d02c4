"""Time: durations as users write them, instants as the broker wants them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from tidemill.kernel.errors import SettingsError

Duration = float | str | timedelta
LONGEST: Final = 36525 * 86400.0
"""The longest duration, a hundred years: the broker counts in nanoseconds, which end in the year 2262."""
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
PART = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|[smhdw])\s*")
_WHOLE = re.compile(f"(?:{PART.pattern})+")


def seconds(duration: Duration) -> float:
    """Return a duration in seconds: a number is seconds, text is like `90s`, `1h30m`, `500ms`, `7d`.

    Raises:
        SettingsError: the text is no duration, or the duration is negative or longer than `LONGEST`.
    """
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif isinstance(duration, str):
        value = _parse(duration)
    else:
        value = _number(duration)
    if not 0 <= value <= LONGEST:
        raise SettingsError(
            f"{duration!r} is no duration",
            hint="durations are zero or more seconds, a hundred years at most",
        )
    return value


def _number(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an integer beyond what a float can hold
        return float("inf")


def _parse(text: str) -> float:
    if not _WHOLE.fullmatch(text):
        raise SettingsError(
            f"{text!r} is no duration",
            hint="write seconds, or text like '90s', '1h30m', '500ms', '7d'",
        )
    return sum(float(number) * _UNITS[unit] for number, unit in PART.findall(text))


def now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


def schedulable(moment: datetime) -> bool:
    """Say whether something can be planned for an instant: one from 1970 on, at most `LONGEST` from now."""
    return moment >= _EPOCH and (moment - now()).total_seconds() <= LONGEST


def rfc3339(moment: datetime) -> str:
    """Return an instant as RFC 3339 in UTC with nanosecond digits cut to micro, as JetStream reads it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def rfc3339_at(stamp: float) -> str:
    """Return seconds since the epoch as RFC 3339 in UTC."""
    return rfc3339(datetime.fromtimestamp(stamp, UTC))
