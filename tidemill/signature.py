"""Reading a handler's signature: what it takes, which context it wants, what it returns."""

from __future__ import annotations

import inspect
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from tidemill.context import Context
from tidemill.depends import marker_of, read_dependency
from tidemill.event import Event
from tidemill.source import Place, calling_frame, calling_place, place_of
from tidemill.sync_context import SyncContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tidemill.depends import Dependency
    from tidemill.kernel.definition import Takes
    from tidemill.run_context import Attempt, FindEvent

ContextKind = Literal["none", "async", "sync"]
_NO_RESULT: Final = (typing.NoReturn, typing.Never)
_ORDER_HINT: Final = "a task is (payload), (payload, ctx: Context) or (ctx: Context)"


@dataclass(frozen=True, slots=True)
class HandlerSignature:
    """What the worker has to know in order to call a handler.

    Attributes:
        takes: whether the first argument is the payload, the whole event, or neither.
        payload: annotation of the payload, or of the event's data; Any without annotation.
        returns: annotation of what it returns; Any without annotation.
        context: which context it wants.
        context_name: name of that parameter.
        is_async: whether calling it gives a coroutine.
        parameters: the signature as Python has it.
        place: where the function stands.
        dependencies: what it depends on, by parameter.
    """

    takes: Takes
    payload: Any
    returns: Any
    context: ContextKind
    context_name: str | None
    is_async: bool
    parameters: inspect.Signature
    place: Place
    dependencies: Mapping[str, Dependency]

    def arguments(
        self, given: tuple[object, ...], attempt: Attempt, find_event: FindEvent
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """Return positional and named arguments of a call, with the context that the handler wants."""
        if self.context_name is None:
            return given, {}
        context = self.new_context(attempt, find_event)
        if self.parameters.parameters[self.context_name].kind is inspect.Parameter.POSITIONAL_ONLY:
            return (*given, context), {}
        return given, {self.context_name: context}

    def new_context(self, attempt: Attempt, find_event: FindEvent) -> Context | SyncContext:
        """Return a context of the kind that the handler wants."""
        return (SyncContext if self.context == "sync" else Context)(attempt, find_event)


def read(function: Callable[..., Any]) -> HandlerSignature:
    """Read a handler's signature.

    Raises:
        DefinitionError: it can't be a task; the error names file and line of the function.
    """
    place = _check_function(function)
    parameters = inspect.signature(function)
    hints = _hints(function, place)
    _check_kinds(parameters, place)
    ordered = list(parameters.parameters.values())
    context = _context_parameter(ordered, hints, place)
    is_async = inspect.iscoroutinefunction(function)
    kind = "none" if context is None else _context_kind(hints[context.name])
    _check_context(kind, place, is_async=is_async)
    takes, payload = _payload(ordered, context, hints, place)
    dependencies = _dependencies(ordered, hints, place)
    rest = [parameter for parameter in ordered if parameter.name not in dependencies]
    _check_rest(rest, context, takes, place)
    returns = hints.get("return", Any)
    return HandlerSignature(
        takes=takes,
        payload=payload,
        returns=None if returns in _NO_RESULT else returns,
        context=kind,
        context_name=context.name if context else None,
        is_async=is_async,
        parameters=parameters,
        place=place,
        dependencies=dependencies,
    )


def _check_function(function: object) -> Place:
    if not isinstance(function, types.FunctionType):
        raise calling_place().problem(
            f"@task stands on {type(function).__name__}, not on a function",
            hint="decorate a def or an async def",
        )
    place = place_of(function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise place.problem(f"{function.__name__} yields", hint="a task returns its result")
    return place


def _hints(function: Callable[..., Any], place: Place) -> dict[str, Any]:
    """Resolve the annotations, with the names around a function that is defined inside of another."""
    around = calling_frame().f_locals
    try:
        return typing.get_type_hints(function, localns=dict(around), include_extras=True)
    except Exception as error:
        raise place.problem(
            f"an annotation of {function.__name__} can't be resolved: {error}",
            hint="import or define the type before the task, and not under TYPE_CHECKING only",
        ) from error


def _check_kinds(parameters: inspect.Signature, place: Place) -> None:
    for parameter in parameters.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise place.problem(f"a task can't have {parameter}", hint=_ORDER_HINT)


def _context_parameter(
    ordered: list[inspect.Parameter], hints: dict[str, Any], place: Place
) -> inspect.Parameter | None:
    for parameter in ordered:
        inner = typing.get_args(hints.get(parameter.name))
        if any(_context_kind(part) != "none" for part in inner):
            raise place.problem(
                f"{parameter} may be a context or something else", hint="annotate it as Context alone"
            )
    found = [parameter for parameter in ordered if _context_kind(hints.get(parameter.name)) != "none"]
    if len(found) > 1:
        raise place.problem("a task has one context at most", hint=_ORDER_HINT)
    return found[0] if found else None


def _context_kind(annotation: object) -> ContextKind:
    if annotation is Context:
        return "async"
    return "sync" if annotation is SyncContext else "none"


def _check_context(kind: ContextKind, place: Place, *, is_async: bool) -> None:
    if kind == "async" and not is_async:
        raise place.problem(
            "a def handler can't have a Context", hint="annotate it SyncContext, or write async def"
        )
    if kind == "sync" and is_async:
        raise place.problem("an async def handler can't have a SyncContext", hint="annotate it Context")


def _payload(
    ordered: list[inspect.Parameter],
    context: inspect.Parameter | None,
    hints: dict[str, Any],
    place: Place,
) -> tuple[Takes, Any]:
    """Return what the first parameter takes and its annotation."""
    if not ordered or ordered[0] is context:
        return "none", type(None)
    first = ordered[0]
    if first.kind is first.KEYWORD_ONLY:
        raise place.problem(f"{first.name!r} can only be passed by name", hint="the payload goes first")
    annotation = hints.get(first.name, Any)
    if marker_of(annotation) is not None:
        raise place.problem(
            f"{first.name!r} is provided, but stands where the payload goes",
            hint="put the payload first; a task without one begins with ctx: Context",
        )
    if annotation is Event:
        return "event", Any
    if typing.get_origin(annotation) is Event:
        return "event", typing.get_args(annotation)[0]
    return "payload", annotation


def _dependencies(
    ordered: list[inspect.Parameter], hints: dict[str, Any], place: Place
) -> dict[str, Dependency]:
    """Return what is to be provided, by parameter."""
    found: dict[str, Dependency] = {}
    for parameter in ordered:
        if (marker := marker_of(hints.get(parameter.name))) is not None:
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise place.problem(f"{parameter.name!r} can't be passed by name", hint="leave out the '/'")
            found[parameter.name] = read_dependency(marker, place)
    return found


def _check_rest(
    ordered: list[inspect.Parameter], context: inspect.Parameter | None, takes: Takes, place: Place
) -> None:
    """Check that a worker can call the handler: with the payload first, then the context, nothing else."""
    payloads = 0 if takes == "none" else 1
    for index, parameter in enumerate(ordered):
        if parameter is context:
            if parameter.kind is parameter.POSITIONAL_ONLY and index != payloads:
                raise place.problem(f"{parameter.name!r} can't be passed by name", hint=_ORDER_HINT)
        elif index >= payloads and parameter.default is parameter.empty:
            raise place.problem(
                f"nothing would be passed for {parameter.name!r}",
                hint=f"{_ORDER_HINT}; annotate others Annotated[…, Depends(…)] or give them a default",
            )
