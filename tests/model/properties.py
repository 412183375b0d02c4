"""What must hold of every move, and of a world that has come to rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.model.actors import signal_id
from tests.model.broker import USER_CODE
from tests.model.forks import problem_of_fork
from tests.model.journal import LIVING, Log
from tests.model.parts import Perform
from tests.model.rules import problem
from tests.model.scenarios import Scenario
from tests.model.world import Actor, Fault, World
from tidemill.kernel.protocol.operations import Ack, Execute, SendTicket
from tidemill.kernel.protocol.records import (
    BURIED,
    End,
    Item,
)
from tidemill.kernel.protocol.state import Phase, State

if TYPE_CHECKING:
    from tests.model.explore import Move

_SWEEPS = (Fault.SWEEP, Fault.RESCUE)


class Properties:
    """Checks worlds and moves of one scenario; each answer is a sentence, or None where all is well."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._parents = [scenario.parent_of(run) for run in range(len(scenario.runs))]
        self._verdicts: dict[Log, str | None] = {}

    def of_move(self, before: World, move: Move, *, new: bool = True) -> str | None:
        """Check one thing that happened, and the world behind it unless that was known and so is checked."""
        after = move.world
        verdict = None
        for run, log in enumerate(after.logs if after.logs is not before.logs else ()):
            if log is not before.logs[run]:
                verdict = verdict or self._of_journal(run, log) or self._of_crashes(after, run)
                verdict = verdict or self._of_closing(before, after, run)
                verdict = verdict or problem_of_fork(self.scenario, before, after)
        if move.actor is not None and move.what in ("step", "FAULT"):
            verdict = verdict or self._of_step(before, move, move.actor)
        elif move.actor is not None and move.actor.stream == "signals":
            verdict = verdict or self._of_signal(after, move.actor, "is lost with its mailman")
        return verdict or (self._of_world(after) if new else None)

    def at_rest(self, world: World) -> str | None:
        """Check a world in which nothing can happen any more."""
        if world.logs[0].tail == 0:
            return None if self.scenario.cause == "once" else "at rest, but the run was never created"
        for run, log in enumerate(world.logs):
            if log.state.phase in LIVING and not (self.scenario.waits and not log.needy):
                return f"at rest, but run {run} stands still, {log.state.phase}"
        left = [message.stream for message in world.messages if message.stream != "ends"]
        if left or world.actors:
            return f"at rest, but something is left: {left} {world.actors}"
        if self.scenario.hooks and world.logs[-1].tail == 0:
            return "at rest, but the hooks of the run have never heard of its end"
        if self.scenario.forked and not self.scenario.closing and world.logs[self.scenario.fork].tail == 0:
            return "at rest, but the run was never forked"
        verdicts = (self._of_end(world, run) for run in range(len(world.logs)))
        return next((verdict for verdict in verdicts if verdict), None)

    def may_expire(self, world: World, run: int) -> bool:
        """Say whether a tombstone's time is over: nobody has been at work for as long as it lives.

        A caller doesn't repeat its request after so long; that an event isn't, is up to the closer.
        """
        if world.logs[run].state.phase is not Phase.CLOSED:
            return False
        called = self.scenario.cause != "event" and world.stored("events")
        return not (world.actors or world.limbo or called)

    def _of_end(self, world: World, run: int) -> str | None:
        state = world.logs[run].state
        letters = tuple(seq for number, seq in world.letters if number == run)
        if state.phase is Phase.ENDED:
            parent = self._parents[run]
            kept = bool(letters) or (parent is not None and world.logs[parent].open)
            return self._of_ended(state, letters, kept=kept)
        ghosts = letters and not self.scenario.allows(Fault.RESTART)
        return "a closed run has left a dead letter behind" if ghosts else None

    def _of_ended(self, state: State, letters: tuple[int, ...], *, kept: bool) -> str | None:
        assert state.end is not None
        buried = state.end.outcome in BURIED
        if buried and state.end_seq not in letters:
            return f"the run {state.end.outcome} and no dead letter says so"
        ghosts = [seq for seq in letters if seq != state.end_seq or not buried]
        if ghosts and not self.scenario.allows(Fault.RESTART):
            return f"a dead letter of end {ghosts} stands although the run went on"
        if self.scenario.closing and not kept:
            return "the journal of an ended run is never closed"
        return None

    def _of_journal(self, run: int, log: Log) -> str | None:
        """Check the newest record; the verdict on a journal never changes."""
        if log not in self._verdicts:
            assert log.parent is not None
            appended = log.entries[-1].record if log.tail > log.parent.tail else None
            self._verdicts[log] = (
                problem(log.parent, appended, child=self._parents[run] is not None) if appended else None
            )
        return self._verdicts[log]

    def _of_closing(self, before: World, after: World, run: int) -> str | None:
        """A child's journal outlives its parent's, unless the child never lived."""
        lived = before.logs[run].open and before.logs[run].state.created is not None
        closed = lived and after.logs[run].state.phase is Phase.CLOSED
        parent = self._parents[run]
        kept = parent is not None and after.logs[parent].open
        return "a child is closed before its parent" if closed and kept else None

    def _of_crashes(self, world: World, run: int) -> str | None:
        """A5: claims without progress stand for owners that died, or that were taken for dead."""
        state = world.logs[run].state
        claims = state.claims
        if claims in (0, 1):
            return None
        spent = self._spent(world)
        deaths = spent[Fault.CRASH] + spent[Fault.EXPIRY] + spent[Fault.GHOST] + spent[Fault.RECREATION]
        # A worker that was shut down and freezes between releasing the run and giving its ticket back can
        # take the ticket from the next owner: who looks dead then. The claim that it costs is accepted.
        deaths += spent[Fault.LOSS] + min(
            spent[Fault.SHUTDOWN], spent[Fault.EXPIRY] + spent[Fault.RECREATION]
        )
        if claims < 0 or (state.phase is Phase.OWNED and claims - 1 > deaths):
            return f"{claims} claims without progress, but only {deaths} owners can have died"
        return None

    def _spent(self, world: World) -> list[int]:
        return [had - has for had, has in zip(self.scenario.budget, world.budget, strict=True)]

    def _of_step(self, before: World, move: Move, actor: Actor) -> str | None:
        operation = actor.step.operation
        if isinstance(operation, USER_CODE):
            return self._of_execution(before, actor) or _of_function(before, actor, operation)
        if isinstance(operation, SendTicket):
            return self._of_waking(before, move, actor.step.operation)
        if actor.stream == "tickets" and isinstance(operation, Ack):
            return _of_farewell(before, actor)
        if actor.stream == "signals" and isinstance(operation, Ack):
            return self._of_signal(
                move.world, actor, "is acknowledged, and the living run doesn't know of it"
            )
        returned = actor.step.after(move.result).operation is None
        if returned and actor.stream in ("signals", "events") and move.world.message_of(actor):
            return f"an actor has returned without acknowledging its message ({actor.stream})"
        return None

    def _of_signal(self, world: World, actor: Actor, how: str) -> str | None:
        """A1 for signals: news stay until the living run knows of them."""
        if actor.kind == "retry":
            return None
        log = world.logs[actor.run]
        gone = [one.kind for one in actor.others if not world.message_of(actor._replace(q=one.q))]
        gone += [] if world.message_of(actor) else [actor.kind]
        if all(log.ever(kind.id if isinstance(kind, Item) else signal_id(actor)) for kind in gone):
            return None
        ended = any(isinstance(entry.record, End) for entry in log.entries)
        what = "a cancellation" if actor.kind in ("cancel", "orphan") else "news"
        return f"{what} {how}" if log.state.phase in LIVING and not ended else None

    def _of_waking(self, before: World, move: Move, send: Any) -> str | None:
        """A suspended run is woken by one ticket, however many have news for it."""
        if move.world.stored_so_far == before.stored_so_far or send.kind != "signal":
            return None
        run = self.scenario.runs.index(send.run)
        if any(self.scenario.allows(fault) for fault in (Fault.DUPLICATE, Fault.RESTART, *_SWEEPS)):
            return None
        twice = any(one.seq == send.seq and one.kind == "signal" for one in before.stored("tickets", run))
        return f"run {run} is woken twice from record {send.seq}" if twice else None

    def _of_execution(self, world: World, actor: Actor) -> str | None:
        log = world.logs[actor.run]
        state = log.state
        owns = state.phase is Phase.OWNED and state.owner is not None and state.owner.rid == actor.step.claim
        if not log.ever(actor.step.claim):
            return "user code runs, and no claim in the journal says so"
        if self.scenario.expired and not state.end_seq:
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
        if self.scenario.allows(Fault.RESCUE) or world.limbo:
            return None
        for run, log in enumerate(world.logs):
            if log.needy and not _carried(world, run, self._parents[run] or 0):
                return f"nothing carries the run any more, and it is {log.state.phase}"
        return None


