"""Cancel and retry, for API and pages alike: what can't be done is a conflict that says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidemill.kernel.errors import ConflictError

if TYPE_CHECKING:
    from tidemill.kernel.services.runs import Runs
    from tidemill.kernel.signals import Kind

_PAST: Final[dict[Kind, str]] = {"cancel": "cancelled", "retry": "retried"}


async def signal_run(runs: Runs, run: str, kind: Kind, reason: str = "") -> str:
    """Send a run a command; return `done`, or `queued` where it is stored and nobody has answered yet.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: its state doesn't allow it.
        BrokerError: it wasn't stored, or it is unknown whether it was.
    """
    view = await runs.get(run)
    answer = await runs.signal(run, kind, reason)
    if answer in ("gone", "refused"):
        raise ConflictError(
            f"{run} can't be {_PAST[kind]}: it is {view.status}",
            hint="cancel is for runs that go on, retry for runs that failed, replay for all",
        )
    return answer
