"""Tasks: the `@task` decorator and what it makes of a function."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from tidemill import client, options, signature
from tidemill.binding import BoundCall, Frame, RunInput
from tidemill.context import Context
from tidemill.direct import direct_call
from tidemill.durable.branch import here, inside
from tidemill.durable.children import Call, Request, trigger, trigger_keyed
from tidemill.event import Event
from tidemill.hooked import Hooked
from tidemill.hooks import HOOKS_RETRY, HOOKS_SECONDS, Ended, Hook, tell_of_end
from tidemill.kernel.codec import Codec
from tidemill.kernel.definition import TaskDefinition, id_problem
from tidemill.kernel.errors import DefinitionError
from tidemill.kernel.protocol.hooks import HOOKS_SUFFIX, hooks_task
from tidemill.kernel.trigger import parse_request
from tidemill.middleware import RunInfo
from tidemill.run import Run
from tidemill.schedule import rules
from tidemill.source import code_digest
from tidemill.sync_context import SyncContext

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FunctionType
    from typing import Unpack

    from tidemill.kernel.trigger import TriggerOptions, TriggerRequest
    from tidemill.options import Executor, TaskOptions
    from tidemill.retry import Retry
    from tidemill.run_context import Attempt, FindEvent
    from tidemill.source import Place

T = TypeVar("T")
In = TypeVar("In")
Out = TypeVar("Out")
Ret = TypeVar("Ret")
P = ParamSpec("P")
Co = Coroutine[Any, Any, T]


class Task(Hooked[Out], Generic[In, Out]):
    """A task: it takes a payload of type `In` and its runs result in an `Out`.

    Attributes:
        id: the task's stable name.
    """

    def __init__(self, task_id: str, payload: Codec[In], result: Codec[Out]) -> None:
        super().__init__()
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
        with its parent unless it is `detached`, or has a key, by which others may have started it.

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
        if inside() is None:
            return Run(await reached.trigger(request), reached, self._result)
        branch = here(f"{self.id}.trigger()")
        place = branch.place(f"trigger:{self.id}")
        if request.idempotency_key is not None:
            run = await trigger_keyed(branch.script, place, functools.partial(reached.trigger, request))
            return Run(run, reached, self._result)
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
        """Start a run durably, from code that isn't on an event loop; inside of a run as `trigger`.

        Args:
            payload: what the handler's first parameter gets; None where it takes none.
            **o: see `TriggerOptions`.

        Raises:
            ConflictError: an event loop runs in this thread.
            ContextError: the thread isn't that of a sync handler, but carries a run with it.
            PayloadError: as `trigger`; so do NotFoundError and ControlError.
        """
        if inside() is not None and not client.on_event_loop():
            branch = here(f"{self.id}.trigger_sync()")
            return branch.script.wait(branch, self.trigger(payload, **o))
        reached = client.current()
        return Run(reached.trigger_sync(self._request(payload, o)), reached, self._result)

    def decode_payload(self, raw: bytes) -> In:
        """Read a payload from JSON text.

        Raises:
            PayloadError: it doesn't fit the task's annotation.
        """
        return self._payload.decode(raw)

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
        executor: where a `def` handler is executed.
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
        _check_executor(given.executor, self.signature, function)
        _check_reply(given, self.signature)
        self.executor = given.executor
        self._middleware = given.middleware
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
        read = self.signature
        if read.context == "none" and read.takes != "event" and not read.dependencies:
            return self._function(*args, **kwargs)
        call = direct_call(self.definition, self.signature, self._payload, args, kwargs)
        return cast("Ret", call(self._function))

    def hooks_task(self) -> FnTask[Ended, None, [Ended, Context], Co[None]]:
        """Return the task that executes the hooks of runs that have ended."""

        async def hooks(ended: Ended, ctx: Context) -> None:
            await tell_of_end(self.hooks, self.id, self._result, ended, ctx)

        aliases = tuple(map(hooks_task, self.definition.aliases))
        given = options.Options(hooks_task(self.id), aliases, retry=HOOKS_RETRY, timeout=HOOKS_SECONDS)
        return FnTask(hooks, given)

    def _add_hook(self, hooks: list[Hook], function: Callable[..., Awaitable[None]]) -> None:
        super()._add_hook(hooks, function)
        digests = f"{self.definition.code}\n{code_digest(cast('FunctionType', function))}"
        code = hashlib.sha256(digests.encode()).hexdigest()[:16]
        self.definition = self.definition.model_copy(update={"hooks": self.hooks.of_ends, "code": code})

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
        frame = self._frame(arguments, attempt, find_event)
        return BoundCall(self.signature.is_async, self._function, args, kwargs, self._result, frame)

    def _frame(self, arguments: tuple[object, ...], attempt: Attempt, find_event: FindEvent) -> Frame | None:
        if not self._middleware and not self.signature.dependencies:
            return None
        run = RunInfo(attempt.run_id, self.id, attempt.number, arguments[0] if arguments else None)
        limit = self.definition.timeout
        return Frame(run, self._middleware, self.signature.dependencies, attempt, find_event, limit)


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
        schedules=rules(task_id, given.schedules, handler.takes, payload, handler.place),
        retry=given.retry.policy,
        concurrency=given.concurrency,
        timeout=given.timeout,
        max_duration=given.max_duration,
        takes=handler.takes,
        payload_schema=None if handler.takes == "none" else payload.schema,
        reply=given.reply,
        code=code_digest(cast("FunctionType", function)),
    )


def _check_names(task_id: str, given: options.Options, place: Place) -> None:
    if problem := id_problem(task_id.removesuffix(HOOKS_SUFFIX)):
        raise place.problem(f"the function's name {task_id!r} is no task id: {problem}", hint="give it id=")
    if task_id in given.aliases:
        raise place.problem(f"task {task_id!r} is its own alias", hint="aliases are earlier names")
    if given.where is not None and not given.on:
        raise place.problem(f"task {task_id!r} has where= but no event", hint="name the events in on=")
    if given.reply and not given.on:
        raise place.problem(f"task {task_id!r} has reply=True but no event", hint="name the events in on=")


def _check_executor(
    executor: Executor, handler: signature.HandlerSignature, function: Callable[..., Any]
) -> None:
    if executor != "auto" and handler.is_async:
        raise handler.place.problem(
            f"an async def handler is executed on the event loop, not in a {executor}",
            hint="write def, or leave out executor=",
        )
    if executor == "process" and "<locals>" in function.__qualname__:
        raise handler.place.problem(
            "a process finds its task again by its module and id, not inside of a function",
            hint="define it at the top of a module",
        )


def _check_reply(given: options.Options, handler: signature.HandlerSignature) -> None:
    if given.reply and (handler.context == "none" or given.executor == "process"):
        raise handler.place.problem(
            "reply=True needs a context, with which the handler replies",
            hint='add a parameter `ctx: Context`, and leave out executor="process"',
        )


@contextlib.contextmanager
def _at(place: Place) -> Iterator[None]:
    """Begin errors about a definition with its file and line."""
    try:
        yield
    except DefinitionError as error:
        raise place.problem(error.sentence, hint=error.hint) from error


def _same(event: Event[Any] | None) -> Event[Any] | None:
    return event
