"""Providing what handlers depend on: opened before an attempt, closed behind it or with the worker."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tidemill.depends import Dependency, Depends, name_of, read_dependency
from tidemill.durable.branch import InStep, enter, leave
from tidemill.source import calling_place

if TYPE_CHECKING:
    from tidemill.run_context import Attempt, FindEvent

CLOSE_SECONDS: Final = 10.0
"""How long one of a worker's providers may take to clean up."""
Overrides = Mapping[Callable[..., Any], Callable[..., Any]]
"""Providers, and who provides in their place."""
Submit = Callable[[Callable[[], Any]], "asyncio.Future[Any]"]
_log = logging.getLogger(__name__)
_overrides: dict[Callable[..., Any], Dependency] = {}
_scope: ContextVar[WorkerScope | None] = ContextVar("tidemill_worker_scope", default=None)


@dataclass(slots=True)
class _Kept:
    """Something that a worker keeps: what it is, who holds it open, and when that is to let go."""

    value: asyncio.Future[Any]
    over: asyncio.Event = field(default_factory=asyncio.Event)
    holder: asyncio.Task[None] | None = None


class WorkerScope:
    """What all attempts of one worker share: each thing is opened when it is first needed.

    Whatever is opened in a task of its own is closed in that task too, as cancel scopes demand.

    Args:
        submit: calls a function that blocks in a thread.
    """

    def __init__(self, submit: Submit) -> None:
        self.submit = submit
        self._kept: dict[Callable[..., Any], _Kept] = {}
        self._surroundings = contextvars.copy_context()

    async def get(self, dependency: Dependency) -> Any:
        """Return what a provider has provided; after a failure the next one who asks tries again."""
        kept = self._kept.get(dependency.provider)
        if kept is None:
            kept = _Kept(asyncio.get_running_loop().create_future())
            self._kept[dependency.provider] = kept
            kept.holder = self._surroundings.copy().run(
                asyncio.create_task, self._hold(dependency, kept), name=name_of(dependency.provider)
            )
        return await asyncio.shield(kept.value)

    async def close(self) -> None:
        """Close everything, what was opened last first; a failure is logged and keeps nothing open."""
        for provider, kept in reversed(tuple(self._kept.items())):
            kept.over.set()
            if kept.holder is not None:
                _, late = await asyncio.wait({kept.holder}, timeout=CLOSE_SECONDS)
                if late:
                    _log.error("%s didn't clean up within %g s", name_of(provider), CLOSE_SECONDS)
                    kept.holder.cancel()
        self._kept.clear()

    async def _hold(self, dependency: Dependency, kept: _Kept) -> None:
        try:
            async with contextlib.AsyncExitStack() as stack:
                needs = {
                    name: await self.get(need)
                    for name, need in dependency.needs.items()
                    if isinstance(need, Dependency)
                }
                # What it needs was opened first, so that it is closed behind it.
                self._kept[dependency.provider] = self._kept.pop(dependency.provider)
                kept.value.set_result(await _opened(dependency, needs, stack, self.submit))
                await kept.over.wait()
        except BaseException as error:
            if kept.value.done():
                _log.error("%s failed while it cleaned up", name_of(dependency.provider), exc_info=error)
            else:
                self._kept.pop(dependency.provider, None)
                self._refuse(kept.value, error)
            if not isinstance(error, Exception):
                raise

    @staticmethod
    def _refuse(value: asyncio.Future[Any], error: BaseException) -> None:
        if isinstance(error, Exception):
            value.set_exception(error)
            value.exception()  # whoever has asked may be gone
        else:
            value.cancel()


@contextlib.contextmanager
def serving(scope: WorkerScope) -> Iterator[None]:
    """Provide what attempts share, in code that this context runs."""
    token = _scope.set(scope)
    try:
        yield
    finally:
        _scope.reset(token)


@contextlib.contextmanager
def overriding(providers: Overrides) -> Iterator[None]:
    """Have others provide what some providers do, in the whole process.

    Raises:
        DefinitionError: one of the others can't be called with what can be provided.
    """
    place = calling_place()
    before = dict(_overrides)
    _overrides.update({old: read_dependency(Depends(new), place) for old, new in providers.items()})
    try:
        yield
    finally:
        _overrides.clear()
        _overrides.update(before)


