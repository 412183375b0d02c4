"""Whether the broker stores what comes in, as the last attempts have shown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tidemill.kernel.jetstream.messages import TOO_LARGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill.kernel.errors import BrokerError

TRIAL_SECONDS: Final = 10.0
"""Seconds after a failure until the next delivery may show whether the broker stores again."""


class Storing:
    """Remembers a failure until something is stored, or long enough for a trial.

    Without the trial a gateway that a load balancer has taken out, and that gets no deliveries for that
    reason, could never show that it works again.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._sentence = ""
        self._until = float("-inf")

    def failed(self, error: BrokerError) -> None:
        """Remember that the broker didn't take something, unless that lay in the thing itself."""
        if error.code != TOO_LARGE:
            self._sentence = error.sentence
            self._until = self._monotonic() + TRIAL_SECONDS

    def succeeded(self) -> None:
        """Forget what failed before."""
        self._sentence = ""

    @property
    def problem(self) -> str | None:
        """The last failure, None where there is none or it was long enough ago."""
        return self._sentence if self._sentence and self._monotonic() < self._until else None
