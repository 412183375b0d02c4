"""A handler bound to one run's input: what the worker executes, and how its result is written down."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tidemill.event import Event, event_of
from tidemill.injection import provided
from tidemill.kernel.codec import Codec
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import PayloadError
from tidemill.middleware import around

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from tidemill.depends import Dependency
    from tidemill.middleware import Middleware, RunInfo
    from tidemill.run_context import Attempt, FindEvent

TRIGGERED_TYPE: Final = "tidemill.triggered"
TRIGGERED_SOURCE: Final = "tidemill"
_ANYTHING: Final[Codec[Any]] = Codec(Any, "data")


@dataclass(slots=True)
class RunInput:
    """What a run was started with.

    Attributes:
        facts: the attributes of the event that started it; None where it was triggered.
        raw: the event's body, or the payload as JSON text; None where only `payload` is known.
        payload: the payload as parsed JSON, looked at where `raw` is None.
    """

    facts: dict[str, Any] | None
    raw: bytes | None = None
    payload: Any = None
    _envelope: Envelope | None = field(default=None, init=False, repr=False)

    def envelope(self) -> Envelope | None:
        """Return the event that started the run, None where it was triggered."""
        if self._envelope is None and self.facts is not None:
            self._envelope = Envelope.from_facts(self.facts, self.raw or b"")
        return self._envelope

    def data(self, codec: Codec[Any]) -> Any:
        """Return the event's data, or the payload, in the type of the annotation.

        Raises:
            PayloadError: it doesn't fit; the sentence names the fields.
        """
        if self.facts is not None and self.facts.get("value") is not None:
            return codec.decode_value(self.facts["value"])
        if self.raw:
            return codec.decode(self.raw)
        return codec.decode_value(None if self.facts is not None else self.payload)

    def event(self, codec: Codec[Any], attempt: Attempt) -> Event[Any]:
        """Return the whole event for a handler that asks for it; a trigger is an event of its own.

        Raises:
            PayloadError: the data doesn't fit the annotation.
        """
        envelope = self.envelope()
        if envelope is not None:
            return event_of(envelope, self._any_data(codec) if codec.annotation is Any else self.data(codec))
        data = self.data(codec)
        return triggered_event(attempt, data, self.raw if self.raw is not None else codec.encode(data))

    def untyped_event(self) -> Event[Any] | None:
        """Return the event for `ctx.event`, its data as plain JSON; None where the run was triggered."""
        envelope = self.envelope()
        return None if envelope is None else event_of(envelope, self._any_data(_ANYTHING))

    def _any_data(self, codec: Codec[Any]) -> Any:
        """Return the data for whoever asks for none in particular: None where the body is no JSON.

        Such an event was released from the quarantine; its bytes are what there is of it.
        """
        try:
            return self.data(codec)
        except PayloadError:
            return None


def triggered_event(attempt: Attempt, data: object, raw: bytes) -> Event[Any]:
    """Return the event that stands for a trigger."""
    return Event(
        id=attempt.run_id,
        type=TRIGGERED_TYPE,
        source=TRIGGERED_SOURCE,
        subject=None,
        time=attempt.now(),
        data=data,
        raw=raw,
        headers={},
    )


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What goes around a handler's call: middleware, then what the handler depends on.

    Attributes:
        run: what the middleware is told.
        middleware: the first one is the outermost.
        dependencies: by parameter.
        attempt: what a provider's context stands for.
        find_event: returns the run's event.
        limit: seconds in which all that the handler depends on must be there.
    """

    run: RunInfo
    middleware: Sequence[Middleware]
    dependencies: Mapping[str, Dependency]
    attempt: Attempt
    find_event: FindEvent
    limit: float | None = None

    async def around(self, call: Callable[[dict[str, Any]], Awaitable[Any]]) -> Any:
        """Execute a call with what is provided for it, and return what the outermost middleware returns."""

        async def innermost() -> Any:
            async with provided(self.dependencies, self.attempt, self.find_event, self.limit) as values:
                return await call(values)

        return await around(self.middleware, self.run, innermost)


@dataclass(slots=True, unsafe_hash=True)
class BoundCall:
    """A handler with its arguments, ready to be executed once.

    Attributes:
        is_async: whether `invoke` gives a coroutine; else it blocks and belongs into a thread.
        frame: what goes around it; None where nothing does.
    """

    is_async: bool
    _function: Callable[..., Any]
    _args: tuple[object, ...]
    _kwargs: dict[str, object]
    _result: Codec[Any]
    frame: Frame | None = None

    def invoke(self) -> Any:
        """Call the handler: returns its coroutine, or executes it and returns what it returns."""
        if self.frame is None:
            return self._function(*self._args, **self._kwargs)
        if self.is_async:
            return self.frame.around(self._awaited)
        return in_private_loop(self.frame.around(self._at_once))

    async def within(self, execute: Callable[[Callable[[], Any]], Awaitable[Any]]) -> Any:
        """Execute a handler that blocks by means of `execute`, within its frame."""
        if self.frame is None:
            return await execute(self.invoke)
        return await self.frame.around(lambda values: execute(functools.partial(self._call, values)))

    def _call(self, values: Mapping[str, Any]) -> Any:
        return self._function(*self._args, **self._kwargs, **values)

    async def _awaited(self, values: Mapping[str, Any]) -> Any:
        return await self._call(values)

    async def _at_once(self, values: Mapping[str, Any]) -> Any:
        return self._call(values)

    def encode_result(self, value: object) -> bytes:
        """Return what the handler returned as JSON text, by its return annotation.

        Raises:
            PayloadError: it can't be serialised or isn't of that type; the sentence names the path inside.
        """
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            raise PayloadError(
                "the result is a coroutine that nobody awaited",
                hint="make the task's function, or the wrapper around it, an async def",
            )
        return self._result.encode(value)


def in_private_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Execute a coroutine to its end on a loop and in a thread of its own, for code that blocks."""
    result: Future[Any] = Future()
    surroundings = contextvars.copy_context()

    def execute() -> None:
        try:
            result.set_result(asyncio.run(coroutine))
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller
            result.set_exception(error)

    threading.Thread(target=surroundings.run, args=(execute,), name="tidemill-direct", daemon=True).start()
    return result.result()
