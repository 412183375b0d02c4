"""Who works on what: the production procedure behind each stream, started for one delivery of a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.model.journal import NOW, Log
from tests.model.parts import CHILD_TASK, child_record, children_of
from tests.model.scenarios import FORK, HOOKS, RUN, TASK, Scenario
from tests.model.scripts import execute
from tests.model.steps import Step
from tests.model.world import Actor, Message, World
from tidemill.kernel.protocol import attempt, closer, creation, forking, mailman, routing, sweeper
from tidemill.kernel.protocol.operations import Ack, Procedure
from tidemill.kernel.protocol.records import Created, Entry, Item
from tidemill.kernel.protocol.tickets import Ticket

EVENT_SEQ = 7
ARRIVAL = routing.Arrival({"id": "1", "source": "s", "type": "s.t"}, "event", EVENT_SEQ)


class Cast:
    """Starts actors; equal starts share one tree of steps."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._starts: dict[Any, Step] = {}
        self._children = [
            (key, index) for key, count in children_of(scenario.script) for index in range(count)
        ]

    def bring(self, batch: tuple[Message, ...]) -> Actor:
        """Return the mailman that brings several pieces of news, just delivered, for one run at once."""
        run, items = self.scenario.runs[batch[0].run], tuple(message.kind for message in batch)
        step = self._start(batch, lambda: mailman.bring(run, items))
        first = batch[0]
        return Actor("signals", first.run, first.q, 0, first.delivered, step, first.kind, batch[1:])

    def begin(self, message: Message, world: World) -> Actor:
        """Return the actor that works on a message as it was just delivered."""
        if message.stream == "ends":
            mark, routed = self._mark(message, world), 0 if world.stored("events") else EVENT_SEQ
            step = self._start(
                (mark, routed),
                lambda: closer.close(mark, closer.Keeping(journal=0), routed=routed, now=NOW),
            )
        else:
            known = _known(message, world)
            step = self._start((message, known), lambda: self._procedure(message, known))
        delivery = (message.stream, message.run, message.q, message.generation, message.delivered)
        return Actor(*delivery, step, message.kind)

    def sweep(self, run: int, number: int) -> Actor:
        """Return a sweeper that looks at a run."""
        name, rid = self.scenario.runs[run], f"sweep-{number}"
        step = self._start((name, rid), lambda: sweeper.sweep(name, patience=0.0, now=NOW, rid=rid))
        return Actor("sweeps", run, number, 0, 0, step)

    def _start(self, key: Any, make: Callable[[], Procedure[Any]]) -> Step:
        if key not in self._starts:
            self._starts[key] = Step(make, ())
        return self._starts[key]

    def _procedure(self, message: Message, known: Log | None) -> Procedure[Any]:
        run = self.scenario.runs[message.run]
        match message.stream:
            case "tickets":
                first = self.scenario.parent_of(message.run) is None
                parts = self.scenario.script if first else self.scenario.child
                work = attempt.work(self._ticket(message, known), self.scenario.policy, "worker")
                return execute(work, parts, terse=self.scenario.terse)
            case "signals" if isinstance(message.kind, Item):
                return mailman.bring(run, (message.kind,))
            case "signals":
                orphan = message.kind == "orphan"
                kind, parent = ("cancel", RUN) if orphan else (message.kind, "")
                return mailman.deliver(mailman.Signal(signal_id(message), run, kind, parent=parent))
            case "forks":
                return fork(message.kind or None)
            case _ if self.scenario.cause == "event":
                return routing.route(ARRIVAL, [routing.Wanted(TASK)])
            case _:
                return _call(self.created())

    def _ticket(self, message: Message, known: Log | None) -> Ticket:
        delivery = f"q{message.q}g{message.generation}n{message.delivered}"
        run = self.scenario.runs[message.run]
        created = None
        parent = self.scenario.parent_of(message.run)
        if message.fast and run in (HOOKS, FORK):
            # What it says is known when the run has ended, or is forked: the worker reads it.
            created = None
        elif message.fast and parent is not None:
            key, index = self._children[message.run - parent - 1]
            created = child_record(self.scenario.runs[parent], key, index)
        elif message.fast:
            created = self.created()
        task = TASK if parent is None else CHILD_TASK
        return Ticket(
            run,
            task,
            message.seq,
            message.q,
            message.delivered,
            delivery,
            message.kind,
            created=created,
            known=_brought(known),
            at=NOW,
        )

    def _mark(self, message: Message, world: World) -> closer.Mark:
        """Return what the closer reads of an end record, which may have been reopened since."""
        log = world.logs[message.run]
        while log.tail != message.seq:
            assert log.parent is not None
            log = log.parent
        end = log.state.end
        assert end is not None
        return closer.Mark(
            self.scenario.runs[message.run],
            end.task,
            message.seq,
            NOW,
            end.event_seq,
            keyed=end.keyed,
            lasting=end.lasting,
            parent=end.parent,
        )

    def created(self) -> Created:
        """Return the record that begins the first run."""
        if self.scenario.cause == "event":
            return routing.start_record(ARRIVAL, TASK)
        start_at = NOW + 1 if self.scenario.delayed else None
        expires_at = NOW - 1 if self.scenario.expired else None
        return Created(
            rid="call", task=TASK, start_at=start_at, expires_at=expires_at, hooks=self.scenario.hooks
        )


def _call(created: Created) -> Procedure[None]:
    """What a caller does: create the run, then take its request for answered."""
    yield from creation.create(RUN, created)
    yield Ack()


def fork(at: forking.At) -> Procedure[None]:
    """What a request does: see what is taken over, create the fork, then take the request for answered."""
    found = yield from forking.survey(RUN, at)
    if not isinstance(found, forking.Refusal):
        yield from creation.create(FORK, forking.fork_record(RUN, found, rid="fork"))
    yield Ack()


def signal_id(signal: Message | Actor) -> str:
    """Return the id that a signal's record carries."""
    return f"signal-{signal.q}"


def _known(message: Message, world: World) -> Log | None:
    """Return the journal that a ticket brings along, as it was when the ticket was written."""
    if not message.known:
        return None
    log = world.logs[message.run]
    return next(past for past in (log, *log.past) if past.tail == message.known and past.open)


def _brought(known: Log | None) -> tuple[Entry, ...]:
    """Return a journal as a ticket brings it: of what its sender appended it doesn't know the time."""
    return tuple(
        entry if isinstance(entry.record, Created) else Entry(entry.seq, entry.record)
        for entry in (known.entries if known is not None else ())
    )
