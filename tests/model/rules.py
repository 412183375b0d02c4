"""What must hold of every record, given the journal before it."""

from __future__ import annotations

from tests.model.journal import LIVING, Log
from tidemill.kernel.protocol.records import (
    BURIED,
    Cancel,
    Claim,
    Created,
    End,
    News,
    Orphaned,
    Record,
    Released,
    Reopened,
    Spawned,
    Step,
    Suspend,
)
from tidemill.kernel.protocol.state import Phase, State


def problem(log: Log, record: Record, *, child: bool) -> str | None:
    """Say what is wrong with a record behind this journal."""
    state = log.state
    if record.rid in state.rids:
        return f"record id {record.rid} is written twice"
    stillborn = child and isinstance(record, End) and not log.entries
    if log.tail and not (log.entries and log.state.created) and not stillborn:
        return f"a closed run comes back to life: {record.KIND}"
    if not stillborn and not _fits(log, record):
        return f"{record.KIND} {record.rid} behind a run that is {state.phase}"
    return _of_progress(state, record) or _of_cancellation(state, record)


def _fits(log: Log, record: Record) -> bool:
    """Say whether such a record may stand behind this journal."""
    state, fits = log.state, False
    match record:
        case Created():
            fits = log.tail == 0
        case Claim():
            fits = _may_claim(state, record)
        case Released() | Suspend() | Step() | Spawned():
            fits = _by_owner(state, record)
        case News():
            fits = state.phase in LIVING and (_by_owner(state, record) or record.rid.startswith("news-"))
        case Cancel() | Orphaned():
            fits = state.phase is Phase.OWNED
        case Reopened():
            fits = state.parked or (state.end is not None and state.end.outcome in BURIED)
        case End():
            fits = _by_owner(state, record) or state.phase in (Phase.READY, Phase.SUSPENDED)
    return fits


def _of_progress(state: State, record: Record) -> str | None:
    """A6: at most one commit of each step; and no wait for what is past."""
    if isinstance(record, Step) and record.key in state.steps:
        return f"step {record.key} is finished twice"
    waits = isinstance(record, Suspend) and record.wait == "news"
    if waits and record.until is not None and record.until <= state.passed:
        return "a run is suspended until a moment that is over"
    return None


def _may_claim(state: State, claim: Claim) -> bool:
    """A claim opens an epoch, or its ticket came back to its owner."""
    if state.phase is Phase.OWNED and state.owner is not None:
        return (state.owner.q, state.owner.n) < (claim.q, claim.n) and state.owner.q == claim.q
    return state.phase in (Phase.READY, Phase.SUSPENDED)


def _by_owner(state: State, record: Record) -> bool:
    owner = state.owner
    return state.phase is Phase.OWNED and owner is not None and record.rid.startswith(f"{owner.rid}.")


def _of_cancellation(state: State, record: Record) -> str | None:
    """A run that was cancelled ends cancelled, unless its user code had completed; it waits for nothing."""
    if state.cancel is None:
        return None
    if isinstance(record, Suspend):
        return "a cancelled run is suspended"
    if isinstance(record, End) and record.outcome not in ("cancelled", "completed"):
        return f"a cancelled run has {record.outcome}"
    return None
