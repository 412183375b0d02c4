"""What is explored of steps, waits, news and children: runs whose user code is a script."""

from __future__ import annotations

import random
from itertools import combinations
from typing import Any, Final

from tests.model.parts import (
    Do,
    Part,
    Race,
    Together,
    Waiter,
    approval,
    item,
    join,
    signal,
    sleep,
)
from tests.model.scenarios import Scenario
from tests.model.world import Fault
from tidemill.kernel.protocol.conclusions import Policy
from tidemill.kernel.protocol.records import Item

NEVER: Final = Waiter("never", "never")
"""What is never decided: only a cancellation ends a run that waits for it."""
FIRST: Final = Race("first", (sleep("nap"), signal("go")))
BOTH: Final = Together(((sleep("nap"), Do("a")), (signal("go"), Do("b"))))
BOOM: Final = Do("boom", fails=1, fatal=True)
GO, YES, NO = item("go"), item("yes", box="ship"), item("no", box="ship", ok=False)
YES_TOO: Final = item("yes", box="ship", number=2)
_QUICK: Final = Policy(jitter=False, max_duration=0.5)


def world(name: str, *parts: Part, **facts: Any) -> Scenario:
    """Return a scenario whose run has its first ticket and executes these parts; faults by their names."""
    faults = tuple((fault, facts.pop(fault.name.lower(), 0)) for fault in Fault)
    return Scenario(name, script=parts, faults=faults, **{"cause": "begun", **facts})


ELEMENTS: Final = ("sleep", "signal", "cancel", "crash")


def combine(*elements: str, workers: int = 1, **facts: Any) -> Scenario:
    """Return the scenario in which a run of two steps meets all of these."""
    known: dict[str, Part] = {"sleep": sleep("nap"), "signal": signal("go")}
    sent: dict[str, Any] = {"signal": GO, "cancel": "cancel"}
    plural = "s" if workers > 1 else ""
    return world(
        f"{' + '.join(elements)}, {workers} worker{plural}{''.join(f', {fact}' for fact in facts)}",
        *(Do("a"), *(part for name, part in known.items() if name in elements), Do("b")),
        signals=tuple(news for name, news in sent.items() if name in elements),
        workers=workers,
        crash=int("crash" in elements),
        **facts,
    )


