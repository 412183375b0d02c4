"""Whether the broker stores what comes in, as the last attempts have shown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tidemill.kernel.jetstream.messages import TOO_LARGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill.kernel.errors import BrokerError

TRIAL_SECONDS: Final = 10.0
"""Seconds after a failure until it may be tried whether the broker stores again."""


class Storing:
    """Remembers a failure until something is stored.

    A gateway that a load balancer has taken out gets no deliveries for that very reason, and so could never
    show that it works again: whoever is asked for its readiness tries it, now and then.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._sentence = ""
        self._trial_at = float("-inf")

    def failed(self, error: BrokerError) -> None:
        """Remember that the broker didn't take something, unless that lay in the thing itself."""
        if error.code != TOO_LARGE:
            self._sentence = error.sentence
            self._trial_at = self._monotonic() + TRIAL_SECONDS

    def succeeded(self) -> None:
        """Forget what failed before."""
        self._sentence = ""

    @property
    def problem(self) -> str | None:
        """The last failure, None where something was stored since."""
        return self._sentence or None

    def trial_due(self) -> bool:
        """Say whether it is time to try, to one of those who ask at the same time."""
        now = self._monotonic()
        if not self._sentence or now < self._trial_at:
            return False
        self._trial_at = now + TRIAL_SECONDS
        return True
