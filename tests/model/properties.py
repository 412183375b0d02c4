"""What must hold: of every record at its place, of every move, and of a world that has come to rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.actors import signal_id
from tests.model.journal import Log
from tests.model.scenarios import Scenario
from tests.model.world import Actor, Fault, World
from tidemill.kernel.protocol.operations import Ack, Execute
from tidemill.kernel.protocol.records import (
    BURIED,
    Cancel,
    Claim,
    Created,
    End,
    Orphaned,
    Record,
    Released,
    Reopened,
    Suspend,
)
from tidemill.kernel.protocol.state import Phase, State

if TYPE_CHECKING:
    from tests.model.explore import Move

LIVING = (Phase.READY, Phase.OWNED, Phase.SUSPENDED)


class Properties:
    """Checks worlds and moves of one scenario; each answer is a sentence, or None where all is well."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._verdicts: dict[Log, str | None] = {}

    def of_move(self, before: World, move: Move) -> str | None:
        """Check one thing that happened."""
        after = move.world
        verdict = None
        if after.log is not before.log:
            verdict = self._of_journal(after.log) or self._of_crashes(after)
        if move.actor is not None and move.what in ("step", "FAULT"):
            verdict = verdict or self._of_step(before, move, move.actor)
        elif move.actor is not None and move.actor.stream == "signals" and not after.message_of(move.actor):
            verdict = verdict or self._of_signal(after, move.actor, "is lost with its mailman")
        return verdict or self._of_world(after)

    def at_rest(self, world: World) -> str | None:
        """Check a world in which nothing can happen any more."""
        state = world.log.state
        if world.log.tail == 0:
            return None if self.scenario.cause == "once" else "at rest, but the run was never created"
        if state.phase in LIVING:
            return f"at rest, but the run stands still, {state.phase}"
        left = [message.stream for message in world.messages if message.stream != "ends"]
        if left or world.actors:
            return f"at rest, but something is left: {left} {world.actors}"
        if state.phase is Phase.ENDED:
            return self._of_ended(world, state)
        ghosts = world.letters and not self.scenario.allows(Fault.RESTART)
        return "a closed run has left a dead letter behind" if ghosts else None

    def may_expire(self, world: World) -> bool:
        """Say whether a tombstone's time is over: nobody has been at work for as long as it lives.

        A caller doesn't repeat its request after so long; that an event isn't, is up to the closer.
        """
        called = self.scenario.cause != "event" and world.stored("events")
        idle = not (world.actors or world.limbo or called)
        return idle and world.log.state.phase is Phase.CLOSED

    def _of_ended(self, world: World, state: State) -> str | None:
        assert state.end is not None
        buried = state.end.outcome in BURIED
        if buried and state.end_seq not in world.letters:
            return f"the run {state.end.outcome} and no dead letter says so"
        ghosts = [seq for seq in world.letters if seq != state.end_seq or not buried]
        if ghosts and not self.scenario.allows(Fault.RESTART):
            return f"a dead letter of end {ghosts} stands although the run went on"
        if self.scenario.closing and not world.letters:
            return "the journal of an ended run is never closed"
        return None

    def _of_journal(self, log: Log) -> str | None:
        """Check the newest record; the verdict on a journal never changes."""
        if log not in self._verdicts:
            assert log.parent is not None
            appended = log.entries[-1].record if log.tail > log.parent.tail else None
            self._verdicts[log] = problem(log.parent, appended) if appended else None
        return self._verdicts[log]

    def _of_crashes(self, world: World) -> str | None:
        """A5: claims without progress stand for owners that died, or that were taken for dead."""
        spent = self._spent(world)
        deaths = spent[Fault.CRASH] + spent[Fault.EXPIRY] + spent[Fault.GHOST] + spent[Fault.RECREATION]
        # A worker that was shut down and freezes between releasing the run and giving its ticket back can
        # take the ticket from the next owner: who looks dead then. The claim that it costs is accepted.
        deaths += spent[Fault.LOSS] + min(
            spent[Fault.SHUTDOWN], spent[Fault.EXPIRY] + spent[Fault.RECREATION]
        )
        claims = world.log.state.claims
        if claims < 0 or (world.log.state.phase is Phase.OWNED and claims - 1 > deaths):
            return f"{claims} claims without progress, but only {deaths} owners can have died"
        return None

    def _spent(self, world: World) -> list[int]:
        return [had - has for had, has in zip(self.scenario.budget, world.budget, strict=True)]

    def _of_step(self, before: World, move: Move, actor: Actor) -> str | None:
        operation = actor.step.operation
        if isinstance(operation, Execute):
            return self._of_execution(before, actor)
        if actor.stream == "tickets" and isinstance(operation, Ack):
            return _of_farewell(before, actor)
        if actor.stream == "signals" and isinstance(operation, Ack):
            return self._of_signal(before, actor, "is acknowledged, and the living run doesn't know of it")
        returned = actor.step.after(move.result).operation is None
        if returned and actor.stream in ("signals", "events") and move.world.message_of(actor):
            return f"an actor has returned without acknowledging its message ({actor.stream})"
        return None

    def _of_signal(self, world: World, actor: Actor, how: str) -> str | None:
        """A1 for signals: a cancellation stays until the living run knows of it."""
        if self.scenario.signals[actor.q - 1] != "cancel" or world.log.ever(signal_id(actor)):
            return None
        ended = any(isinstance(entry.record, End) for entry in world.log.entries)
        return f"a cancellation {how}" if world.log.state.phase in LIVING and not ended else None

    def _of_execution(self, world: World, actor: Actor) -> str | None:
        state = world.log.state
        owns = state.phase is Phase.OWNED and state.owner is not None and state.owner.rid == actor.step.claim
        if not world.log.ever(actor.step.claim):
            return "user code runs, and no claim in the journal says so"
        if self.scenario.expired:
            return "a run is executed that had expired before it began"
        last = 1 < self.scenario.policy.max_crashes <= state.claims
        if owns and last and not actor.step.alone:
            return "the last owner that may die executes the run beside others"
        # Deliveries of a consumer that was created anew count from 1 again: an older one may look newer.
        if world.leases(actor) and not owns and not self._spent(world)[Fault.RECREATION]:
            return f"user code runs for a run that its worker doesn't own ({state.phase})"
        if owns and world.message_of(actor) is None and not self.scenario.allows(Fault.LOSS):
            return "user code runs while its ticket, and so its slot, is gone"
        return None

    def _of_world(self, world: World) -> str | None:
        """A1: a living run has something that carries it on."""
        if world.log.state.phase not in LIVING or self.scenario.allows(Fault.RESCUE):
            return None
        messages = any(message.stream != "ends" for message in world.messages)
        # A mailman counts: its signal may be gone when a slow colleague has refused it before this one
        # could accept it. Should it die too, the sweeper finds the run.
        mailman = any(actor.stream == "signals" for actor in world.actors)
        carried = messages or mailman or world.timers or world.limbo
        return None if carried else f"nothing carries the run any more, and it is {world.log.state.phase}"


