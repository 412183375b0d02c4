"""Which part of a cron expression is wrong, and what to write instead."""

from __future__ import annotations

import re
from typing import Final

from cronsim import CronSim, CronSimError

from tidemill.kernel.clock import now
from tidemill.kernel.errors import DefinitionError

MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MOST_CHARACTERS: Final = 255
_NAMES: Final = ("second", "minute", "hour", "day of the month", "month", "day of the week")
_HINTS: Final = (
    "0 to 59",
    "0 to 59",
    "0 to 23",
    "1 to 31, L for the last one, LW for the last weekday",
    "1 to 12, or JAN to DEC",
    "0 to 7 with Sunday as 0 and 7, or SUN to SAT; 5L is the last Friday, MON#2 the second Monday",
)
_FORMS: Final = "a value, a list 1,15, a range 9-17, a step */10, or *"
_OF_ONE: Final = re.compile(r"(?<!\w)(\w+)-\1/\d+")
"""A range of one value with a step: cronsim takes `1-1/5` for `1/5`, which has no end."""
_MOST_FIELDS: Final = 6
_LEAST_FIELDS: Final = 5


def five_or_six(expr: str) -> str:
    """Return a cron expression with its name resolved (`@daily`) and single blanks, once it is right.

    Raises:
        DefinitionError: it is none; the sentence names the field and the part of it, the hint what may stand
            there.
    """
    if expr.startswith("@"):
        return _macro(expr)
    fields = expr.split()
    if len(expr) > MOST_CHARACTERS:
        raise DefinitionError(
            f"the cron expression has {len(expr)} characters", hint=f"{MOST_CHARACTERS} at most"
        )
    if not _LEAST_FIELDS <= len(fields) <= _MOST_FIELDS:
        raise DefinitionError(
            f"{expr!r} has {len(fields)} field{'s' * (len(fields) != 1)}, a cron expression has 5 or 6",
            hint="minute, hour, day of the month, month, day of the week; with 6 the first is the second",
        )
    offset = _MOST_FIELDS - len(fields)
    for index, field in enumerate(fields):
        _check_field(expr, field, index + offset)
    _check_whole(expr, fields, offset)
    return _OF_ONE.sub(r"\1", " ".join(fields).upper())


def _macro(expr: str) -> str:
    found = MACROS.get(expr.lower())
    if found is None:
        known = ", ".join(name for name in MACROS if name not in ("@annually", "@midnight"))
        hint = f"there are {known} and @every 5m"
        if expr.lower() == "@reboot":
            hint = "a schedule belongs to no machine that boots; " + hint
        raise DefinitionError(f"there is no {expr!r}", hint=hint)
    return found


def _check_field(expr: str, field: str, index: int) -> None:
    for term in field.split(","):
        alone = ["*"] * _MOST_FIELDS
        alone[index] = term
        try:
            CronSim(" ".join(alone), now())
        except CronSimError:
            of = "" if term == field else f" in {field!r}"
            raise DefinitionError(
                f"{expr!r}: {term!r}{of} is no {_NAMES[index]}", hint=_hint(term, index)
            ) from None


def _hint(term: str, index: int) -> str:
    if "?" in term:
        return "write * instead of ?"
    if term.endswith("/0"):
        return "a step is at least 1"
    start, _, end = term.partition("-")
    if start.isdecimal() and end.isdecimal() and int(end) < int(start):
        return f"a range goes upwards: write {start}-{max(_ends(index))},{min(_ends(index))}-{end}"
    return f"{_HINTS[index]}; {_FORMS}"


def _ends(index: int) -> tuple[int, int]:
    return ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))[index]


def _check_whole(expr: str, fields: list[str], offset: int) -> None:
    """Find what only all fields together tell: an expression that never comes true."""
    try:
        next(CronSim(" ".join(fields), now()))
    except (CronSimError, StopIteration):
        day, months = fields[3 - offset], fields[4 - offset]
        raise DefinitionError(
            f"{expr!r} never comes true: there is no day of the month {day!r} in month {months!r}",
            hint="L is the last day of every month",
        ) from None
