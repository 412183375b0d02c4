"""Hooks of a task: functions that are told when a run starts, and how it has ended.

Those that are told of an end are executed in a durable run of their own, of the task `<id>~hooks`, which is
started by whoever ends the run. So they hear of every end: also of runs that were cancelled while they
waited, that expired, or whose workers died.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tidemill import signature
from tidemill.durable.branch import Branch, enter, here
from tidemill.durable.children import Failed, Ok
from tidemill.durable.script import ON_START
from tidemill.durable.steps import OneStep, Step
from tidemill.injection import provided
from tidemill.kernel.protocol.records import Outcome as Ending
from tidemill.retry import Retry
from tidemill.run_context import Attempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidemill.context import Context
    from tidemill.durable.script import Script
    from tidemill.event import Event
    from tidemill.kernel.codec import Codec

HOOKS_RETRY: Final = Retry(max_attempts=5)
"""Hooks that fail are tried again like this; then their run stands among the dead letters."""
HOOKS_SECONDS: Final = 300.0
"""How long one attempt of a run's hooks may execute."""
_NOT_HERE: Final = "a hook is told of a run and isn't part of it; it may start others with .trigger()"


@dataclass(frozen=True, slots=True)
class Started:
    """What `on_start` hooks are told."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run has ended, as its hooks' run is told; a large result lies in `blob`."""

    run: str
    attempt: int
    outcome: Ending
    result: Any = None
    blob: str | None = None
    error: str = ""
    error_type: str = ""


class Hook:
    """One hook, read and checked.

    Raises:
        DefinitionError: it can't be called with what it is told; the error names file and line.
    """

    def __init__(self, function: Callable[..., Awaitable[None]]) -> None:
        self._function = function
        self._signature = read = signature.read(function)
        if not read.is_async:
            raise read.place.problem("a hook is an async function", hint="write async def")
        if read.takes == "event":
            raise read.place.problem("a hook isn't given an Event", hint="its context has it: ctx.event")
        self.name = function.__name__

    async def tell(self, what: object, attempt: Attempt) -> None:
        """Call the hook, with a context of the run that it is told of and with what it depends on."""
        read = self._signature
        given = (what,) if read.takes == "payload" else ()
        args, kwargs = read.arguments(given, attempt, _no_event)
        async with provided(read.dependencies, attempt, _no_event) as values:
            await self._function(*args, **kwargs, **values)


@dataclass(slots=True)
class Hooks:
    """The hooks of one task, in the order in which they were defined."""

    start: list[Hook] = field(default_factory=list)
    success: list[Hook] = field(default_factory=list)
    failure: list[Hook] = field(default_factory=list)
    cancel: list[Hook] = field(default_factory=list)
    end: list[Hook] = field(default_factory=list)

    @property
    def of_ends(self) -> bool:
        """Whether any of them is told of ends."""
        return bool(self.success or self.failure or self.cancel or self.end)

    def told_of(self, outcome: Ending) -> Sequence[Hook]:
        """Return those that are told of an end."""
        special = {"completed": self.success, "cancelled": self.cancel}.get(outcome, self.failure)
        return (*special, *self.end)


async def tell_of_start(hooks: Sequence[Hook], script: Script, attempt: Attempt) -> None:
    """Tell hooks of a run's start, once in its life; a run that has begun without them goes on without."""
    state = script.state
    if state.spawned or state.waits or any(not key.startswith(ON_START) for key in state.steps):
        return
    branch = Branch(script, path=ON_START)
    enter(branch)
    for hook in hooks:
        call = functools.partial(hook.tell, Started(attempt.run_id), attempt)
        await OneStep(script, branch.place(hook.name), Step(hook.name), call).run(call)


async def tell_of_end(hooks: Hooks, task_id: str, result: Codec[Any], ended: Ended, ctx: Context) -> None:
    """Tell hooks of a run's end, each in a step of its own; one that fails doesn't keep others from it.

    Raises:
        Exception: what the first one that failed has raised.
    """
    attempt = Attempt(ended.run, task_id, ended.attempt, hint=_NOT_HERE)
    outcome = await _outcome(result, ended)
    failures: list[Exception] = []
    for hook in hooks.told_of(ended.outcome):
        try:
            await ctx.step(hook.name, hook.tell, outcome, attempt)
        except Exception as error:  # noqa: BLE001 - a hook may raise anything; it is raised below
            failures.append(error)
    if failures:
        raise failures[0]


async def _outcome(result: Codec[Any], ended: Ended) -> Ok[Any] | Failed:
    if ended.outcome != "completed":
        return Failed(ended.error, ended.error_type, ended.run)
    if ended.blob is None:
        return Ok(result.decode_value(ended.result))
    large = await here("hooks").script.port.get_blob(ended.blob)
    return Ok(result.decode(large))


def _no_event() -> Event[Any] | None:
    return None
