"""Retry policy, and the two exceptions by which a handler overrules it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tidemill.kernel.clock import LONGEST, Duration, now, seconds
from tidemill.kernel.definition import RetryPolicy
from tidemill.kernel.errors import SettingsError
from tidemill.source import calling_place

MOST_ATTEMPTS: Final = 1_000_000


class RetryAfter(Exception):  # noqa: N818 - the word of the contract; it asks, it doesn't report
    """Raised by a handler: end this attempt and try again after a delay, or at an instant.

    It counts as an attempt, and overrules the policy's delays but not its `max_attempts`.

    Args:
        delay: seconds, text like `"90s"`, a timedelta, or an instant with a time zone.
        reason: what stands in the run's history.
    """

    def __init__(self, delay: Duration | datetime, reason: str = "") -> None:
        """Check the delay.

        Raises:
            DefinitionError: the delay is no duration, or an instant that has no time zone or is too far away.
        """
        super().__init__(reason or f"retry after {delay}")
        self.delay = _instant(delay) if isinstance(delay, datetime) else duration("RetryAfter", delay)
        self.reason = reason

    def seconds_from(self, now: datetime) -> float:
        """Return how many seconds after `now` the next attempt may start; never less than zero."""
        if isinstance(self.delay, datetime):
            return max(0.0, (self.delay - now).total_seconds())
        return self.delay


class Abort(Exception):  # noqa: N818 - the word of the contract
    """Raised by a handler: the run has failed and is not tried again."""


@dataclass(frozen=True)
class Retry:
    """When a run that failed is tried again. It is policy only and never raised.

    After attempt number n the run waits `min_delay * factor ** (n - 1)`, never more than `max_delay`;
    with `jitter` the wait is spread over the upper half of that.

    Attributes:
        max_attempts: attempts in all, the first one included; 1 means no retry.
        factor: growth of the delay from attempt to attempt, at least 1.
        min_delay: delay after the first attempt.
        max_delay: bound of the delay.
        jitter: whether delays are spread, so that runs that failed together don't come back together.
        on: exceptions after which the run is tried again.
        never_on: exceptions after which it isn't, although `on` covers them.
    """

    max_attempts: int = 3
    factor: float = 2
    min_delay: Duration = 1
    max_delay: Duration = 60
    jitter: bool = True
    on: tuple[type[Exception], ...] = (Exception,)
    never_on: tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        """Check the policy.

        Raises:
            DefinitionError: a field has a value that makes no sense.
        """
        _check_attempts(self.max_attempts)
        _check_factor(self.factor)
        if duration("min_delay", self.min_delay) > duration("max_delay", self.max_delay):
            raise calling_place().problem("Retry: min_delay is longer than max_delay", hint="raise max_delay")
        if not isinstance(self.jitter, bool):
            raise calling_place().problem(f"Retry: jitter is {self.jitter!r}", hint="jitter is True or False")
        _check_exceptions("on", self.on)
        _check_exceptions("never_on", self.never_on)

    def applies_to(self, error: BaseException) -> bool:
        """Say whether a run that raised `error` may be tried again, attempts permitting.

        `Abort` never is, `RetryAfter` always. What isn't an `Exception` (cancellation, exit) never is.
        """
        if isinstance(error, Abort):
            return False
        if isinstance(error, RetryAfter):
            return True
        return isinstance(error, self.on) and not isinstance(error, self.never_on)

    @property
    def policy(self) -> RetryPolicy:
        """The policy's numbers as they stand in the task's definition."""
        return RetryPolicy(
            max_attempts=self.max_attempts,
            factor=self.factor,
            min_delay=seconds(self.min_delay),
            max_delay=seconds(self.max_delay),
            jitter=self.jitter,
        )


def duration(name: str, value: object) -> float:
    """Return a duration in seconds; `name` is what it is called in the error.

    Raises:
        DefinitionError: the value is no duration.
    """
    hint = "write seconds, text like '90s' or '5m', or a timedelta"
    try:
        return seconds(value)  # type: ignore[arg-type]  # users without a type checker pass anything
    except SettingsError as error:
        raise calling_place().problem(f"{name}: {error.sentence}", hint=hint) from None
    except (TypeError, ValueError):
        raise calling_place().problem(f"{name}: {value!r} is no duration", hint=hint) from None


def _instant(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise calling_place().problem(
            f"RetryAfter: {moment} has no time zone",
            hint="write datetime(…, tzinfo=UTC) or a delay in seconds",
        )
    if (moment - now()).total_seconds() > LONGEST:
        raise calling_place().problem(
            f"RetryAfter: {moment} is too far away", hint="wait a hundred years at most"
        )
    return moment


def _check_attempts(value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_ATTEMPTS:
        raise calling_place().problem(
            f"Retry: max_attempts is {value!r}",
            hint=f"a whole number from 1 to {MOST_ATTEMPTS}; 1 means that nothing is retried",
        )


def _check_factor(value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 1 <= value < math.inf:
        raise calling_place().problem(
            f"Retry: factor is {value!r}", hint="a number from 1; 1 keeps the delay constant"
        )


def _check_exceptions(name: str, value: object) -> None:
    if not isinstance(value, tuple) or not all(
        isinstance(entry, type) and issubclass(entry, Exception) for entry in value
    ):
        raise calling_place().problem(
            f"Retry: {name} is {value!r}", hint=f"a tuple of exception classes, like {name}=(ValueError,)"
        )
