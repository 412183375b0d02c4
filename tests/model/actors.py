"""Who works on what: the production procedure behind each stream, started for one delivery of a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.model.journal import NOW
from tests.model.scenarios import RUN, TASK, Scenario
from tests.model.steps import Step
from tests.model.world import Actor, Message, World
from tidemill.kernel.protocol import attempt, closer, creation, mailman, routing, sweeper
from tidemill.kernel.protocol.operations import Ack, Procedure
from tidemill.kernel.protocol.records import Created
from tidemill.kernel.protocol.tickets import Ticket

EVENT_SEQ = 7


class Cast:
    """Starts actors; equal starts share one tree of steps."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._starts: dict[Any, Step] = {}

    def begin(self, message: Message, world: World) -> Actor:
        """Return the actor that works on a message as it was just delivered."""
        if message.stream == "ends":
            mark, routed = _mark(message, world), 0 if world.stored("events") else EVENT_SEQ
            step = self._start(
                (mark, routed),
                lambda: closer.close(mark, closer.Keeping(journal=0), routed=routed, now=NOW),
            )
        else:
            step = self._start(message, lambda: self._procedure(message))
        return Actor(message.stream, message.q, message.generation, message.delivered, step)

    def sweep(self, number: int) -> Actor:
        """Return a sweeper that looks at the run."""
        key = ("sweep", number)
        step = self._start(key, lambda: sweeper.sweep(RUN, patience=0.0, now=NOW, rid=f"sweep-{number}"))
        return Actor("sweeps", number, 0, 0, step)

    def _start(self, key: Any, make: Callable[[], Procedure[Any]]) -> Step:
        if key not in self._starts:
            self._starts[key] = Step(make, ())
        return self._starts[key]

    def _procedure(self, message: Message) -> Procedure[Any]:
        match message.stream:
            case "tickets":
                return attempt.work(self._ticket(message), self.scenario.policy, "worker")
            case "signals":
                return mailman.deliver(mailman.Signal(signal_id(message), RUN, message.kind))
            case _ if self.scenario.cause == "event":
                arrival = routing.Arrival({"id": "1", "source": "s", "type": "s.t"}, "event", EVENT_SEQ)
                return routing.route(arrival, [routing.Wanted(TASK)])
            case _:
                return _call(self._called())

    def _ticket(self, message: Message) -> Ticket:
        delivery = f"q{message.q}g{message.generation}n{message.delivered}"
        created = None
        if message.fast:
            created = self._called() if self.scenario.cause != "event" else self._routed()
        return Ticket(
            RUN, TASK, message.seq, message.q, message.delivered, delivery, message.kind, created=created
        )

    def _called(self) -> Created:
        start_at = NOW + 1 if self.scenario.delayed else None
        return Created(
            rid="call", task=TASK, start_at=start_at, expires_at=NOW - 1 if self.scenario.expired else None
        )

    def _routed(self) -> Created:
        arrival = routing.Arrival({"id": "1", "source": "s", "type": "s.t"}, "event", EVENT_SEQ)
        return routing.start_record(arrival, TASK)


def _call(created: Created) -> Procedure[None]:
    """What a caller does: create the run, then take its request for answered."""
    yield from creation.create(RUN, created)
    yield Ack()


def signal_id(signal: Message | Actor) -> str:
    """Return the id that a signal's record carries."""
    return f"signal-{signal.q}"


def _mark(message: Message, world: World) -> closer.Mark:
    """Return what the closer reads of an end record, which may have been reopened since."""
    log = world.log
    while log.tail != message.seq:
        assert log.parent is not None
        log = log.parent
    end = log.state.end
    assert end is not None
    return closer.Mark(RUN, TASK, message.seq, NOW, end.event_seq, keyed=end.keyed, lasting=end.lasting)