PAIRS: Final = [combine(*pair) for pair in combinations(ELEMENTS, 2)]
SINGLES: Final = [combine(element, workers=2, expiry=1) for element in ELEMENTS]
TRIPLES: Final = [combine(*three, terse=True) for three in combinations(ELEMENTS, 3)]
WAITS: Final = [
    world("a wait that times out, crash", signal("go", timed=True), Do("b"), signals=(GO,), crash=1),
    world("a race, crash", FIRST, Do("b"), signals=(GO,), crash=1),
    world("a race, cancel", FIRST, Do("b"), signals=(GO, "cancel")),
    world("a race, two workers", FIRST, Do("b"), signals=(GO,), workers=2),
    world("a race, stale, two workers", FIRST, signals=(GO,), workers=2, stale=1, terse=True),
    world("a race, no answer, two workers", FIRST, signals=(GO,), workers=2, unanswered=1, terse=True),
    world("a race, duplicate", FIRST, signals=(GO,), duplicate=1, terse=True),
    world("a race, restart", FIRST, signals=(GO,), restart=1, terse=True),
    world("a race, a needless sweep", FIRST, signals=(GO,), sweep=1, terse=True),
    world("branches, crash", BOTH, signals=(GO,), crash=1, terse=True),
    world("two signals, crash", signal("go"), signal("on"), signals=(GO, item("on")), crash=1),
    world("two of two say yes, crash", approval("ship", 2), Do("b"), signals=(YES, YES_TOO), crash=1),
    world("one says no, crash", approval("ship", 2), Do("b"), signals=(YES, NO), crash=1),
    world("a decision that times out, crash", approval("ship", timed=True), signals=(YES,), crash=1),
    world("a step fails, crash", Do("a"), Do("b", fails=1), Do("c"), crash=1),
    world("a step fails and news come", Do("a", fails=1), signal("go"), signals=(GO,), crash=1),
    world("a worker that hears badly", Do("a"), Do("b"), unanswered=1, expiry=1, workers=2),
    world("a whole time is over, crash", sleep("nap"), policy=_QUICK, crash=1),
    world("a shutdown, crash", Do("a"), signal("go"), Do("b"), signals=(GO,), shutdown=1, crash=1),
    world("news for a run that has failed", BOOM, signal("go"), signals=(GO, "retry"), waits=True),
    world("a ticket is lost, signal", signal("go"), signals=(GO,), loss=1, rescue=3, terse=True),
]
JOINS: Final = [
    world("a join of two", join("all", 2), Do("b"), child=(Do("c"),)),
    world("a join of two, crash", join("all", 2), Do("b"), child=(Do("c"),), crash=1),
    world("a join of two, cancel", join("all", 2), Do("b"), signals=("cancel",), terse=True),
    world("a join of two, expiry", join("all", 2), terse=True, expiry=1),
    world("a join of two, two workers", join("all", 2), Do("b"), workers=2, terse=True),
    world("a join of two that fails fast", join("all", 2, spare=0), child=(Do("c", 9, fatal=True),), crash=1),
    world("one of two, crash", join("any", 2, 1, 1), Do("b"), crash=1, terse=True),
    world("a join of one, expiry, two workers", join("all", 1), Do("b"), workers=2, expiry=1, terse=True),
    world("a join of one, closing, crash", join("all", 1), closing=True, crash=1, terse=True),
    world("a join of one, ghost", join("all", 1), Do("b"), ghost=1, terse=True),
    world("a join, a child's ticket is lost", join("all", 2), loss=1, rescue=3, terse=True),
    world("a race with a child, crash", Race("first", (sleep("nap"), join("all", 1))), crash=1, terse=True),
    world("a child loses, crash", Race("first", (sleep("nap"), join("all", 1))), child=(NEVER,), crash=1),
    world("a child sleeps, crash", join("all", 1), child=(sleep("nap"),), crash=1, terse=True),
]
_HOPELESS: Final[dict[str, Any]] = {"child": (NEVER,), "signals": ("cancel",), "terse": True}
_FAILED: Final[dict[str, Any]] = {"signals": ("retry",), "terse": True}
_UNHEARD: Final = Together(((join("all", 1),), (BOOM,)))
FAMILIES: Final = [
    world("cancelled with its child", join("all", 1), **_HOPELESS),
    world("cancelled with its child, crash", join("all", 1), crash=1, **_HOPELESS),
    world("cancelled before its child is born, ghost", join("all", 1), ghost=1, **_HOPELESS),
    world("cancelled before its child is born, slowly", join("all", 1), expiry=1, **_HOPELESS),
    world("cancelled with two children", join("all", 2), **_HOPELESS),
    world("reopened with a child, crash", _UNHEARD, crash=1, **_FAILED),
    world("reopened with a child, closing", _UNHEARD, closing=True, **_FAILED),
    world("reopened with a child that failed", _UNHEARD, child=(Do("c", 9, fatal=True),), **_FAILED),
]
HOOKED: Final = [
    world("hooks, crash", Do("a"), hooks=True, crash=1, child=(Do("tell"),)),
    world(
        "hooks, cancel, crash", Do("a"), sleep("nap"), signals=("cancel",), hooks=True, crash=1, terse=True
    ),
    world("hooks of a run that fails, crash", Do("a", 9, fatal=True), hooks=True, crash=1),
    world("hooks, two workers, expiry", Do("a"), hooks=True, workers=2, expiry=1, terse=True),
    world("hooks, closing", Do("a"), hooks=True, closing=True),
]
_ANY: Final = (join("any", 2, 1), Do("b"))
FORKED: Final = [
    world("forked, crash", Do("a"), Do("b"), forked=("b",), crash=1),
    world("forked where it stands, crash", Do("a"), Do("b"), forked=(None,), crash=1, terse=True),
    world("forked twice by one request", Do("a"), Do("b"), forked=("b", None), terse=True),
    world("forked, a slow request", Do("a"), Do("b"), forked=("b",), ghost=1, terse=True),
    world("forked, no answer", Do("a"), Do("b"), forked=("b",), unanswered=1, terse=True),
    world("forked, stale", Do("a"), Do("b"), forked=("b",), stale=1, terse=True),
    world("forked, closing", Do("a"), forked=(None,), closing=True, terse=True),
    world("forked behind a sleep", sleep("nap"), Do("b"), forked=("b",), terse=True),
    world("forked at a sleep", sleep("nap"), Do("b"), forked=("nap",), terse=True),
    world(
        "forked behind a signal", signal("go"), Do("b"), forked=("b",), signals=(GO,), told=(GO,), terse=True
    ),
    world(
        "forked at any time",
        approval("ship"),
        Do("b"),
        forked=(None,),
        signals=(YES,),
        told=(YES_TOO,),
        terse=True,
    ),
    world("forked, expiry, two workers", Do("a"), Do("b"), forked=("b",), workers=2, expiry=1, terse=True),
    world("forked behind a race", FIRST, Do("b"), forked=("b",), signals=(GO,), told=(GO,), terse=True),
    world("forked, a step fails", Do("a", fails=1), Do("b"), forked=("b",), terse=True),
    world("forked when it failed", Do("a"), BOOM, forked=(None,), terse=True),
    world("forked behind a child", join("all", 1), Do("b"), forked=("b",), terse=True),
    world("forked behind one of two", *_ANY, forked=("b",), terse=True),
    world("a fork is cancelled", *_ANY, forked=("b",), told=("cancel",), terse=True),
]
LARGE: Final = [
    world("a race, expiry, two workers", FIRST, Do("b"), signals=(GO,), workers=2, expiry=1, terse=True),
    world("a join of two, expiry, two workers", join("all", 2), workers=2, expiry=1, terse=True),
    world("a join of two, closing, crash", join("all", 2), closing=True, crash=1, terse=True),
    world("a join of two, cancel, crash", join("all", 2), signals=("cancel",), crash=1, terse=True),
    world("a join of one, cancel, expiry, two workers", join("all", 1), workers=2, expiry=1, **_HOPELESS),
    world("a join of three, crash", join("all", 3), crash=1, terse=True),
    world("reopened, closing, two workers", _UNHEARD, closing=True, workers=2, **_FAILED),
    world("reopened, closing, crash", _UNHEARD, closing=True, crash=1, **_FAILED),
    world("two children reopened, crash", Together(((join("all", 2),), (BOOM,))), crash=1, **_FAILED),
]
"""What takes too long for CI."""


