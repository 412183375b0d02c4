"""Everything that can happen next, and the search through all of it."""

from __future__ import annotations

import gc
import random
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.model.actors import Cast
from tests.model.broker import Broker
from tests.model.journal import Log
from tests.model.properties import Properties
from tests.model.scenarios import Scenario
from tests.model.world import Actor, Fault, Message, World
from tidemill.kernel.protocol.operations import (
    Ack,
    Append,
    Bury,
    CancelRuns,
    CancelTimer,
    Close,
    Exhume,
    GiveBack,
    Schedule,
    SendTicket,
    Tell,
)
from tidemill.kernel.protocol.records import Item

RARELY = 0.15
WRITES = (Append, SendTicket, Schedule, CancelTimer, Bury, Exhume, Tell, CancelRuns, Ack, GiveBack, Close)


class Move(NamedTuple):
    """One thing that happens: what, to whom, with which result; and the world behind it."""

    what: str
    world: World
    actor: Actor | None = None
    result: Any = None


@dataclass
class Findings:
    """What an exploration came to; `trace` leads to the first violation."""

    scenario: Scenario
    states: int = 0
    rests: int = 0
    complete: bool = False
    violation: str | None = None
    trace: list[Move] = field(default_factory=list)


class Model:
    """A scenario with its actors, its broker and its properties."""

    def __init__(self, scenario: Scenario, broker: type[Broker] = Broker) -> None:
        self.scenario = scenario
        self.broker = broker(scenario)
        self.cast = Cast(scenario)
        self.properties = Properties(scenario)

    def start(self) -> World:
        """Return the world in which nothing has happened yet."""
        runs = len(self.scenario.runs)
        logs, counts = tuple(Log() for _ in range(runs)), ((0, 0),) * runs
        world = World(logs, (), (), (), frozenset(), (), (), self.scenario.budget, counts)
        if self.scenario.cause == "begun":
            world = world.with_log(0, logs[0].append(self.cast.created()))
            world = world._replace(ids=frozenset({("ticket", 0, 1)}))
            world = world.store("tickets", 0, seq=1, kind="start", fast=True)
        else:
            kind = "once" if self.scenario.cause == "once" else ""
            world = world.with_message(None, Message("events", 0, 1, kind=kind))
        for signal in self.scenario.signals:
            world = world.store("signals", 0, kind=signal)
        for number, at in enumerate(self.scenario.forked, 1):
            world = world.with_message(None, Message("forks", 0, number, kind=at or ""))
        for signal in self.scenario.told:
            world = world.store("signals", self.scenario.fork, kind=signal)
        return world

    def moves(self, world: World) -> Iterator[Move]:
        """Yield all that can happen next."""
        troubled = any(world.budget)
        yield from self._deliveries(world)
        for actor in world.actors:
            for after, result in self.broker.perform(world, actor):
                yield Move("step", self._advance(after, actor, result), actor, result)
            if troubled:
                yield from self._accidents(world, actor)
        for actor in world.limbo:
            yield from self._arrivals(world, actor)
        for timer in world.timers:
            yield Move("timer fires", self.broker.fire(world, timer))
        if troubled:
            yield from self._troubles(world)
        if not (world.actors or world.limbo):
            yield from self._expiries(world)
        if world.budget[Fault.SWEEP] and not any(actor.stream == "sweeps" for actor in world.actors):
            yield from self._sweeps(world, Fault.SWEEP)

    def _deliveries(self, world: World) -> Iterator[Move]:
        for message in world.messages:
            if self.broker.deliverable(world, message):
                after, delivered = self.broker.deliver(world, message)
                actor = self.cast.begin(delivered, after)
                idle = actor.step.operation is None
                begun = self.broker.release(after, actor) if idle else after.with_actor(None, actor)
                yield Move("delivered", begun, actor, delivered)
        news = [one for one in world.messages if one.stream == "signals" and isinstance(one.kind, Item)]
        for run in range(len(world.logs) if len(news) > 1 else 0):
            batch = [one for one in news if one.run == run]
            if len(batch) > 1 and all(self.broker.deliverable(world, one) for one in batch):
                yield self._batch(world, batch)

    def _batch(self, world: World, batch: list[Message]) -> Move:
        leased: list[Message] = []
        for message in batch:
            world, delivered = self.broker.deliver(world, message)
            leased.append(delivered)
        actor = self.cast.bring(tuple(leased))
        return Move("delivered together", world.with_actor(None, actor), actor)

    def _advance(self, world: World, actor: Actor, result: Any) -> World:
        step = actor.step.after(result)
        if step.operation is not None:
            return world.with_actor(actor, actor.at(step))
        return self.broker.release(world.with_actor(actor, None), actor.at(step))

    def _accidents(self, world: World, actor: Actor) -> Iterator[Move]:
        for after, result in self.broker.mistreat(world, actor):
            yield Move("FAULT", self._advance(after, actor, result), actor, result)
        if world.budget[Fault.CRASH]:
            yield Move("CRASH", self._die(world.spend(Fault.CRASH), actor), actor)
        if world.budget[Fault.CRASH] and isinstance(actor.step.operation, Close):
            yield from self._half_closings(world, actor, actor.step.operation)
        if world.budget[Fault.GHOST] and isinstance(actor.step.operation, WRITES):
            dead = self._die(world.spend(Fault.GHOST), actor)
            yield Move("GIVEN UP", dead._replace(limbo=(*world.limbo, actor)), actor)
        if world.budget[Fault.EXPIRY] and world.leases(actor):
            message = world.message_of(actor)
            assert message is not None
            expired = world.spend(Fault.EXPIRY).with_message(message, message._replace(out=False))
            yield Move("LEASE EXPIRES", expired, actor)

    def _half_closings(self, world: World, actor: Actor, close: Close) -> Iterator[Move]:
        if self.broker.closes(world, close):
            dead = self._die(world.spend(Fault.CRASH), actor)
            for log in self.broker.half_closed(world.logs[actor.run]):
                yield Move("CRASH HALF-WAY", dead.with_log(actor.run, log), actor)

    def _die(self, world: World, actor: Actor) -> World:
        return self.broker.release(world.with_actor(actor, None), actor)

    def _arrivals(self, world: World, actor: Actor) -> Iterator[Move]:
        limbo = tuple(other for other in world.limbo if other is not actor)
        for after, result in self.broker.perform(world._replace(limbo=limbo), actor):
            yield Move("late arrival", after, actor, result)

    def _troubles(self, world: World) -> Iterator[Move]:
        budget, tickets = world.budget, world.stored("tickets")
        if budget[Fault.DUPLICATE]:
            for timer in world.timers:
                once = self.broker.fire(world.spend(Fault.DUPLICATE), timer)
                yield Move("TIMER FIRES TWICE", self.broker.fire(once, timer))
        if budget[Fault.RESTART]:
            known: set[tuple[str, int, Any]] = {("ticket", ticket.run, ticket.seq) for ticket in tickets}
            known |= {("letter", run, seq) for run, seq in world.letters}
            yield Move("BROKER RESTARTS", world.spend(Fault.RESTART)._replace(ids=world.ids & known))
        if budget[Fault.RECREATION] and tickets:
            yield Move("CONSUMER RECREATED", self._recreate(world.spend(Fault.RECREATION)))
        if budget[Fault.LOSS]:
            for ticket in tickets:
                yield Move("TICKET LOST", world.spend(Fault.LOSS).with_message(ticket, None))

    def _expiries(self, world: World) -> Iterator[Move]:
        for run, log in enumerate(world.logs):
            if self.properties.may_expire(world, run):
                yield Move("tombstone expires", world.with_log(run, log.expire()))

    def _recreate(self, world: World) -> World:
        for ticket in world.stored("tickets"):
            fresh = ticket._replace(out=False, delivered=0, generation=ticket.generation + 1)
            world = world.with_message(ticket, fresh)
        return world

    def _sweeps(self, world: World, occasion: Fault) -> Iterator[Move]:
        swept = world.spend(occasion)
        for run, log in enumerate(world.logs):
            if log.tail and (occasion is Fault.SWEEP or log.needy):
                actor = self.cast.sweep(run, sum(swept.budget[Fault.SWEEP :]))
                yield Move("sweeper looks", swept.with_actor(None, actor), actor)

    def successors(self, world: World) -> list[Move]:
        """Return all that can happen next; a sweeper comes to the rescue where that is nothing."""
        moves = list(self.moves(world))
        if not moves and world.budget[Fault.RESCUE]:
            moves.extend(self._sweeps(world, Fault.RESCUE))
        return moves


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep Python from looking for cycles: worlds make none, and the search took a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_without_collector()
def explore(model: Model, *, limit: int = 2_000_000) -> Findings:
    """Visit every world that can be reached, breadth first, until one breaks a property."""
    findings = Findings(model.scenario)
    first = model.start()
    came_from: dict[World, World | None] = {first: None}
    queue = deque([first])
    while queue and findings.violation is None and len(came_from) < limit:
        world = queue.popleft()
        moves = model.successors(world)
        findings.rests += not moves
        findings.violation = None if moves else model.properties.at_rest(world)
        for move in moves:
            known = len(came_from)
            came_from.setdefault(move.world, world)
            new = len(came_from) > known
            if new:
                queue.append(move.world)
            findings.violation = findings.violation or model.properties.of_move(world, move, new=new)
            if findings.violation:
                findings.trace = [*_path(model, came_from, world), move]
                break
        else:
            if findings.violation:
                findings.trace = _path(model, came_from, world)
    findings.states = len(came_from)
    findings.complete = not queue
    return findings


def _path(model: Model, came_from: dict[World, World | None], world: World) -> list[Move]:
    """Return the moves that led to a world: they are found again, not kept."""
    moves: list[Move] = []
    while (before := came_from[world]) is not None:
        moves.append(next(move for move in model.successors(before) if move.world == world))
        world = before
    return moves[::-1]


def walk(model: Model, chance: random.Random, *, length: int = 400) -> Findings:
    """Follow one random path, on which faults are rare, until it rests or breaks a property."""
    findings = Findings(model.scenario)
    world = model.start()
    for _ in range(length):
        moves = model.successors(world)
        findings.states += 1
        if not moves:
            findings.rests, findings.complete = 1, True
            findings.violation = model.properties.at_rest(world)
            return findings
        move = chance.choices(moves, [RARELY if move.what.isupper() else 1.0 for move in moves])[0]
        findings.trace.append(move)
        findings.violation = model.properties.of_move(world, move)
        if findings.violation:
            return findings
        world = move.world
    return findings
