"""The decorators that a task has for its hooks: `@deploy.on_failure`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Concatenate, Generic, ParamSpec, TypeVar

from tidemill.durable.children import Failed, Ok, Outcome
from tidemill.hooks import Hook, Hooks, Started

Out = TypeVar("Out")
P = ParamSpec("P")


class Hooked(Generic[Out]):
    """Something that hooks can be told about.

    A hook is an async function. It may ask for a `Context` too, which says what run it is told of, and for
    what is `Depends`.

    Attributes:
        hooks: all of them.
    """

    def __init__(self) -> None:
        self.hooks = Hooks()

    def on_start(
        self, hook: Callable[Concatenate[Started, P], Awaitable[None]], /
    ) -> Callable[Concatenate[Started, P], Awaitable[None]]:
        """Have a function called before a run's first execution, once; when it raises, the attempt fails.

        Raises:
            DefinitionError: the function can't be a hook; the error names file and line.
        """
        self._add_hook(self.hooks.start, hook)
        return hook

    def on_success(
        self, hook: Callable[Concatenate[Ok[Out], P], Awaitable[None]], /
    ) -> Callable[Concatenate[Ok[Out], P], Awaitable[None]]:
        """Have a function called with the result of every run that has completed.

        Raises:
            DefinitionError: the function can't be a hook; the error names file and line.
        """
        self._add_hook(self.hooks.success, hook)
        return hook

    def on_failure(
        self, hook: Callable[Concatenate[Failed, P], Awaitable[None]], /
    ) -> Callable[Concatenate[Failed, P], Awaitable[None]]:
        """Have a function called for every run that has failed for good, timed out, expired or crashed.

        Raises:
            DefinitionError: the function can't be a hook; the error names file and line.
        """
        self._add_hook(self.hooks.failure, hook)
        return hook

    def on_cancel(
        self, hook: Callable[Concatenate[Failed, P], Awaitable[None]], /
    ) -> Callable[Concatenate[Failed, P], Awaitable[None]]:
        """Have a function called for every run that was cancelled; its `error` is the reason.

        Raises:
            DefinitionError: the function can't be a hook; the error names file and line.
        """
        self._add_hook(self.hooks.cancel, hook)
        return hook

    def on_end(
        self, hook: Callable[Concatenate[Outcome[Out], P], Awaitable[None]], /
    ) -> Callable[Concatenate[Outcome[Out], P], Awaitable[None]]:
        """Have a function called for every run that has ended, behind the other hooks.

        Raises:
            DefinitionError: the function can't be a hook; the error names file and line.
        """
        self._add_hook(self.hooks.end, hook)
        return hook

    def _add_hook(self, hooks: list[Hook], function: Callable[..., Awaitable[None]]) -> None:
        hooks.append(Hook(function))
