"""Tasks: the `@task` decorator and what it makes of a function."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from tidemill import client, options, signature
from tidemill.binding import BoundCall, RunInput
from tidemill.context import Context
from tidemill.direct import direct_arguments
from tidemill.durable.branch import inside
from tidemill.durable.children import Call, Request, trigger
from tidemill.event import Event
from tidemill.kernel.codec import Codec
from tidemill.kernel.definition import TaskDefinition, id_problem
from tidemill.kernel.errors import DefinitionError
from tidemill.kernel.trigger import parse_request
from tidemill.run import Run
from tidemill.source import code_digest
from tidemill.sync_context import SyncContext

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FunctionType
    from typing import Unpack

    from tidemill.kernel.trigger import TriggerOptions, TriggerRequest
    from tidemill.options import TaskOptions
    from tidemill.retry import Retry
    from tidemill.run_context import Attempt
    from tidemill.source import Place

T = TypeVar("T")
In = TypeVar("In")
Out = TypeVar("Out")
Ret = TypeVar("Ret")
P = ParamSpec("P")
Co = Coroutine[Any, Any, T]


class Task(Generic[In, Out]):
    """A task: it takes a payload of type `In` and its runs result in an `Out`.

    Attributes:
        id: the task's stable name.
    """

    def __init__(self, task_id: str, payload: Codec[In], result: Codec[Out]) -> None:
        self.id = task_id
        self._payload = payload
        self._result = result

    @overload
    async def trigger(
        self: Task[None, Out], payload: None = None, /, **o: Unpack[TriggerOptions]
    ) -> Run[Out]: ...
    @overload
    async def trigger(self, payload: In, /, **o: Unpack[TriggerOptions]) -> Run[Out]: ...
    async def trigger(self, payload: Any = None, /, **o: Unpack[TriggerOptions]) -> Run[Out]:
        """Start a run durably: when this returns, it is stored and will be executed.

        Inside of a run it is a child that nobody waits for: started once, whatever crashes, and cancelled
        with its parent unless it is `detached`.

        Args:
            payload: what the handler's first parameter gets.
            **o: see `TriggerOptions`.

        Raises:
            PayloadError: the payload doesn't fit the task's annotation, or an option can't be used.
            NotFoundError: no worker has ever served this task.
            ControlError: Tidemill can't be reached.
        """
        reached = client.current()
        detached = o.pop("detached", False)
        request = self._request(payload, o)
        branch = inside()
        if branch is None:
            return Run(await reached.trigger(request), reached, self._result)
        place = branch.place(f"trigger:{self.id}")
        child = Request(self.id, request.payload, self._result, request.options())
        return Run(await trigger(branch.script, place, child, detached=detached), reached, self._result)

    @overload
    def call(self: Task[None, Out], payload: None = None, /, *, name: str | None = None) -> Call[Out]: ...
    @overload
    def call(self, payload: In, /, *, name: str | None = None) -> Call[Out]: ...
    def call(self, payload: Any = None, /, *, name: str | None = None) -> Call[Out]:
        """Return a child of the run whose handler calls this; awaited, it is executed.

        Args:
            payload: what the child's first parameter gets.
            name: what the child is called in the run's history.

        Raises:
            ContextError: the code isn't a run's.
            PayloadError: the payload doesn't fit the task's annotation.
        """
        return Call(self.request(payload), name)

    def request(self, payload: In) -> Request:
        """Return what starts a child of a run.

        Raises:
            PayloadError: the payload doesn't fit the task's annotation.
        """
        return Request(self.id, self._payload.encode(payload), self._result)

    def trigger_sync(self, payload: In, /, **o: Unpack[TriggerOptions]) -> Run[Out]:
        """Start a run durably, from code that isn't on an event loop.

        Args:
            payload: what the handler's first parameter gets; None where it takes none.
            **o: see `TriggerOptions`.

        Raises:
            ConflictError: an event loop runs in this thread.
            PayloadError: as `trigger`; so do NotFoundError and ControlError.
        """
        reached = client.current()
        return Run(reached.trigger_sync(self._request(payload, o)), reached, self._result)

    def encode_result(self, value: Out) -> bytes:
        """Return a result as JSON text, by the task's return annotation.

        Raises:
            PayloadError: it can't be serialised or isn't of that type; the sentence names the path inside.
        """
        return self._result.encode(value)

    def _request(self, payload: In, given: TriggerOptions) -> TriggerRequest:
        return parse_request(self.id, self._payload.encode(payload), given)


class FnTask(Task[In, Out], Generic[In, Out, P, Ret]):
    """What `@task` returns: the function, which also is a task. `Ret` is `Out` or its coroutine.

    Attributes:
        definition: the task as data.
        retry: the retry policy, which knows the exceptions that it applies to.
        signature: what the handler takes and returns.
    """

    def __init__(self, function: Callable[P, Ret], given: options.Options) -> None:
        """Read the function and check everything that can be checked before it runs.

        Raises:
            DefinitionError: it can't be a task; the error names file and line.
        """
        self.signature = signature.read(function)
        self.retry: Retry = given.retry
        with _at(self.signature.place):
            payload: Codec[In] = Codec(self.signature.payload, "payload")
            result: Codec[Out] = Codec(self.signature.returns, "result")
        self._function = function
        self.definition = _definition(function, given, self.signature, payload)
        super().__init__(self.definition.id, payload, result)
        functools.update_wrapper(self, function)

    def __repr__(self) -> str:
        return f"<task {self.id!r} at {self.signature.place}>"

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Ret: ...
    @overload
    def __call__(self, payload: In, /) -> Ret: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Ret:
        """Call the function itself: nothing durable happens.

        A missing context is supplied where `tidemill.testing` is active, and so is the event around
        bare data.

        Raises:
            TypeError: the function needs a context or an event, and none is given.
        """
        if self.signature.context != "none" or self.signature.takes == "event":
            args, kwargs = direct_arguments(self.definition, self.signature, self._payload, args, kwargs)
        return self._function(*args, **kwargs)

    @property
    def source_location(self) -> Place:
        """File and line of the function, from its first decorator on."""
        return self.signature.place

    def bind(
        self, facts: dict[str, Any] | None, raw: bytes | None, payload: object, attempt: Attempt
    ) -> BoundCall:
        """Return the handler with a run's input as its arguments.

        Args:
            facts: attributes of the event that started the run; None where it was triggered.
            raw: the event's body, or the payload as JSON text; None where there is only `payload`.
            payload: a trigger's payload as parsed JSON, where `raw` is None.
            attempt: what the context stands for.

        Raises:
            PayloadError: the input doesn't fit the annotation; the sentence names the fields.
        """
        given = RunInput(facts, raw, payload)
        find_event = given.untyped_event
        arguments: tuple[object, ...] = ()
        if self.signature.takes == "payload":
            arguments = (given.data(self._payload),)
        elif self.signature.takes == "event":
            event = given.event(self._payload, attempt)
            arguments = (event,)
            find_event = functools.partial(_same, event if facts is not None else None)
        args, kwargs = self.signature.arguments(arguments, attempt, find_event)
        return BoundCall(self.signature.is_async, self._function, args, kwargs, self._result)


class TaskDecorator:
    """`@task`, with or without options; `task(**options)` is a decorator with these as its defaults."""

    def __init__(self, defaults: Mapping[str, Any] | None = None) -> None:
        self._defaults: dict[str, Any] = dict(defaults or {})

    @overload
    def __call__(self, /, **o: Unpack[TaskOptions]) -> TaskDecorator: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[Context, P], Co[Out]], /
    ) -> FnTask[None, Out, Concatenate[Context, P], Co[Out]]: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[Event[In], P], Co[Out]], /
    ) -> FnTask[In, Out, Concatenate[Event[In], P], Co[Out]]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, fn: Callable[Concatenate[In, P], Co[Out]], /
    ) -> FnTask[In, Out, Concatenate[In, P], Co[Out]]: ...
    @overload
    def __call__(self, fn: Callable[[], Co[Out]], /) -> FnTask[None, Out, [], Co[Out]]: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[SyncContext, P], Out], /
    ) -> FnTask[None, Out, Concatenate[SyncContext, P], Out]: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[Event[In], P], Out], /
    ) -> FnTask[In, Out, Concatenate[Event[In], P], Out]: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[In, P], Out], /
    ) -> FnTask[In, Out, Concatenate[In, P], Out]: ...
    @overload
    def __call__(self, fn: Callable[[], Out], /) -> FnTask[None, Out, [], Out]: ...
    def __call__(self, fn: Callable[..., Any] | None = None, /, **o: Unpack[TaskOptions]) -> Any:
        """Make a task of a function, or a decorator with other defaults of options.

        Args:
            fn: the handler: `(payload)`, `(payload, ctx: Context)` or `(ctx: Context)`, async or not; with
                `SyncContext` where it isn't. A payload annotated `Event` is the whole event.
            **o: see `TaskOptions`.

        Raises:
            DefinitionError: an option or the function can't be used; the error names file and line.
        """
        merged = {**self._defaults, **o}
        parsed = options.parse(merged)
        return TaskDecorator(merged) if fn is None else FnTask(fn, parsed)


task = TaskDecorator()


def _definition(
    function: Callable[..., Any],
    given: options.Options,
    handler: signature.HandlerSignature,
    payload: Codec[Any],
) -> TaskDefinition:
    task_id = given.id or function.__name__
    _check_names(task_id, given, handler.place)
    return TaskDefinition(
        id=task_id,
        aliases=given.aliases,
        on=given.on,
        where=given.where,
        retry=given.retry.policy,
        concurrency=given.concurrency,
        timeout=given.timeout,
        max_duration=given.max_duration,
        takes=handler.takes,
        payload_schema=None if handler.takes == "none" else payload.schema,
        code=code_digest(cast("FunctionType", function)),
    )


def _check_names(task_id: str, given: options.Options, place: Place) -> None:
    if problem := id_problem(task_id):
        raise place.problem(f"the function's name {task_id!r} is no task id: {problem}", hint="give it id=")
    if task_id in given.aliases:
        raise place.problem(f"task {task_id!r} is its own alias", hint="aliases are earlier names")
    if given.where is not None and not given.on:
        raise place.problem(f"task {task_id!r} has where= but no event", hint="name the events in on=")


@contextlib.contextmanager
def _at(place: Place) -> Iterator[None]:
    """Begin errors about a definition with its file and line."""
    try:
        yield
    except DefinitionError as error:
        raise place.problem(error.sentence, hint=error.hint) from error


def _same(event: Event[Any] | None) -> Event[Any] | None:
    return event
