"""Moments, durations, sizes and counts as pages write them. All moments are in UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup, escape

from tidemill.kernel.services.quarantine_query import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))
_SIZES: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")
_KILO: Final = 1024
_SMALL: Final = 10
_COUNTED: Final = ("run_failed", "quarantine", "drift")
_HUGE: Final = 253_402_300_799
"""The end of the year 9999."""


def moment(at: float | None) -> Markup:
    """Return a moment as an element of a page; nothing for None."""
    if at is None:
        return Markup("")
    when = _time(at)
    shown = when.strftime("%Y-%m-%d %H:%M:%S")
    return Markup('<time datetime="{}">{}</time>').format(when.isoformat(timespec="milliseconds"), shown)


def stamp(text: str | None) -> Markup:
    """Return a moment that comes as RFC 3339 as an element of a page."""
    return moment(datetime.fromisoformat(text).timestamp()) if text else Markup("")


def ago(at: float | None) -> str:
    """Return how long ago a moment was, or how far ahead it is."""
    if at is None:
        return ""
    passed = time.time() - at
    return f"{took(passed)} ago" if passed >= 0 else f"in {took(-passed)}"


def took(seconds: float | None) -> str:
    """Return a duration in the two units that tell the most."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _UNITS[-1][0]:
        return f"{seconds:.1f} s" if seconds < _SMALL else f"{seconds:.0f} s"
    for number, (size, unit) in enumerate(_UNITS):
        if seconds >= size:
            rest, below = divmod(int(seconds), size)
            small, name = _UNITS[number + 1] if number + 1 < len(_UNITS) else (1, "s")
            less = below // small
            return f"{rest} {unit} {less} {name}" if less else f"{rest} {unit}"
    raise AssertionError(seconds)


def size(number: int) -> str:
    """Return a number of bytes."""
    value, unit = float(number), 0
    while value >= _KILO and unit < len(_SIZES) - 1:
        value, unit = value / _KILO, unit + 1
    return f"{value:.0f} {_SIZES[unit]}" if unit == 0 or value >= _SMALL else f"{value:.1f} {_SIZES[unit]}"


def count(number: float) -> str:
    """Return a number with its thousands apart."""
    return f"{number:,.0f}".replace(",", "\u202f")


def percent(share: float) -> str:
    """Return a share of one."""
    return f"{share * 100:.1f} %" if share * 100 < _SMALL else f"{share * 100:.0f} %"


def bound(kind: str, threshold: float) -> str:
    """Return from which value on a rule of alerts counts: a share, a duration, or a number, by its kind."""
    if kind == "failure_rate":
        return percent(threshold)
    return count(threshold) if kind in _COUNTED else took(threshold)


def measured(kind: str, value: float, total: int) -> str:
    """Return what was measured for an alert."""
    if kind in _COUNTED:
        return count(total)
    return f"{took(value)} left" if kind == "approval_expiring" else bound(kind, value)


def prose(text: str) -> Markup:
    """Return a sentence whose `words` between backticks are code."""
    told = Markup()
    for place, part in enumerate(text.split("`")):
        told += Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
    return told


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(min(max(at, 0.0), _HUGE), UTC)


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "moment": moment,
    "stamp": stamp,
    "ago": ago,
    "took": took,
    "size": size,
    "count": count,
    "percent": percent,
    "bound": bound,
    "measured": measured,
    "prose": prose,
    "reason": reason_of,
}
"""By their names in templates."""
