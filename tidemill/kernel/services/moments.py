"""Moments as people write them in filters."""

from __future__ import annotations

from datetime import datetime

from tidemill.kernel import clock
from tidemill.kernel.errors import PayloadError, SettingsError


def parse_since(text: str, name: str = "since") -> float:
    """Return seconds since the epoch for RFC 3339 text, or for a duration that is counted back from now.

    Args:
        text: what was written.
        name: the filter that it stands for, to be named where it can't be used.

    Raises:
        PayloadError: it is neither.
    """
    hint = "write an instant like 2026-11-22T12:00:00Z, or how long ago, like 90m or 2d"
    try:
        if text[:1].isdigit() and "T" not in text.upper():
            return max(0.0, clock.now().timestamp() - clock.seconds(text))
        moment = datetime.fromisoformat(text)
    except (ValueError, SettingsError) as error:
        raise PayloadError(f"{name}={text!r} can't be used", hint=hint) from error
    if moment.tzinfo is None:
        raise PayloadError(f"{name}={text!r} names no time zone", hint=hint)
    return max(0.0, moment.timestamp())