def _carried(world: World, run: int, creator: int) -> bool:
    # A run that was only just created is its creator's, whose message comes again and creates it again.
    new = run > 0 and world.logs[run].state.starts == 0
    for message in world.messages:
        if message.stream != "ends" and (message.run == run or (new and message.run == creator)):
            return True
    # A mailman counts: its signal may be gone when a slow colleague has refused it before this one
    # could accept it. Should it die too, the sweeper finds the run.
    mailman = any(actor.stream == "signals" and actor.run == run for actor in world.actors)
    return mailman or any(timer.run == run for timer in world.timers)


def _of_function(world: World, actor: Actor, operation: Execute | Perform) -> str | None:
    """A6: what is finished is never executed again by the run's owner."""
    state = world.logs[actor.run].state
    if not isinstance(operation, Perform) or state.owner is None or state.owner.rid != actor.step.claim:
        return None
    return f"the owner executes {operation.key} again" if operation.key in state.steps else None


def _of_farewell(world: World, actor: Actor) -> str | None:
    """A2: nobody acknowledges a ticket by which somebody else owns the run."""
    state = world.logs[actor.run].state
    owner = state.owner
    delivery = f"q{actor.q}g{actor.generation}n{actor.delivered}"
    if state.phase is Phase.OWNED and owner and owner.q == actor.q and owner.rid != delivery:
        return f"delivery {delivery} settles the ticket by which {owner.rid} owns the run"
    return None