def together(chance: random.Random) -> Scenario:
    """Return a random scenario of everything at once: waits of all kinds, children, and most faults."""
    parts: list[Part] = [Do("a"), Do("b", fails=chance.randint(0, 2))]
    parts += [sleep("nap"), signal("go"), signal("on", timed=True), approval("ship", 2, timed=True)]
    parts += [
        join("all", chance.randint(1, 4)),
        join("some", 3, 2, 1),
        Race("any", (sleep("z"), join("one", 1))),
    ]
    parts += [FIRST, BOTH, _UNHEARD]
    chosen = _distinct(chance.sample(parts, chance.randint(1, 4)))
    news: list[Item] = [GO, item("on"), YES, chance.choice((YES_TOO, NO))]
    asked: list[Any] = chance.choices(("cancel", "retry"), k=chance.randint(0, 2))
    faults = {fault.name.lower(): chance.choice((0, 0, 0, 1, 2)) for fault in _POSSIBLE}
    return world(
        "everything together",
        *chosen,
        signals=(*news, *asked),
        child=chance.choice(((), (Do("c"),), (Do("c", 1), sleep("z")))),
        workers=chance.randint(1, 3),
        closing=chance.random() < 0.5,
        policy=Policy(jitter=False, max_crashes=chance.randint(1, 3)),
        # What is sent to a run that has failed isn't kept: when it is reopened it may miss it.
        waits="retry" in asked,
        rescue=9,
        **faults,
    )


_POSSIBLE: Final = [fault for fault in Fault if fault not in (Fault.LOSS, Fault.RESCUE)]


def _distinct(parts: list[Part]) -> list[Part]:
    """Leave out what would ask for a key a second time."""
    taken: set[str] = set()
    chosen: list[Part] = []
    for part in parts:
        keys = {word for word in repr(part).split("'") if word.isalpha()}
        if not keys & taken:
            taken |= keys
            chosen.append(part)
    return chosen
