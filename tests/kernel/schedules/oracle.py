"""Cron by another road: look at every minute of a stretch of time, and ask the wall clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo

MINUTE = timedelta(minutes=1)


def field(text: str, low: int, high: int) -> set[int]:
    """Read a field of numbers, ranges and steps."""
    found: set[int] = set()
    for term in text.split(","):
        span, _, step = term.partition("/")
        first, _, last = span.partition("-")
        begin = low if span == "*" else int(first)
        end = high if span == "*" or (step and not last) else int(last or first)
        found.update(range(begin, end + 1, int(step or 1)))
    return found


class Expected:
    """The ticks of five fields without names, between two moments."""

    def __init__(self, expr: str, zone: tzinfo) -> None:
        self.parts = expr.split()
        minute, hour, day, month, weekday = self.parts
        self.minutes, self.hours = field(minute, 0, 59), field(hour, 0, 23)
        self.days, self.months = field(day, 1, 31), field(month, 1, 12)
        self.weekdays = {number % 7 for number in field(weekday, 0, 7)}
        self.zone = zone

    def on(self, day: date) -> bool:
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        both = self.parts[2].startswith("*") or self.parts[4].startswith("*")
        return day.month in self.months and ((in_month and in_week) if both else (in_month or in_week))

    def between(self, after: datetime, until: datetime) -> list[int]:
        fixed = not self.parts[0].startswith("*") and not self.parts[1].startswith("*")
        found = self.fixed_times(after, until) if fixed else self.wall_clock(after, until)
        return sorted({int(tick.timestamp()) for tick in found if after < tick <= until})

    def wall_clock(self, after: datetime, until: datetime) -> list[datetime]:
        found, moment = [], after.astimezone(UTC).replace(second=0, microsecond=0)
        while moment <= until:
            shown = moment.astimezone(self.zone)
            if shown.minute in self.minutes and shown.hour in self.hours and self.on(shown.date()):
                found.append(moment)
            moment += MINUTE
        return found

    def fixed_times(self, after: datetime, until: datetime) -> list[datetime]:
        found, day = [], after.astimezone(self.zone).date() - timedelta(days=1)
        while day <= until.astimezone(self.zone).date() + timedelta(days=1):
            if self.on(day):
                found += [
                    self.first(datetime.combine(day, time(h, m))) for h in self.hours for m in self.minutes
                ]
            day += timedelta(days=1)
        return found

    def first(self, shown: datetime) -> datetime:
        """Return when a wall clock first shows a time, or, where it never does, what it shows next."""
        while True:
            moment = shown.replace(tzinfo=self.zone, fold=0).astimezone(UTC)
            if moment.astimezone(self.zone).replace(tzinfo=None) == shown:
                return moment
            shown += MINUTE
