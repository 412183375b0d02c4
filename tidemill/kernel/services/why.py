"""What a run is waiting for and what would move it, in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.kernel import clock
from tidemill.kernel.protocol.hooks import told_task
from tidemill.kernel.protocol.state import Phase

if TYPE_CHECKING:
    from tidemill.kernel.protocol.records import Fault, Suspend, Wait
    from tidemill.kernel.protocol.state import State
    from tidemill.kernel.services.overrides import Override

_SHOWN = 5


def why(run: str, state: State, override: Override | None = None) -> str:
    """Return why a run stands where it stands; `override` is what was decided about its task."""
    if override is not None and override.paused and could_go_on(state):
        task = told_task(state.task)
        return f"{task} is paused {override.told()}: `tidemill tasks resume {task}` lets it go on."
    match state.phase:
        case Phase.READY:
            return _ready(state)
        case Phase.OWNED:
            return _owned(state)
        case Phase.SUSPENDED if state.wait is not None:
            return _suspended(run, state, state.wait)
        case Phase.ENDED if state.end is not None:
            told = f": {_told(state.end.fault)}" if state.end.fault else ""
            reason = f" ({state.end.reason})" if state.end.reason else ""
            return f"It has ended and is {state.end.outcome.replace('_', ' ')}{reason}{told}."
        case _:
            return "It has ended, and its journal is closed."


def could_go_on(state: State) -> bool:
    """Say whether nothing but a worker is missing; a delay or a retry that isn't due yet isn't told apart."""
    if state.phase is Phase.READY:
        return True
    return state.phase is Phase.SUSPENDED and not state.parked and state.satisfied


def _ready(state: State) -> str:
    created = state.created
    if created is not None and created.start_at is not None and not state.starts:
        return f"It starts at {clock.rfc3339_at(created.start_at)}."
    return (
        f"It is ready, and starts when a worker that serves {state.task} has a free place: "
        "`tidemill workers` shows who is alive."
    )


def _owned(state: State) -> str:
    worker = state.owner.worker if state.owner is not None else "a worker"
    asked = " It was asked to end, and does when its handler has stopped." if state.cancel is not None else ""
    return f"Worker {worker} executes its attempt {state.attempt}.{asked}"


def _suspended(run: str, state: State, wait: Suspend) -> str:
    if wait.wait == "parked":
        return f"It is parked, because {_told(wait.fault)}; `tidemill runs retry {run}` lets it go on."
    if wait.wait == "retry":
        at = f" at {clock.rfc3339_at(wait.until)}" if wait.until else ""
        return f"Attempt {state.attempts} failed with {_told(wait.fault)}; the next one begins{at}."
    if state.satisfied:
        return f"What it waited for is there: it goes on when a worker of {state.task} has a free place."
    shown = [_wait(run, state, one) for one in wait.waits[:_SHOWN]]
    more = len(wait.waits) - len(shown)
    also = [f"{more} more"] if more > 0 else []
    word = " or ".join([*shown, *also]) or "news"
    return f"It waits for {word}."


def _wait(run: str, state: State, wait: Wait) -> str:
    """Return what one wait is for, how far it is, and what would move it."""
    name = wait.box.partition(":")[2]
    items = state.boxes.get(wait.box, {})
    match wait.kind:
        case "sleep" | "retry of step":
            what = "the time" if wait.kind == "sleep" else f"the next try of step {wait.key!r}"
            return f"{what} {clock.rfc3339_at(wait.until or 0.0)}"
        case "signal":
            what = f"signal {name!r} (`tidemill runs signal {run} {name}` sends one)"
        case "approval":
            yes = sum(item.ok for item in items.values())
            so_far = f"{yes} of {wait.need} yes"
            what = f"approval {name!r}, {so_far} (`tidemill tokens approve {run}.{name}` says yes)"
        case "token":
            what = f"token {name!r} (`tidemill tokens complete {run}.{name}` gives it a value)"
        case "event":
            what = f"an event, {wait.key!r}"
        case "children":
            spawned = state.spawned.get(wait.key)
            of = f" of {spawned.task}" if spawned is not None and spawned.task else ""
            what = f"its children{of}, {len(items)} of {wait.need} have ended"
        case _:
            what = f"{wait.kind} {wait.key!r}"
    return f"{what}, until {clock.rfc3339_at(wait.until)}" if wait.until is not None else what


def _told(fault: Fault | None) -> str:
    return f"{fault.type}: {fault.message}" if fault is not None else "an error that isn't known"
