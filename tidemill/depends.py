"""`Depends`: what a handler needs besides its payload, and who provides it; read and checked at import."""

from __future__ import annotations

import functools
import inspect
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from tidemill.context import Context
from tidemill.source import Place, calling_frame, calling_place, place_of
from tidemill.sync_context import SyncContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Scope = Literal["attempt", "worker"]
Kind = Literal["function", "coroutine", "generator", "async generator"]
_SCOPES: Final = typing.get_args(Scope)
_CONTEXTS: Final = (Context, SyncContext)
_LEFT_OUT: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Depends:
    """Says who provides a parameter: `db: Annotated[Db, Depends(get_db)]`.

    A provider is a function, async or not, or a generator that yields what it provides once and cleans up
    behind that; a class is one too. Its own parameters are provided in the same way, or a `Context`.

    Args:
        provider: who provides it.
        scope: for how long: `attempt`, or `worker` for what all attempts of a worker process share.

    Raises:
        DefinitionError: it can't provide anything.
    """

    def __init__(self, provider: Callable[..., object], /, *, scope: Scope = "attempt") -> None:
        if not callable(provider):
            raise calling_place().problem(
                f"Depends({provider!r}) can't be called", hint="pass the function itself: Depends(get_db)"
            )
        if scope not in _SCOPES:
            raise calling_place().problem(
                f"Depends has no scope {scope!r}", hint="it is 'attempt' or 'worker'"
            )
        self.provider = provider
        self.scope: Scope = scope

    def __repr__(self) -> str:
        return f"Depends({name_of(self.provider)}, scope={self.scope!r})"


@dataclass(frozen=True, slots=True, eq=False)
class Dependency:
    """A provider, read.

    Attributes:
        provider: what is called.
        scope: how long what it provides is kept.
        kind: how it is called.
        needs: its own parameters: what is provided for them, or the context that they want.
    """

    provider: Callable[..., Any]
    scope: Scope
    kind: Kind
    needs: Mapping[str, type[Context | SyncContext] | Dependency]


def marker_of(annotation: object) -> Depends | None:
    """Return the `Depends` of an `Annotated[…]`, the last of several."""
    if typing.get_origin(annotation) is not typing.Annotated:
        return None
    found = [part for part in typing.get_args(annotation)[1:] if isinstance(part, Depends)]
    return found[-1] if found else None


def read_dependency(marker: Depends, place: Place, outer: tuple[Callable[..., Any], ...] = ()) -> Dependency:
    """Read a provider and everything that it needs.

    Raises:
        DefinitionError: it can't be called with what can be provided; the error names file and line.
    """
    provider = marker.provider
    where = _place(provider) or place
    if provider in outer:
        circle = " -> ".join(name_of(one) for one in (*outer[outer.index(provider) :], provider))
        raise where.problem(f"these depend on each other: {circle}", hint="provide one of them differently")
    needs: dict[str, type[Context | SyncContext] | Dependency] = {}
    hints = _hints(provider, where)
    for parameter in _parameters(provider, where):
        annotation = hints.get(parameter.name)
        if (inner := marker_of(annotation)) is not None:
            needs[parameter.name] = read_dependency(inner, where, (*outer, provider))
        elif annotation in _CONTEXTS:
            needs[parameter.name] = annotation
        elif parameter.default is parameter.empty and parameter.kind not in _LEFT_OUT:
            raise where.problem(
                f"nothing provides {parameter.name!r} of {name_of(provider)}",
                hint="annotate it Annotated[…, Depends(…)] or Context, or give it a default",
            )
        if parameter.name in needs and parameter.kind is parameter.POSITIONAL_ONLY:
            raise where.problem(f"{parameter.name!r} can't be passed by name", hint="leave out the '/'")
    _check_scope(marker, needs, where)
    return Dependency(provider, marker.scope, _kind(provider, where), needs)


def name_of(provider: Callable[..., Any]) -> str:
    """Return what a provider is called in messages."""
    return getattr(provider, "__qualname__", None) or repr(provider)


def _check_scope(marker: Depends, needs: Mapping[str, object], place: Place) -> None:
    if marker.scope == "attempt":
        return
    for name, need in needs.items():
        if need in _CONTEXTS or (isinstance(need, Dependency) and need.scope == "attempt"):
            raise place.problem(
                f"{name_of(marker.provider)} is kept by the worker, but its {name!r} lasts for one attempt",
                hint='give that scope="worker" too, or this one scope="attempt"',
            )


def _parameters(provider: Callable[..., Any], place: Place) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(provider).parameters.values())
    except (ValueError, TypeError) as error:
        raise place.problem(
            f"{name_of(provider)} tells nothing of its parameters: {error}",
            hint="wrap it into a function of your own",
        ) from error


def _hints(provider: Callable[..., Any], place: Place) -> dict[str, Any]:
    function = _function(provider)
    if function is None:
        return {}
    try:
        try:
            return typing.get_type_hints(function, include_extras=True)
        except NameError:  # one that is defined inside of a function: what stands around it may be there too
            around = dict(calling_frame().f_locals)
            return typing.get_type_hints(function, localns=around, include_extras=True)
    except Exception as error:
        raise place.problem(
            f"an annotation of {name_of(provider)} can't be resolved: {error}",
            hint="import or define the type before it, and not under TYPE_CHECKING only",
        ) from error


def _function(provider: Any) -> Any:
    """Return the function whose annotations and code a provider has; None where it has none in Python."""
    while isinstance(provider, functools.partial):
        provider = provider.func
    if inspect.isclass(provider):
        return provider.__init__ if inspect.isfunction(provider.__init__) else None
    if inspect.isroutine(provider):
        return provider
    call = getattr(type(provider), "__call__", None)  # noqa: B004 - the method itself is looked at
    return call if inspect.isfunction(call) else None


def _place(provider: Callable[..., Any]) -> Place | None:
    function = inspect.unwrap(_function(provider) or provider)
    return place_of(function) if inspect.isfunction(function) else None


def _kind(provider: Callable[..., Any], place: Place) -> Kind:
    function = None if inspect.isclass(provider) else _function(provider)
    if inspect.isasyncgenfunction(function):
        return "async generator"
    if inspect.isgeneratorfunction(function):
        return "generator"
    inner = inspect.unwrap(function) if function is not None else None
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise place.problem(
            f"{name_of(provider)} is a context manager, not a generator",
            hint="leave out @contextmanager or @asynccontextmanager: Depends does what it does",
        )
    return "coroutine" if inspect.iscoroutinefunction(function) else "function"
