"""How one execution of user code can conclude, and what that means for its run: a closed vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tidemill.kernel.backoff import delay
from tidemill.kernel.protocol.records import BURIED, End, Fault, Outcome, Released, Suspend
from tidemill.kernel.protocol.state import State


@dataclass(frozen=True, slots=True)
class Policy:
    """What a task allows its runs: delays in seconds, and how many owners may die without progress."""

    max_attempts: int = 3
    factor: float = 2.0
    min_delay: float = 1.0
    max_delay: float = 60.0
    jitter: bool = True
    max_crashes: int = 3

    def suspects(self, state: State) -> bool:
        """Say whether the next owner of a run is the last that may die: whose fault that is must be known.

        A worker's death counts against all runs that it owned, since nobody can tell which of them it was.
        A run that isn't going to be executed is none, however many of its owners died.
        """
        return state.claims == self.max_crashes - 1 > 0 and state.cancel is None


@dataclass(slots=True, unsafe_hash=True)
class Completed:
    """The handler returned; its result is JSON, or lies in `blob` where it is large."""

    result: Any = None
    blob: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised. `final` forbids another attempt, `delay` replaces the policy's delay (seconds).

    `roll` is the random number from 0 to 1 that the jitter is made of.
    """

    fault: Fault
    outcome: Outcome = "failed"
    final: bool = False
    delay: float | None = None
    roll: float = 1.0


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The handler stopped because its run was cancelled."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The worker is shutting down and the handler was stopped: the run goes back unharmed."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Somebody else owns the run: nothing may be sent for this message any more."""


Conclusion = Completed | Failed | Cancelled | Interrupted | Lost


def decide(
    state: State, conclusion: Conclusion, policy: Policy, *, now: float, rid: str
) -> End | Suspend | Released:
    """Return the record that a conclusion becomes; news in the state (a cancellation) is taken into account.

    What the handler has completed stays completed, whatever news came meanwhile.
    """
    match conclusion:
        case Completed(result=result, blob=blob):
            return ending(state, rid, "completed", result=result, blob=blob)
        case Interrupted():
            return Released(rid=rid)
        case Failed() if state.cancel is None and _may_retry(state, conclusion, policy):
            return _retry(state, conclusion, policy, now=now, rid=rid)
        case Failed(fault=fault) if state.cancel is None:
            return ending(state, rid, conclusion.outcome, fault=fault)
        case Failed(fault=fault):
            reason = state.cancel.reason if state.cancel else ""
            return ending(state, rid, "cancelled", fault=fault, reason=reason)
        case Cancelled(reason=reason):
            return ending(state, rid, "cancelled", reason=reason)
        case Lost():
            raise AssertionError("who has lost a run decides nothing about it")


def ending(  # noqa: PLR0913 - an end is made of exactly these
    state: State,
    rid: str,
    outcome: Outcome,
    *,
    result: Any = None,
    blob: str | None = None,
    fault: Fault | None = None,
    reason: str = "",
) -> End:
    """Return the end record of a run, with what the closer must know of it."""
    created = state.created
    return End(
        rid=rid,
        outcome=outcome,
        result=result,
        blob=blob,
        fault=fault,
        reason=reason,
        task=state.task,
        event_seq=created.event_seq if created else 0,
        keyed=bool(created and created.key),
        # A reopened run may still have the dead letter of an earlier end: who takes it back may have died.
        lasting=outcome in BURIED or bool(state.reopenings),
        blobs=bool(blob or (created and created.blob)),
        records=tuple(state.seqs),
    )


def _may_retry(state: State, failed: Failed, policy: Policy) -> bool:
    return not failed.final and state.attempt < policy.max_attempts


def _retry(state: State, failed: Failed, policy: Policy, *, now: float, rid: str) -> Suspend:
    if state.owner is None:
        raise AssertionError("only an owner retries")
    pause = failed.delay
    if pause is None:
        pause = delay(
            state.attempt,
            factor=policy.factor,
            min_delay=policy.min_delay,
            max_delay=policy.max_delay,
            jitter=failed.roll if policy.jitter else None,
        )
    return Suspend(rid=rid, q=state.owner.q, wait="retry", until=now + pause, fault=failed.fault)
