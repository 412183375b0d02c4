"""How one execution of user code can conclude, and what that means for its run: a closed vocabulary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from tidemill.kernel.backoff import delay
from tidemill.kernel.protocol.records import BURIED, End, Fault, Outcome, Reason, Released, Suspend, Wait
from tidemill.kernel.protocol.state import State

EXPIRED: Final = Fault("Expired", "it didn't start before its time to live had passed")
"""Why a run ends that comes too late."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a task allows its runs: delays in seconds, and how many owners may die without progress."""

    max_attempts: int = 3
    factor: float = 2.0
    min_delay: float = 1.0
    max_delay: float = 60.0
    jitter: bool = True
    max_crashes: int = 3
    max_duration: float | None = None

    def deadline(self, state: State) -> float | None:
        """Return the moment at which a run's whole time is over; that of a reopened run begins anew."""
        return None if self.max_duration is None else state.opened_at + self.max_duration

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
class Waiting:
    """The handler can't go on before something happens: until then it needs nobody."""

    waits: tuple[Wait, ...]


@dataclass(frozen=True, slots=True)
class Parked:
    """The handler must not go on before a person has looked at it, for this reason."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The worker is shutting down and the handler was stopped: the run goes back unharmed."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Somebody else owns the run: nothing may be sent for this message any more."""


Conclusion = Completed | Failed | Cancelled | Waiting | Parked | Interrupted | Lost


def decide(
    state: State, conclusion: Conclusion, policy: Policy, *, now: float, rid: str
) -> End | Suspend | Released:
    """Return the record that a conclusion becomes; news in the state (a cancellation) is taken into account.

    What the handler has completed stays completed, whatever news came meanwhile.
    """
    match conclusion:
        case Completed(result=result, blob=blob):
            return ending(state, rid, "completed", result=result, blob=blob)
        case Failed():
            return _after_failure(state, conclusion, policy, now=now, rid=rid)
        case Waiting() | Parked() if state.cancel is None:
            return _let_go(state, conclusion, policy, rid)
        case Waiting() | Parked() | Cancelled():
            asked = state.cancel.reason if state.cancel is not None else ""
            return ending(state, rid, "cancelled", reason=getattr(conclusion, "reason", asked))
        case Interrupted():
            return Released(rid=rid)
        case Lost():
            raise AssertionError("who has lost a run decides nothing about it")


def _after_failure(state: State, failed: Failed, policy: Policy, *, now: float, rid: str) -> End | Suspend:
    if state.cancel is not None:
        return ending(state, rid, "cancelled", fault=failed.fault, reason=state.cancel.reason)
    if _may_retry(state, failed, policy):
        return _retry(state, failed, policy, now=now, rid=rid)
    return ending(state, rid, failed.outcome, fault=failed.fault)


def _let_go(state: State, conclusion: Waiting | Parked, policy: Policy, rid: str) -> Suspend:
    if isinstance(conclusion, Parked):
        return _suspend(state, rid, "parked", fault=conclusion.fault)
    until = _next(state, conclusion.waits, policy)
    return _suspend(state, rid, "news", until=until, waits=conclusion.waits)


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
        blobs=bool(blob or (created and created.blob) or _has_blobs(state)),
        parent=created.parent.run if created and created.parent else "",
        records=tuple(entry.seq for entry in state.entries),
    )


def _may_retry(state: State, failed: Failed, policy: Policy) -> bool:
    return not failed.final and state.attempt < policy.max_attempts


def _retry(state: State, failed: Failed, policy: Policy, *, now: float, rid: str) -> Suspend:
    pause = failed.delay
    if pause is None:
        pause = delay(
            state.attempt,
            factor=policy.factor,
            min_delay=policy.min_delay,
            max_delay=policy.max_delay,
            jitter=failed.roll if policy.jitter else None,
        )
    until = min(now + pause, policy.deadline(state) or math.inf)
    return _suspend(state, rid, "retry", until=until, fault=failed.fault)


def _suspend(  # noqa: PLR0913 - a suspension is made of exactly these
    state: State,
    rid: str,
    reason: Reason,
    *,
    until: float | None = None,
    waits: tuple[Wait, ...] = (),
    fault: Fault | None = None,
) -> Suspend:
    if state.owner is None:
        raise AssertionError("only an owner suspends its run")
    return Suspend(rid=rid, q=state.owner.q, wait=reason, until=until, waits=waits, fault=fault)


def _next(state: State, waits: tuple[Wait, ...], policy: Policy) -> float | None:
    """Return when the first wait is over by itself, or the run's whole time."""
    moments = [wait.until for wait in waits if wait.until is not None]
    if (deadline := policy.deadline(state)) is not None:
        moments.append(deadline)
    return min(moments, default=None)


def _has_blobs(state: State) -> bool:
    """Say whether a step or a piece of news has left a blob that the run owns."""
    steps = any(step.blob for step in state.steps.values())
    return steps or any(item.blob for box in state.boxes.values() for item in box.values())
