"""The moments that a cron expression or an interval means, in whole seconds since 1970.

Daylight saving time is as in Debian's cron. An expression of five fields whose
minute and hour both don't begin with a star means times of the day: one that a change of the clock leaves
out comes at the first moment after the gap, one that comes twice counts the first time. Every other
expression counts what the clock on the wall shows: what it leaves out doesn't come, what it shows twice
comes twice. That is counted here, on stretches of time between two changes of the clock: cronsim itself
takes changes for whole hours, which they aren't everywhere (Lord Howe Island). `@every` knows no zone: it
means the multiples of its interval since 1970, in UTC.
"""

from __future__ import annotations

import difflib
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim

from tidemill.kernel.clock import seconds
from tidemill.kernel.errors import DefinitionError, SettingsError
from tidemill.kernel.schedules.fields import five_or_six

EVERY: Final = "@every"
_FIRST_WINDOW: Final = 60.0
_GROWTH: Final = 4
_FIVE: Final = 5
_DAY: Final = 86400
_NOTHING: Final = timedelta(0)


class Rhythm:
    """When a schedule ticks."""

    def __init__(self, expr: str, tz: str) -> None:
        """Read an expression.

        Raises:
            DefinitionError: the expression or the zone is none; the sentence names the place.
        """
        self.zone = zone(tz)
        self._every = 0
        self._cron = ""
        if expr.lower().startswith(EVERY):
            self._every = _interval(expr)
        else:
            self._cron = five_or_six(expr)
        parts = self._cron.split()
        self._fixed = len(parts) == _FIVE and not any(part.startswith("*") for part in parts[:2])

    def after(self, moment: float) -> Iterator[int]:
        """Yield the ticks behind a moment, in their order; a cron expression ends where none is left."""
        if self._every:
            tick = math.floor(moment) // self._every * self._every
            while True:
                tick += self._every
                yield tick
        yield from (self._times_of_day if self._fixed else self._wall_clock)(math.floor(moment))

    def latest(self, after: float, until: float, most: int) -> list[int]:
        """Return the ticks behind `after` up to `until`, in their order; of more than `most` the last ones.

        What is looked through is in proportion to `most`, however long the time between is.
        """
        window = _FIRST_WINDOW
        while True:
            start = max(after, until - window)
            found = deque(self._between(start, until), maxlen=most)
            if len(found) == most or start <= after:
                return list(found)
            window *= _GROWTH

    def _times_of_day(self, last: int) -> Iterator[int]:
        for found in CronSim(self._cron, datetime.fromtimestamp(last, self.zone)):
            tick = int(found.timestamp())
            # From the second of two equal hours the first one is found again: it is over.
            if tick > last:
                last = tick
                yield tick

    def _wall_clock(self, last: int) -> Iterator[int]:
        change: int | None = last
        while change is not None:
            last, change = change, None
            offset = self._ahead(last + 1)
            for shown in CronSim(self._cron, datetime.fromtimestamp(last + offset, UTC).replace(tzinfo=None)):
                tick = int(shown.replace(tzinfo=UTC).timestamp()) - offset
                change = self._change(last, tick)
                if change is not None:
                    break
                last = tick
                yield tick

    def _change(self, last: int, tick: int) -> int | None:
        """Return the last second before the clock is changed between two moments; None where it isn't."""
        offset = self._ahead(last + 1)
        while last < tick:
            end = min(last + _DAY, tick)
            if self._ahead(end) != offset:
                stretch = range(last, end)
                return last + bisect_left(stretch, 1, key=lambda moment: self._ahead(moment + 1) != offset)
            last = end
        return None

    def _ahead(self, moment: int) -> int:
        """Return by how many seconds the zone's clock is ahead of UTC."""
        if self.zone is UTC:
            return 0
        return int((datetime.fromtimestamp(moment, self.zone).utcoffset() or _NOTHING).total_seconds())

    def _between(self, start: float, until: float) -> Iterator[int]:
        for tick in self.after(start):
            if tick > until:
                return
            yield tick


@lru_cache(maxsize=4096)
def rhythm(expr: str, tz: str) -> Rhythm:
    """Return the rhythm of an expression, which is read once.

    Raises:
        DefinitionError: the expression or the zone is none; the sentence names the place.
    """
    return Rhythm(expr, tz)


def zone(name: str) -> tzinfo:
    """Return a time zone by its name in the IANA data base.

    Raises:
        DefinitionError: there is none.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError) as error:  # ZoneInfoNotFoundError is a KeyError
        problem: Exception = error
    except KeyError as error:
        problem = error
    known = sorted(available_timezones())
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.7)
    hint = f"did you mean {' or '.join(near)}?" if near else "write a name like 'Europe/Berlin', or 'UTC'"
    if not known:
        hint = "this machine has no time zones: pip install tzdata"
    raise DefinitionError(f"there is no time zone {name!r}", hint=hint) from problem


def _interval(expr: str) -> int:
    text = expr[len(EVERY) :].strip()
    try:
        length = seconds(text)
    except SettingsError:
        length = 0.0
    if length < 1 or length % 1:
        raise DefinitionError(
            f"{expr!r}: {text!r} is no interval",
            hint="whole seconds, at least one, like @every 90s or @every 1h30m",
        )
    return int(length)
