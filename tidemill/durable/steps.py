"""Steps: named parts of a run that are executed once, and remembered with what they returned."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
import typing
from collections.abc import Awaitable, Coroutine
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.durable.branch import InStep, enter, leave
from tidemill.durable.failures import facts_of, fault_of_step, rebuilt
from tidemill.kernel import backoff
from tidemill.kernel.clock import seconds
from tidemill.kernel.codec import Codec
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.protocol import records
from tidemill.kernel.protocol.records import Wait
from tidemill.retry import Abort, RetryAfter

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tidemill.durable.branch import Place
    from tidemill.durable.script import Script
    from tidemill.kernel.clock import Duration
    from tidemill.retry import Retry

INLINE_LIMIT: Final = 128 * 1024
_MESSAGE_LIMIT: Final = 10_000


@dataclass(frozen=True)
class Step:
    """How a step is executed.

    Attributes:
        name: by which it is remembered; in a loop it gets a number by itself.
        retry: when it is tried again by itself, without the rest of the run; by default it isn't.
        timeout: bound of one try.
        returns: the type of its result, where the function's annotation doesn't say it.
    """

    name: str
    retry: Retry | None = None
    timeout: Duration | None = None
    returns: Any = None


class OneStep:
    """One step of a run, while the code asks for it."""

    def __init__(self, script: Script, place: Place, options: Step, function: Callable[..., Any]) -> None:
        self._script = script
        self._place = place
        self._options = options
        self._codec = _codec_of(function, options.returns)

    @property
    def key(self) -> str:
        """By which the step is remembered."""
        return self._place.key

    async def run(self, attempt: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Return the step's result: from the journal, or by executing it now."""
        if (known := await self.find()) is not None:
            return await self.read(known)
        while True:
            await self.wait_for_next_try()
            try:
                value = await self._execute(attempt)
            except Exception as error:  # noqa: BLE001 - a step may raise anything; what it is is decided there
                await self.fail(error)
            else:
                return await self.keep(value)

    async def _execute(self, attempt: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        self.begins()
        token = enter(InStep(self._place.key))
        try:
            with self.span():
                return await self._bounded(attempt())
        finally:
            leave(token)  # what is written down of it is the handler's again

    def span(self) -> AbstractContextManager[object]:
        """Record one try of the step, for who looks at traces."""
        return self._script.port.span(f"step {self._options.name}")

    def begins(self) -> None:
        """Say that the step's function is about to be called."""
        self._script.port.executing(self._place.key)

    async def find(self) -> records.Step | None:
        """Return what the journal has of the step; None when it is to be executed now."""
        await self._script.arrive()
        known = self._script.recall(self._place)
        if known is None:
            await self._script.begin(self._place)
        return known

    async def wait_for_next_try(self) -> None:
        """Wait until a step that has failed may be tried again."""
        tries = self._script.state.tries.get(self._place.key)
        if tries and tries[-1].until is not None:
            await self._script.pend(Wait(key=self._place.key, kind="retry of step", until=tries[-1].until))

    async def keep(self, value: Any) -> Any:
        """Write a result down and return it as it is read back: the same type now and after a crash.

        Raises:
            PayloadError: it can't be serialised; the sentence names the path inside.
        """
        if inspect.isawaitable(value):
            raise PayloadError(
                f"step {self._place.key!r} returned something that must be awaited",
                hint="pass the async function itself: ctx.step(name, function, argument)",
            )
        encoded = self._encoded(value)
        if len(encoded) > INLINE_LIMIT:
            await self._script.remember(self._place, blob=await self._script.port.put_blob(encoded))
        else:
            result = None if encoded == b"null" else orjson.Fragment(encoded)
            await self._script.remember(self._place, result=result)
        return self._codec.decode(encoded)

    async def read(self, step: records.Step) -> Any:
        """Return what a finished step has returned, or raise what it has raised."""
        if step.outcome == "failed":
            raise rebuilt(step.fault, step.result)
        if step.blob is not None:
            return self._codec.decode(await self._script.port.get_blob(step.blob))
        if isinstance(step.result, orjson.Fragment):
            return self._codec.decode(orjson.dumps(step.result))
        return self._codec.decode_value(step.result)

    async def fail(self, error: Exception) -> None:
        """Return where the step is to be tried again; else have its failure remembered, and raise it."""
        place, script = self._place, self._script
        failures = len(script.state.tries.get(place.key, ())) + 1
        fault = fault_of_step(error, failures, script.port.now())
        delay = self._delay(error, failures)
        if delay is not None:
            await script.remember(place, outcome="again", fault=fault, until=script.port.now() + delay)
            return
        script.told(place)
        # It counts once the handler has dealt with it: a handler that fails of it executes it anew.
        facts = facts_of(error)
        script.owe(functools.partial(script.remember, place, outcome="failed", fault=fault, result=facts))
        raise error

    def _delay(self, error: Exception, failures: int) -> float | None:
        """Return the seconds until the next try, None where there is none."""
        retry = self._options.retry
        if retry is None or isinstance(error, Abort) or not retry.applies_to(error):
            return None
        if failures >= retry.max_attempts:
            return None
        if isinstance(error, RetryAfter):
            return error.seconds_from(datetime.fromtimestamp(self._script.port.now(), UTC))
        policy = retry.policy
        return backoff.delay(
            failures,
            factor=policy.factor,
            min_delay=policy.min_delay,
            max_delay=policy.max_delay,
            jitter=backoff.spread() if policy.jitter else None,
        )

    def bounded_call(self, call: Callable[[], Any]) -> Any:
        """Return what a call that blocks returns; one that is bounded gets a thread, which nothing can stop.

        Raises:
            TimeoutError: it takes longer than the step's timeout.
        """
        if self._options.timeout is None:
            return call()
        limit = seconds(self._options.timeout)
        done: Future[Any] = Future()
        whole = functools.partial(contextvars.copy_context().run, _fulfil, done, call)
        threading.Thread(target=whole, name=f"step {self._place.key}", daemon=True).start()
        if not wait_for_futures({done}, limit).done:
            raise self._took_too_long(limit)
        return done.result()

    def _took_too_long(self, limit: float | None) -> TimeoutError:
        return TimeoutError(f"step {self._place.key!r} took longer than {limit or 0.0:g} s")

    async def _bounded(self, attempt: Coroutine[Any, Any, Any]) -> Any:
        limit = None if self._options.timeout is None else seconds(self._options.timeout)
        bound = asyncio.timeout(limit)
        try:
            async with bound:
                return await attempt
        except TimeoutError as error:
            if not bound.expired():
                raise
            raise self._took_too_long(limit) from error

    def _encoded(self, value: Any) -> bytes:
        try:
            return self._codec.encode(value)
        except PayloadError as error:
            sentence = error.sentence.replace("the result", f"the result of step {self._place.key!r}", 1)
            raise PayloadError(sentence, hint=error.hint) from error


def attempt_of(
    script: Script, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[], Coroutine[Any, Any, Any]]:
    """Return what executes a step's function once: on the loop, or in a thread where it blocks."""
    call = functools.partial(function, *args, **kwargs)
    if inspect.iscoroutinefunction(inspect.unwrap(_inner(function))):
        return call

    async def in_thread() -> Any:
        value = await script.port.in_thread(call)
        return await value if inspect.isawaitable(value) else value

    return in_thread


def in_this_thread(
    one: OneStep, call: Callable[[], Any], wait: Callable[[Coroutine[Any, Any, Any]], Any]
) -> Any:
    """Return a step's result, executing it in the thread that calls; `wait` has the loop do the rest."""
    if (known := wait(one.find())) is not None:
        return wait(one.read(known))
    while True:
        wait(one.wait_for_next_try())
        one.begins()
        token = enter(InStep(one.key))
        try:
            with one.span():
                value = one.bounded_call(call)
        except Exception as error:  # noqa: BLE001 - a step may raise anything; what it is is decided there
            failure = error
        else:
            leave(token)
            return wait(one.keep(value))
        leave(token)
        wait(one.fail(failure))


def _fulfil(done: Future[Any], call: Callable[[], Any]) -> None:
    try:
        done.set_result(call())
    except BaseException as error:  # noqa: BLE001 - it belongs to the thread that waits
        done.set_exception(error)


def _inner(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    call = getattr(type(function), "__call__", None)  # noqa: B004 - the method itself is looked at
    return call if inspect.iscoroutinefunction(call) else function


def _codec_of(function: Any, returns: Any) -> Codec[Any]:
    annotation = returns if returns is not None else _annotated(_inner(function))
    try:
        return _cached_codec(annotation)
    except TypeError:  # an annotation that can't be hashed
        return Codec(annotation, "result")


@functools.lru_cache(maxsize=1024)
def _cached_codec(annotation: Any) -> Codec[Any]:
    return Codec(annotation, "result")


@functools.lru_cache(maxsize=1024)
def _annotated(function: Any) -> Any:
    """Return what a function says that it returns; anything, where it says nothing that can be read."""
    try:
        returns = typing.get_type_hints(inspect.unwrap(function), include_extras=True).get("return", Any)
    except Exception:  # noqa: BLE001 - names that exist for type checkers only
        return Any
    # A function that isn't async itself may return a coroutine: what that gives is the result.
    awaited = typing.get_origin(returns) in (Coroutine, Awaitable)
    return typing.get_args(returns)[-1] if awaited else returns
