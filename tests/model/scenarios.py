"""What is explored: small worlds, each with a few things that may happen in it, in every order."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Final, Literal

from tests.model.parts import Part, children_of, run_of
from tests.model.world import Fault
from tidemill.kernel.protocol.conclusions import Policy
from tidemill.kernel.protocol.records import Item
from tidemill.kernel.subjects import run_of_event

TASK: Final = "task"
RUN: Final = run_of_event("event", TASK)
SignalKind = Literal["cancel", "retry"] | Item
Cause = Literal["event", "caller", "once", "begun"]
HOOKS: Final = "the run of its hooks"
"""Stands for the run that is named after an end of the first one."""
FORK: Final = "the fork"
"""The id of the run that requests fork from the first one."""


@dataclass(frozen=True)
class Scenario:
    """One small world.

    `outcomes` is what user code comes to, attempt by attempt, the last one for ever: ok, fail (may be
    retried), fatal, endless (until it is cancelled). Where there is a `script`, it is what the run executes,
    and `child` what its children do. `signals` are sent at any moment once the run exists.
    `cause` is who starts the run: an event that is delivered until the router acknowledges it, a caller
    that repeats its request until it is through, or one that doesn't (`once`); or it has its first ticket
    already (`begun`). `waits` says that runs may wait for ever for news that nobody sends; in a `terse`
    scenario user code takes no time. `hooks` hear of the run's end in a run of their own. `forked` are points
    at which it is forked, at any moment, by requests for the same new run; `told` is sent to that one.
    `faults` says how often what may go wrong.
    """

    name: str
    outcomes: tuple[str, ...] = ("ok",)
    signals: tuple[SignalKind, ...] = ()
    script: tuple[Part, ...] = ()
    child: tuple[Part, ...] = ()
    cause: Cause = "event"
    workers: int = 1
    closing: bool = False
    delayed: bool = False
    expired: bool = False
    waits: bool = False
    terse: bool = False
    hooks: bool = False
    forked: tuple[str | None, ...] = ()
    told: tuple[SignalKind, ...] = ()
    policy: Policy = field(default_factory=lambda: Policy(jitter=False))
    faults: tuple[tuple[Fault, int], ...] = ()

    @cached_property
    def budget(self) -> tuple[int, ...]:
        """How often each fault may happen."""
        allowed = dict(self.faults)
        return tuple(allowed.get(fault, 0) for fault in Fault)

    @cached_property
    def runs(self) -> tuple[str, ...]:
        """The ids of all runs that there can be, the first one's before its children's."""
        forks = (FORK, *self._children(FORK)) if self.forked else ()
        return (RUN, *self._children(RUN), *(HOOKS,) * self.hooks, *forks)

    def _children(self, run: str) -> list[str]:
        return [run_of(run, key, index) for key, count in children_of(self.script) for index in range(count)]

    @property
    def fork(self) -> int:
        """The number of the fork, one that no run has where there is none."""
        return self.runs.index(FORK) if self.forked else len(self.runs)

    def parent_of(self, run: int) -> int | None:
        """Return the number of a run's parent; None for the first one and its fork."""
        return None if run in (0, self.fork) else self.fork if run > self.fork else 0

    def allows(self, fault: Fault) -> bool:
        """Say whether a fault may happen at all."""
        return self.budget[fault] > 0


