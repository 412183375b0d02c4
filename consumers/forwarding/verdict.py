"""What a destination's answer means: done, try again, or never."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from http import HTTPStatus
from typing import Final, NamedTuple

from tidemill.kernel import clock

LONGEST_WAIT: Final = 86400.0
"""Seconds: what is asked for with `Retry-After` beyond that isn't waited."""
_AGAIN: Final = frozenset({408, 425, 429})
_MAX_DIGITS: Final = 9


class Verdict(Enum):
    """What becomes of a delivery."""

    DONE = auto()
    AGAIN = auto()
    NEVER = auto()
    GONE = auto()
    """Never, and nothing else shall be sent there either."""


class Answer(NamedTuple):
    """A destination's answer; `retry_after` are seconds, None where it doesn't say."""

    status: int
    retry_after: float | None = None

    @property
    def verdict(self) -> Verdict:
        """What it means."""
        if 200 <= self.status < 300:  # noqa: PLR2004 - RFC 9110, 15.3
            return Verdict.DONE
        if self.status == HTTPStatus.GONE:
            return Verdict.GONE
        if self.status in _AGAIN or self.status >= 500:  # noqa: PLR2004 - RFC 9110, 15.6
            return Verdict.AGAIN
        return Verdict.NEVER

    @property
    def sentence(self) -> str:
        """What the destination has said, without anything that it wrote."""
        try:
            phrase = f" {HTTPStatus(self.status).phrase}"
        except ValueError:
            phrase = ""
        redirects = ": redirections aren't followed" if 300 <= self.status < 400 else ""  # noqa: PLR2004 - 15.4
        return f"answered {self.status}{phrase}{redirects}"


def retry_after(value: str | None) -> float | None:
    """Return the seconds that `Retry-After` asks for (RFC 9110, 10.2.3), a day at most; None without one."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(LONGEST_WAIT, float(text[:_MAX_DIGITS]) if len(text) <= _MAX_DIGITS else LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(LONGEST_WAIT, max(0.0, _until(moment)))


def _until(moment: datetime) -> float:
    return (moment - clock.now()).total_seconds()
