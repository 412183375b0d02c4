"""Killing a run at every point at which its process can die, and comparing what comes of it."""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidemill.kernel import clock
from tidemill.testing.stage import Stage, play
from tidemill.transport import RunOutcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from tidemill.task import FnTask

    AnyTask = FnTask[Any, Any, Any, Any]
    Prepare = Callable[[Stage], Awaitable[None] | None]


@dataclass(frozen=True)
class Crashes:
    """What came of killing a run everywhere.

    Attributes:
        outcome: how the run ended, undisturbed and every other time.
        points: at how many points it was killed.
        executed: how often each step's function was called in the undisturbed run.
        again: in how many of the other plays it was called once more: those that were killed while it was
            executed, or after it and before its result was written down.
    """

    outcome: RunOutcome
    points: int
    executed: dict[str, int]
    again: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Played:
    outcome: RunOutcome
    moments: int
    executed: Counter[str]


async def crash_everywhere(
    task: AnyTask,
    payload: Any = None,
    /,
    *,
    prepare: Prepare | None = None,
    tasks: Sequence[AnyTask] = (),
    seed: int | None = None,
) -> Crashes:
    """Play a run once undisturbed, and once more for every point at which a process could die in it.

    A point is before everything that leaves something on the broker (a record, a ticket, a timer, mail, an
    acknowledgement) and after every record, be it done by the run, by its children or by who brings it mail.
    Whoever comes there dies, and is replaced.

    Args:
        task: the run's.
        payload: its input.
        prepare: is given each play's stage, to say there what comes from outside.
        tasks: further tasks that are executed.
        seed: shuffles in which order things happen that happen at the same time.

    Raises:
        AssertionError: an outcome differs from the undisturbed one's, or a finished step was executed again;
            the message names the points.
    """
    now = clock.now()
    plain = await _play(task, payload, prepare, tasks, now, seed, None)
    again: Counter[str] = Counter()
    problems = []
    for point in range(plain.moments):
        try:
            played = await _play(task, payload, prepare, tasks, now, seed, point)
        except AssertionError as error:
            problems.append(f"{point}: {error}")
            continue
        if played.outcome != plain.outcome:
            problems.append(f"{point}: it came to {played.outcome}")
        again.update(key for key, count in played.executed.items() if count > plain.executed[key])
    if problems:
        raise AssertionError(f"undisturbed: {plain.outcome}; killed at\n" + "\n".join(problems))
    return Crashes(plain.outcome, plain.moments, dict(plain.executed), dict(again))


async def _play(  # noqa: PLR0913, PLR0917 - a play has these parts
    task: AnyTask,
    payload: Any,
    prepare: Prepare | None,
    tasks: Sequence[AnyTask],
    now: datetime,
    seed: int | None,
    point: int | None,
) -> _Played:
    async with play(task, *tasks, now=now, seed=seed) as stage:
        run = await stage.start(task, payload)
        prepared = prepare(stage) if prepare is not None else None
        if inspect.isawaitable(prepared):
            await prepared
        begun = stage.moments
        if point is not None:
            stage.crash_at(begun + point)
        outcome = await stage.outcome(run.id, None)
        await stage.still()
        if stage.repeated:
            raise AssertionError(f"finished steps were executed again: {stage.repeated}")
        executed: Counter[str] = Counter()
        for one in stage.runs:
            name = "" if one == run.id else f"{stage.state(one).task}: "
            executed.update({f"{name}{key}": count for key, count in stage.executed(one).items()})
        return _Played(outcome, stage.moments - begun, executed)
