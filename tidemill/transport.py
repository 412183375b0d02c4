"""How application code reaches Tidemill: what comes back, and who can carry it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tidemill.kernel.decision import Decision
from tidemill.kernel.trigger import TriggerRequest


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run has ended: `state`, and its result as JSON text or what went wrong."""

    state: str
    result: bytes = b"null"
    error: str = ""
    error_type: str = ""


class Transport(Protocol):
    """Carries requests to Tidemill: over HTTP to the control listener, or over NATS."""

    async def trigger(self, request: TriggerRequest) -> str:
        """Create a run durably and return its id."""

    async def outcome(self, run_id: str, timeout: float | None) -> RunOutcome:
        """Return how a run has ended; wait for it at most `timeout` seconds, None for ever.

        Raises:
            TimeoutError: it hasn't ended in time; the run goes on.
        """

    async def cancel(self, run_id: str, reason: str) -> None:
        """Ask for a run's end."""

    async def send_signal(self, run_id: str, name: str, data: bytes, key: str | None) -> None:
        """Send a run a signal with data, which are JSON text."""

    async def send_answer(self, token_id: str, decision: Decision) -> None:
        """Answer a token or an approval."""

    async def open(self) -> None:
        """Get ready to carry many requests."""

    async def close(self) -> None:
        """Give back what `open` and the requests hold."""
