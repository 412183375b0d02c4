"""Counterexamples to be read: one line for each thing that happened."""

from __future__ import annotations

from typing import Any

from tests.model.explore import Findings, Move
from tests.model.journal import Log
from tests.model.parts import Perform
from tests.model.world import Actor, World
from tidemill.kernel.protocol.operations import Append, CancelTimer, Execute, Schedule, SendTicket
from tidemill.kernel.protocol.records import Spawned
from tidemill.kernel.protocol.records import Step as Finished

ROLES = {
    "tickets": "worker",
    "signals": "mailman",
    "events": "router",
    "ends": "closer",
    "sweeps": "sweeper",
    "forks": "forker",
}


def report(findings: Findings) -> str:
    """Return what was found, with the way to it."""
    head = f"{findings.scenario.name}: {findings.states} states, {findings.rests} at rest"
    if findings.violation is None:
        return head if findings.complete else f"{head}, NOT exhausted"
    lines = [line(number, move) for number, move in enumerate(findings.trace, 1)]
    return "\n".join([f"{head}: VIOLATION: {findings.violation}", *lines])


def line(number: int, move: Move) -> str:
    """Return one move as text, and the journal behind it."""
    who = name(move.actor) if move.actor else ""
    did = f"{operation(move.actor)} -> {result(move.result)}" if _acted(move) else ""
    what = "" if move.what == "step" else move.what
    return f"{number:4} {who:16} {what:16} {did:60} {brief(move.world)}"


def name(actor: Actor) -> str:
    """Return who an actor is: its role, its message and the number of the delivery."""
    again = f"'{actor.generation}" if actor.generation else ""
    of = f"{actor.run}:" if actor.run else ""
    return f"{ROLES[actor.stream]} {of}{actor.q}.{actor.delivered}{again}"


def operation(actor: Actor | None) -> str:
    """Return what an actor asks for, without what is the same in all operations of a model."""
    asked = actor.step.operation if actor else None
    match asked:
        case Append(record=record, expect=expect):
            key = f" {record.key}" if isinstance(record, Finished | Spawned) else ""
            return f"Append {record.KIND}{key} {record.rid} at {expect}"
        case SendTicket(seq=seq, kind=kind):
            return f"SendTicket {kind} for {seq}"
        case Schedule(seq=seq) | CancelTimer(seq=seq):
            return f"{type(asked).__name__} for {seq}"
        case Execute():
            return "Execute"
        case Perform(key=key):
            return f"Perform {key}"
        case _:
            return type(asked).__name__


def result(value: Any) -> str:
    """Return an operation's result."""
    return f"journal to {value.tail}" if isinstance(value, Log) else str(value)


def brief(world: World) -> str:
    """Return a world in few words."""
    return " ".join(_brief(world, run) for run in range(len(world.logs)))


def _brief(world: World, run: int) -> str:
    log = world.logs[run]
    tickets = " ".join(
        f"q{ticket.q}:{ticket.seq}{'*' if ticket.out else ''}" for ticket in world.stored("tickets", run)
    )
    signals = "".join(
        f" s{one.q}:{getattr(one.kind, 'id', one.kind)}{'*' if one.out else ''}"
        for one in world.stored("signals", run)
    )
    timer = "".join(f" timer:{timer.seq}" for timer in world.timers if timer.run == run)
    letters = "".join(f" dead:{seq}" for number, seq in world.letters if number == run)
    return f"| {log.state.phase} {log.tail} [{tickets}]{signals}{timer}{letters}"


def _acted(move: Move) -> bool:
    return move.actor is not None and move.what in ("step", "FAULT", "late arrival", "GIVEN UP", "CRASH")