@contextlib.asynccontextmanager
async def provided(
    wanted: Mapping[str, Dependency], attempt: Attempt, find_event: FindEvent, limit: float | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Open what an attempt depends on, and close it behind it, whichever way it ends.

    No provider swallows what the handler raises, and none is part of what the run remembers.

    Raises:
        TimeoutError: it wasn't open after `limit` seconds.
    """
    stack = contextlib.AsyncExitStack()
    opening = _Opening(attempt, find_event, stack)
    raised: BaseException | None = None
    try:
        values = await _within(limit, opening, wanted)
        yield values
    except BaseException as error:
        raised = error
        raise
    finally:
        await _close(stack, raised)


async def _within(limit: float | None, opening: _Opening, wanted: Mapping[str, Dependency]) -> dict[str, Any]:
    bound = asyncio.timeout(limit)
    try:
        async with bound:
            return {name: await opening.get(one) for name, one in wanted.items()}
    except TimeoutError as error:
        if not bound.expired():
            raise
        raise TimeoutError(f"its dependencies weren't there within its timeout of {limit:g} s") from error


async def _close(stack: contextlib.AsyncExitStack, raised: BaseException | None) -> None:
    token = enter(InStep("the end of a dependency"))
    trace = raised.__traceback__ if raised is not None else None
    try:
        await stack.__aexit__(type(raised) if raised else None, raised, trace)
    finally:
        leave(token)


class _Opening:
    """What one attempt has opened: each provider is called once."""

    def __init__(self, attempt: Attempt, find_event: FindEvent, stack: contextlib.AsyncExitStack) -> None:
        self._attempt = attempt
        self._find_event = find_event
        self._stack = stack
        self._scope = _scope.get()
        self._values: dict[Callable[..., Any], Any] = {}

    async def get(self, dependency: Dependency) -> Any:
        replaced = _overrides.get(dependency.provider)
        if replaced is None and dependency.scope == "worker" and self._scope is not None:
            return await self._scope.get(dependency)
        chosen = replaced or dependency
        if chosen.provider not in self._values:
            self._values[chosen.provider] = await self._open(chosen)
        return self._values[chosen.provider]

    async def _open(self, dependency: Dependency) -> Any:
        needs = {
            name: await self.get(need)
            if isinstance(need, Dependency)
            else need(self._attempt, self._find_event)
            for name, need in dependency.needs.items()
        }
        token = enter(InStep(name_of(dependency.provider)))
        try:
            submit = self._scope.submit if self._scope is not None else _to_thread
            return await _opened(dependency, needs, self._stack, submit)
        finally:
            leave(token)


async def _opened(
    dependency: Dependency, needs: dict[str, Any], stack: contextlib.AsyncExitStack, submit: Submit
) -> Any:
    provider = dependency.provider
    match dependency.kind:
        case "coroutine":
            return await provider(**needs)
        case "async generator":
            return await stack.enter_async_context(contextlib.asynccontextmanager(provider)(**needs))
        case "generator":
            manager = contextlib.contextmanager(provider)(**needs)
            return await stack.enter_async_context(_in_threads(manager, submit))
        case _:
            return await submit(_bound(lambda: provider(**needs)))


@contextlib.asynccontextmanager
async def _in_threads(manager: contextlib.AbstractContextManager[Any], submit: Submit) -> AsyncIterator[Any]:
    """Enter and leave a manager that blocks, in threads."""
    raised: BaseException | None = None
    value = await submit(_bound(manager.__enter__))
    try:
        yield value
    except BaseException as error:
        raised = error
        raise
    finally:
        told = (type(raised) if raised else None, raised, raised.__traceback__ if raised else None)
        await submit(_bound(lambda: manager.__exit__(*told)))


def _bound(call: Callable[[], Any]) -> Callable[[], Any]:
    """Return a call that sees the context variables of now, wherever it is made."""
    surroundings = contextvars.copy_context()
    return lambda: surroundings.run(call)


def _to_thread(call: Callable[[], Any]) -> asyncio.Future[Any]:
    return asyncio.get_running_loop().run_in_executor(None, call)