ELEMENTS: Final = ("retry", "reopen", "cancel", "crash", "expiry", "stale", "duplicate", "closing")
"""Every pair of these is explored. `retry` is a failed attempt that the policy repeats, `reopen` the signal
that lets a run go on which has failed for good."""
EXTRAS: Final = ("unanswered", "ghost", "restart", "recreation", "shutdown")
"""What the broker and a shutdown do beyond that: each is explored together with each of the elements."""
_FAULTS: Final = {
    "crash": Fault.CRASH,
    "expiry": Fault.EXPIRY,
    "stale": Fault.STALE,
    "duplicate": Fault.DUPLICATE,
    "unanswered": Fault.UNANSWERED,
    "ghost": Fault.GHOST,
    "restart": Fault.RESTART,
    "recreation": Fault.RECREATION,
    "shutdown": Fault.SHUTDOWN,
}
_OUTCOMES: Final[dict[tuple[bool, bool], tuple[str, ...]]] = {
    (False, False): ("ok",),
    (True, False): ("fail", "fail", "ok"),
    (False, True): ("fatal", "ok"),
    (True, True): ("fail", "fatal", "fail", "ok"),
}
_SIGNALS: Final[dict[tuple[bool, bool], tuple[SignalKind, ...]]] = {
    (False, False): (),
    (True, False): ("cancel",),
    (False, True): ("retry",),
    (True, True): ("cancel", "retry"),
}


def combine(*elements: str, workers: int = 1) -> Scenario:
    """Return the scenario in which all of these things can happen."""
    faults = [(_FAULTS[element], 1) for element in elements if element in _FAULTS]
    if "reopen" in elements and len({"crash", "expiry", "ghost"} & set(elements)) > 1:
        # A slow mailman refuses a retry that its colleague then accepts and dies over: the sweeper's case.
        faults.append((Fault.RESCUE, 2))
    return Scenario(
        name=f"{' + '.join(elements)}, {workers} worker{'s' if workers > 1 else ''}",
        outcomes=_OUTCOMES["retry" in elements, "reopen" in elements],
        signals=_SIGNALS["cancel" in elements, "reopen" in elements],
        workers=workers,
        closing="closing" in elements,
        faults=tuple(faults),
    )


def _extra_pairs() -> list[Scenario]:
    pairs = [(element, extra) for element in ELEMENTS for extra in EXTRAS]
    one = [combine(*pair) for pair in (*pairs, *combinations(EXTRAS, 2))]
    # Retries beside deliveries that are counted anew, with two workers, don't end in reasonable time.
    return one + [combine(*pair, workers=2) for pair in pairs if pair != ("retry", "recreation")]


