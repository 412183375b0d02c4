"""One state of everything: streams, actors in the middle of their procedures, faults that may still happen.

Worlds are values: equal ones are explored once.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final, Literal, NamedTuple, TypeVar

from tests.model.journal import Log
from tests.model.steps import Step

Stream = Literal["tickets", "signals", "events", "ends", "sweeps", "forks"]
"""Where an actor's work comes from. `ends` is the closer's queue, `forks` are requests, which are
repeated until they are through; a sweep has no message at all."""


class Fault(IntEnum):
    """What can go wrong; each is an index into a world's budget."""

    CRASH = 0
    """An actor dies between two operations."""
    EXPIRY = 1
    """A lease runs out while its actor lives on, slowly: its message is delivered again."""
    STALE = 2
    """A read is answered by a replica that lags behind."""
    DUPLICATE = 3
    """A ticket is stored twice."""
    UNANSWERED = 4
    """An append is stored but its answer is lost, so that its repetition is refused."""
    GHOST = 5
    """An operation is given up but takes effect at any later moment (it lay in a buffer)."""
    RESTART = 6
    """The broker forgets the Msg-Ids of all messages that aren't stored any more."""
    RECREATION = 7
    """The tickets' consumer is created anew: everything is delivered again, counted from 1."""
    LOSS = 8
    """A ticket that was stored is gone."""
    SHUTDOWN = 9
    """User code is interrupted because its worker is asked to stop."""
    SWEEP = 10
    """The sweeper looks at the run, at any moment."""
    RESCUE = 11
    """The sweeper looks at the run when nothing else can happen any more."""


class Message(NamedTuple):
    """A stored message and what its consumer knows of it.

    `q` is its number among its stream's messages for `run`, `seq` the journal record it speaks of, `kind`
    what it is, `fast` whether a ticket carries its created record, `known` the tail of the journal that one
    brings along; `delivered` counts its deliveries since
    the consumer was created for the `generation`-th time, `out` whether its newest delivery is leased.
    """

    stream: Stream
    run: int
    q: int
    seq: int = 0
    kind: Any = ""
    fast: bool = False
    known: int = 0
    delivered: int = 0
    generation: int = 0
    out: bool = False


class Actor(NamedTuple):
    """A procedure in progress and the delivery of a message that it works on; `kind` is the message's.

    `others` are further messages of the same run that a mailman brings along.
    """

    stream: Stream
    run: int
    q: int
    generation: int
    delivered: int
    step: Step
    kind: Any = ""
    others: tuple[Message, ...] = ()

    def at(self, step: Step) -> Actor:
        """Return the actor at another place of its procedure."""
        return tuple.__new__(Actor, (*self[:5], step, *self[6:]))


class Timer(NamedTuple):
    """A pending schedule: the ticket that it will publish."""

    run: int
    seq: int
    fast: bool
    known: int = 0


class World(NamedTuple):
    """One state of everything.

    Runs are numbered, the first one is everybody's ancestor: `logs` are their journals. `letters` are runs
    and the ends that their dead letters speak of, `ids` the known Msg-Ids, `stored_so_far` counts for each
    run the tickets and the signals that were ever stored.
    """

    logs: tuple[Log, ...]
    messages: tuple[Message, ...]
    timers: tuple[Timer, ...]
    letters: tuple[tuple[int, int], ...]
    ids: frozenset[tuple[str, int, Any]]
    actors: tuple[Actor, ...]
    limbo: tuple[Actor, ...]
    budget: tuple[int, ...]
    stored_so_far: tuple[tuple[int, int], ...]

    def stored(self, stream: Stream, run: int | None = None) -> list[Message]:
        """Return the messages of one stream, those for one run where it is named."""
        if run is None:
            return [message for message in self.messages if message.stream == stream]
        return [message for message in self.messages if message.run == run and message.stream == stream]

    def with_log(self, run: int, log: Log) -> World:
        """Return the world with another journal of one run."""
        return self._with("logs", (*self.logs[:run], log, *self.logs[run + 1 :]))

    def store(self, stream: Stream, run: int, **facts: Any) -> World:
        """Return the world with one more ticket or signal."""
        tickets, signals = self.stored_so_far[run]
        tickets, signals = (tickets + 1, signals) if stream == "tickets" else (tickets, signals + 1)
        counts = (*self.stored_so_far[:run], (tickets, signals), *self.stored_so_far[run + 1 :])
        message = Message(stream, run, tickets if stream == "tickets" else signals, **facts)
        return self.with_message(None, message)._with("stored_so_far", counts)

    def message_of(self, actor: Actor) -> Message | None:
        """Return the message that an actor works on, if it is still stored."""
        stream, run, q = actor[:3]
        for message in self.messages:
            if message.q == q and message.run == run and message.stream == stream:
                return message
        return None

    def leases(self, actor: Actor) -> bool:
        """Say whether the actor works on its message's newest delivery; else its lease has run out."""
        message = self.message_of(actor)
        if message is None or not message.out:
            return False
        return message.delivered == actor.delivered and message.generation == actor.generation

    def with_message(self, old: Message | None, new: Message | None) -> World:
        """Return the world with one message replaced, added (no old one) or removed (no new one)."""
        return self._with("messages", _exchanged(self.messages, old, new))

    def without(self, actor: Actor) -> World:
        """Return the world without all messages that an actor works on."""
        world = self.with_message(self.message_of(actor), None)
        for other in actor.others:
            world = world.with_message(world.message_of(actor._replace(q=other.q)), None)
        return world

    def with_actor(self, old: Actor | None, new: Actor | None) -> World:
        """Return the world with one actor replaced, added or removed."""
        return self._with("actors", _exchanged(self.actors, old, new))

    def with_timer(self, run: int, seq: int, new: Timer | None) -> World:
        """Return the world with the timer of one record set or removed (no new one)."""
        old = next((timer for timer in self.timers if timer.run == run and timer.seq == seq), None)
        return self._with("timers", _exchanged(self.timers, old, new))

    def spend(self, fault: Fault) -> World:
        """Return the world with one fault less to come."""
        budget = self.budget
        return self._with("budget", (*budget[:fault], budget[fault] - 1, *budget[fault + 1 :]))

    def _with(self, name: str, value: Any) -> World:
        """Return the world with one part replaced, as `_replace` does in several times as long."""
        parts = list(self)
        parts[_PLACES[name]] = value
        return tuple.__new__(World, parts)


_PLACES: Final = {name: place for place, name in enumerate(World._fields)}
_T = TypeVar("_T", Message, Actor, Timer)


def _exchanged(values: tuple[_T, ...], old: _T | None, new: _T | None) -> tuple[_T, ...]:
    """Return sorted values with one replaced, added or removed."""
    kept = [value for value in values if value is not old]
    if new is not None:
        kept.append(new)
        kept.sort()
    return tuple(kept)