def _of_farewell(world: World, actor: Actor) -> str | None:
    """A2: nobody acknowledges a ticket by which somebody else owns the run."""
    owner = world.log.state.owner
    delivery = f"q{actor.q}g{actor.generation}n{actor.delivered}"
    if world.log.state.phase is Phase.OWNED and owner and owner.q == actor.q and owner.rid != delivery:
        return f"delivery {delivery} settles the ticket by which {owner.rid} owns the run"
    return None


def problem(log: Log, record: Record) -> str | None:
    """Say what is wrong with a record behind this journal."""
    state = log.state
    if record.rid in state.rids:
        return f"record id {record.rid} is written twice"
    if log.tail and not (log.entries and log.state.created):
        return f"a closed run comes back to life: {record.KIND}"
    match record:
        case Created():
            wrong = log.tail > 0
        case Claim():
            wrong = not _may_claim(state, record)
        case Released() | Suspend():
            wrong = not _by_owner(state, record)
        case Cancel() | Orphaned():
            wrong = state.phase is not Phase.OWNED
        case Reopened():
            wrong = state.end is None or state.end.outcome not in BURIED
        case End():
            wrong = not (_by_owner(state, record) or state.phase in (Phase.READY, Phase.SUSPENDED))
    if wrong:
        return f"{record.KIND} {record.rid} behind a run that is {state.phase}"
    return _of_cancellation(state, record)


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