_UNSEEN: Final = ((Fault.SWEEP, 1),)
_PATIENT: Final = ((Fault.SWEEP, 1), (Fault.RESCUE, 3))
PAIRS: Final = [combine(*pair) for pair in combinations(ELEMENTS, 2)]
PAIRS_OF_TWO: Final = [combine(*pair, workers=2) for pair in combinations(ELEMENTS, 2)]
SINGLES_OF_TWO: Final = [combine(element, workers=2) for element in ELEMENTS]
TRIPLES: Final = [combine(*three) for three in combinations(ELEMENTS, 3)]
EXTRA_PAIRS: Final = _extra_pairs()
_DEADLY: Final = (Fault.CRASH, Fault.EXPIRY, Fault.GHOST)
_SLOW_DEATHS: Final = ((Fault.CRASH, 1), (Fault.EXPIRY, 1), (Fault.STALE, 1))
SPECIALS: Final = [
    Scenario("two crashes", outcomes=("fail", "ok"), faults=((Fault.CRASH, 2),)),
    Scenario("owners die too often", policy=Policy(max_crashes=1), faults=((Fault.CRASH, 2),)),
    Scenario("the last owner dies alone", policy=Policy(max_crashes=2), faults=((Fault.CRASH, 2),)),
    Scenario("the last owner dies slowly", workers=2, policy=Policy(max_crashes=2), faults=_SLOW_DEATHS),
    Scenario("cancelled while it runs on and on", ("endless",), ("cancel",), faults=((Fault.CRASH, 1),)),
    Scenario("cancelled twice", ("fail", "ok"), ("cancel", "cancel"), faults=((Fault.CRASH, 1),)),
    Scenario("retried twice", ("fatal", "fatal", "ok"), ("retry", "retry"), faults=((Fault.CRASH, 1),)),
    Scenario("fails again once reopened", ("fatal",), ("retry",), faults=((Fault.EXPIRY, 1),), workers=2),
    Scenario("begins later", cause="caller", delayed=True, signals=("cancel",), faults=((Fault.EXPIRY, 1),)),
    Scenario("begins later, crash", cause="caller", delayed=True, closing=True, faults=((Fault.CRASH, 2),)),
    Scenario("expires", cause="caller", expired=True, faults=((Fault.CRASH, 1), (Fault.EXPIRY, 1))),
    Scenario("expires unseen", cause="caller", expired=True, faults=(*_UNSEEN, (Fault.CRASH, 2))),
    Scenario(
        "expires unseen, slowly",
        cause="caller",
        expired=True,
        workers=2,
        faults=(*_UNSEEN, (Fault.EXPIRY, 1)),
    ),
    Scenario(
        "expires unseen, later",
        cause="caller",
        expired=True,
        delayed=True,
        faults=(*_UNSEEN, (Fault.CRASH, 1)),
    ),
    Scenario(
        "expires unseen, cancel",
        (),
        ("cancel",),
        cause="caller",
        expired=True,
        faults=(*_UNSEEN, (Fault.CRASH, 1)),
    ),
    Scenario(
        "expires unseen, reopen",
        ("ok",),
        ("retry",),
        cause="caller",
        expired=True,
        faults=_UNSEEN,
    ),
    Scenario("expires, its caller dies", cause="once", expired=True, faults=((Fault.CRASH, 2), *_PATIENT)),
    Scenario("a caller dies", cause="once", faults=((Fault.CRASH, 1), *_PATIENT)),
    Scenario("a caller dies, later", cause="once", delayed=True, faults=((Fault.CRASH, 1), *_PATIENT)),
    Scenario("a ticket is lost", ("fail", "ok"), workers=2, faults=((Fault.LOSS, 1), *_PATIENT)),
    Scenario("a ticket is lost, cancel", ("ok",), ("cancel",), faults=((Fault.LOSS, 1), *_PATIENT)),
    Scenario("a ticket is lost, reopen", ("fatal", "ok"), ("retry",), faults=((Fault.LOSS, 1), *_PATIENT)),
    Scenario("a needless sweep", ("fail", "ok"), closing=True, faults=((Fault.SWEEP, 2),)),
    Scenario("a needless sweep, crash", ("fail", "ok"), faults=((Fault.SWEEP, 1), (Fault.CRASH, 1))),
]


def together(chance: random.Random) -> Scenario:
    """Return a random scenario in which nearly everything may happen, several times.

    A ticket is never lost here: lost together with its owner's death between a failure's end and its dead
    letter, it would take the letter along, and nothing brings that back.
    """
    news: tuple[SignalKind, ...] = ("cancel", "retry")
    causes: tuple[Cause, ...] = ("event", "event", "caller", "once")
    signals, cause = chance.choices(news, k=chance.randint(0, 3)), chance.choice(causes)
    happens = [fault for fault in Fault if fault not in (Fault.LOSS, Fault.RESCUE)]
    faults: list[tuple[Fault, int]] = [(fault, chance.choice((0, 0, 1, 2))) for fault in happens]
    deadly = [fault for fault, times in faults if times and fault in _DEADLY]
    if cause == "once" or ("retry" in signals and deadly):
        faults.append((Fault.RESCUE, 4))
    return Scenario(
        name="everything together",
        outcomes=tuple(chance.choices(("ok", "fail", "fatal"), (1, 2, 2), k=5)),
        signals=tuple(signals),
        cause=cause,
        workers=chance.randint(1, 3),
        closing=chance.random() < 0.5,
        delayed=cause != "event" and chance.random() < 0.5,
        policy=Policy(jitter=False, max_crashes=chance.randint(1, 3)),
        faults=tuple(faults),
    )
