"""The handle of a run: wait for its result, or cancel it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from tidemill.kernel.clock import Duration, seconds
from tidemill.kernel.errors import RunCancelledError, RunFailedError

if TYPE_CHECKING:
    from tidemill.client import Client
    from tidemill.kernel.codec import Codec
    from tidemill.transport import RunOutcome

Out = TypeVar("Out")


class Run(Generic[Out]):
    """A run that was triggered. The handle may be dropped: the run is durable without it.

    Attributes:
        id: the run's id, as command line and API know it.
    """

    def __init__(self, run_id: str, client: Client, codec: Codec[Out]) -> None:
        self.id = run_id
        self._client = client
        self._codec = codec

    def __repr__(self) -> str:
        return f"Run({self.id!r})"

    async def result(self, *, timeout: Duration | None = None) -> Out:
        """Wait for the run's end and return its result, in the type of the task's return annotation.

        Args:
            timeout: how long to wait; by default for ever.

        Raises:
            RunFailedError: the run failed, crashed, timed out or expired.
            RunCancelledError: the run was cancelled.
            TimeoutError: it hasn't ended in time; it goes on.
        """
        limit = None if timeout is None else seconds(timeout)
        return self._read(await self._client.outcome(self.id, limit))

    async def cancel(self, reason: str = "") -> None:
        """Ask for the run's end. That it has ended shows in `result` or in its state.

        Args:
            reason: what stands in the run's history.
        """
        await self._client.cancel(self.id, reason)

    async def signal(self, name: str, payload: object = None, *, key: str | None = None) -> None:
        """Send the run a signal; it is kept until the run's code asks for it.

        Args:
            name: the signal's, as `ctx.wait_for_signal` has it.
            payload: what it brings.
            key: an idempotency key: with the same one it reaches the run once.

        Raises:
            NotFoundError: there is no such run any more.
            ConflictError: it has ended, or the key was used with another payload.
            PayloadError: the payload can't be serialised, or name or key can't be used.
        """
        await self._client.signal(self.id, name, payload, key=key)

    def _read(self, outcome: RunOutcome) -> Out:
        if outcome.state == "completed":
            return self._codec.decode(outcome.result)
        told = f": {outcome.error_type}: {outcome.error}" if outcome.error_type else ""
        told = told or (f": {outcome.error}" if outcome.error else "")
        kind = RunCancelledError if outcome.state == "cancelled" else RunFailedError
        raise kind(
            f"run {self.id} is {outcome.state.replace('_', ' ')}{told}",
            hint=f"tidemill runs show {self.id} tells the whole story",
            run_id=self.id,
            state=outcome.state,
            error_type=outcome.error_type,
        )
