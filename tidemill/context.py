"""`Context`: what an async handler can ask and say while it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from tidemill.durable import children, races, replies, steps, waits
from tidemill.durable.children import Call, Map, Outcome
from tidemill.durable.port import Listening
from tidemill.durable.steps import Step
from tidemill.durable.waits import RAISE, Approval, Token
from tidemill.event import Event
from tidemill.kernel.clock import Duration, seconds
from tidemill.kernel.errors import ContextError
from tidemill.kernel.matching import check_wait
from tidemill.run_context import RunContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    from tidemill.task import Task

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
In = TypeVar("In")
Out = TypeVar("Out")
P = ParamSpec("P")
Co = Coroutine[Any, Any, T]


class Context(RunContext):
    """The run, as an async handler sees it; the handler's parameter that is annotated `Context`."""

    @overload
    def step(
        self, step: str | Step, fn: Callable[P, Co[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Co[T]: ...
    @overload
    def step(self, step: str | Step, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Co[T]: ...
    def step(self, step: str | Step, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Co[Any]:
        """Execute a function once in the run's life, and return what it has returned ever since.

        Args:
            step: its name, or a `Step` with options. In a loop names get a number by themselves.
            fn: a function, async or not; one that isn't is called in a thread.
            *args: its arguments.
            **kwargs: the same.

        Raises:
            PayloadError: its result can't be serialised; the sentence names the path inside.
        """
        options = step if isinstance(step, Step) else Step(step)
        branch = self._branch(f"step {options.name!r}")
        one = steps.OneStep(branch.script, branch.place(options.name), options, fn)
        return one.run(steps.attempt_of(branch.script, fn, args, kwargs))

    def sleep(
        self,
        duration: Duration | None = None,
        /,
        *,
        until: datetime | None = None,
        name: str | None = None,
    ) -> Co[None]:
        """Wait, for any time, without holding anything.

        Args:
            duration: seconds, text like `"10m"`, or a timedelta.
            until: a moment with a time zone, instead.
            name: what the wait is called in the run's history.

        Raises:
            SettingsError: the duration is negative, or none.
        """
        branch = self._branch("sleep")
        pause = waits.sleep_until(duration, until)
        return waits.sleep(branch.script, branch.place(name or "sleep"), pause, until)

    @overload
    def wait_for_event(
        self,
        type: str,
        model: type[T],
        /,
        *,
        name: str | None = None,
        match: Mapping[str, Any] | None = None,
        where: str | None = None,
        params: Mapping[str, Any] | None = None,
        lookback: Duration = 0,
        timeout: Duration,
    ) -> Co[Event[T]]: ...
    @overload
    def wait_for_event(
        self,
        type: str,
        model: type[T],
        /,
        *,
        name: str | None = None,
        match: Mapping[str, Any] | None = None,
        where: str | None = None,
        params: Mapping[str, Any] | None = None,
        lookback: Duration = 0,
        timeout: Duration,
        default: D,
    ) -> Co[Event[T] | D]: ...
    def wait_for_event(  # noqa: PLR0913 - what a wait for an event is made of, each by name
        self,
        type: str,  # noqa: A002 - CloudEvents' word, and it can't be passed by name
        model: type[Any],
        /,
        *,
        name: str | None = None,
        match: Mapping[str, Any] | None = None,
        where: str | None = None,
        params: Mapping[str, Any] | None = None,
        lookback: Duration = 0,
        timeout: Duration,
        default: Any = RAISE,
    ) -> Co[Any]:
        """Wait for an event.

        Args:
            type: a pattern over its type, as in a task's `on`.
            model: the type of its data.
            name: what the wait is called in the run's history.
            match: paths into its data and the values that must stand there: `{"issue.number": 7}`.
            where: a condition as a task's, in which `params` may be used too.
            params: the values of `params` in `where`.
            lookback: how old an event may be that came before the wait.
            timeout: how long to wait.
            default: what to return then, instead of raising.

        Raises:
            WaitTimeout: no event came in time, and there is no default.
            DefinitionError: the pattern or the condition can't be used.
            PayloadError: a value of `match` or `params` can't be serialised.
        """
        check_wait(type, where)
        branch = self._branch("wait_for_event")
        place = branch.place(name or f"event:{type}")
        listening = Listening(
            box=f"event:{place.key}",
            pattern=type,
            where=where,
            params=waits.as_json("params", params),
            match=waits.as_json("match", match),
            lookback=seconds(lookback),
        )
        return waits.event(branch.script, place, model, listening, seconds(timeout), default)

    @overload
    def wait_for_approval(
        self, name: str, /, *, timeout: Duration, approvers: Sequence[str] = ..., quorum: int = 1
    ) -> Co[Approval[None]]: ...
    @overload
    def wait_for_approval(
        self,
        name: str,
        form: type[T],
        /,
        *,
        timeout: Duration,
        approvers: Sequence[str] = ...,
        quorum: int = 1,
    ) -> Co[Approval[T]]: ...
    def wait_for_approval(
        self,
        name: str,
        form: Any = None,
        /,
        *,
        timeout: Duration,
        approvers: Sequence[str] = (),
        quorum: int = 1,
    ) -> Co[Approval[Any]]:
        """Wait until people have decided: `quorum` of them with yes, or one with no.

        Args:
            name: what is to be decided; unique in the run.
            form: the type of what they give with a yes.
            timeout: how long to wait.
            approvers: who may decide; by default everybody who can reach the run.
            quorum: how many must say yes.

        Raises:
            ContextError: `quorum` is less than one, or more than there are approvers.
            WaitTimeout: they haven't decided in time.
        """
        branch = self._branch("wait_for_approval")
        place = branch.place(f"approval:{name}")
        return waits.approval(branch.script, place, name, form, seconds(timeout), approvers, quorum)

    def wait_for_signal(self, name: str, model: type[T], /, *, timeout: Duration) -> Co[T]:
        """Wait for the next signal of a name; those that came early are kept in their order.

        Args:
            name: the signal's.
            model: the type of what it brings.
            timeout: how long to wait.

        Raises:
            WaitTimeout: none came in time.
        """
        branch = self._branch("wait_for_signal")
        return waits.signal(branch.script, branch.place(f"signal:{name}"), name, model, seconds(timeout))

    def token(self, name: str, model: type[T], /, *, timeout: Duration) -> Token[T]:
        """Return a token that somebody completes with a value: pass its `url` or `id` on, then await it.

        Args:
            name: what it is for; unique in the run.
            model: the type of the value.
            timeout: how long its await waits.
        """
        branch = self._branch("token")
        return Token(branch.script, branch.place(f"token:{name}"), name, model, seconds(timeout))

    @overload
    def gather(self, a: Awaitable[A], b: Awaitable[B], /) -> Co[tuple[A, B]]: ...
    @overload
    def gather(self, a: Awaitable[A], b: Awaitable[B], c: Awaitable[C], /) -> Co[tuple[A, B, C]]: ...
    @overload
    def gather(self, *aws: Awaitable[T]) -> Co[list[T]]: ...
    def gather(self, *aws: Awaitable[Any]) -> Co[Any]:
        """Run parts together and return their results in order; the first failure ends the others.

        Children are joined: the run is woken once, when the last has ended.
        """
        branch = self._branch("gather")
        calls = [one for one in aws if isinstance(one, Call)]
        if calls and len(calls) == len(aws):
            return children.join_all(branch.script, branch.place("gather"), calls)
        return races.together(branch.script, branch.place("gather"), aws)

    def settle(
        self, *aws: Awaitable[T], need: int | None = None, timeout: Duration | None = None
    ) -> Co[list[Outcome[T]]]:
        """Run parts together and return what has become of each, in order.

        Args:
            *aws: steps, waits, children.
            need: go on when so many children have completed, or can't any more.
            timeout: go on with those children that have ended by then.

        Raises:
            ContextError: `need` or `timeout` is given for something else than children, or makes no sense.
        """
        branch = self._branch("settle")
        calls = [one for one in aws if isinstance(one, Call)]
        if len(calls) < len(aws):
            if need is not None or timeout is not None:
                races.close_unbegun(aws)
                raise ContextError("settle: need= and timeout= are for children", hint="give it calls alone")
            return races.settle(aws)
        if need is not None and not 1 <= need <= len(calls):
            raise ContextError(f"settle: need is {need} of {len(calls)}", hint="between 1 and all of them")
        limit = None if timeout is None else seconds(timeout)
        return children.join_some(branch.script, branch.place("settle"), calls, need, limit)

    @overload
    def first(
        self, a: Awaitable[A], b: Awaitable[B], /
    ) -> Co[tuple[Literal[0], A] | tuple[Literal[1], B]]: ...
    @overload
    def first(self, *aws: Awaitable[T]) -> Co[tuple[int, T]]: ...
    def first(self, *aws: Awaitable[Any]) -> Co[Any]:
        """Return the number and the value of the part that is done first; the others are cancelled.

        Raises:
            ContextError: there is nothing to wait for.
        """
        branch = self._branch("first")
        if not aws:
            raise ContextError("first: there is nothing to wait for", hint="give it one awaitable at least")
        return races.first(branch.script, branch.place("first"), aws)

    def map(
        self,
        task: Task[In, Out],
        items: Iterable[In] | AsyncIterable[In],
        /,
        *,
        limit: int | None = None,
        name: str | None = None,
    ) -> Map[Out]:
        """Run a task for each item, up to 10,000: await it for a list, iterate it for one outcome at a time.

        Args:
            task: the children's.
            items: their payloads; the same ones whenever this code is executed again.
            limit: how many children run at a time; by default all.
            name: what the children are called in the run's history.
        """
        branch = self._branch("map")
        place = branch.place(name or f"map:{task.id}")
        return Map(branch.script, place, task.request, items, limit)

    def reply(self, body: object, *, status: int = 200, media_type: str = "application/json") -> Co[bool]:
        """Answer the sender of the run's event, who waits: `reply = "run"` of its source, `reply=True` here.

        The run's first reply counts, once in its life. One that can't be sent, or that nobody waits for any
        more, is no reason for the run to fail: the log says so, and the result is false.

        Args:
            body: bytes as they are, text, or what is written as JSON where the media type is one of JSON.
            status: 200 to 299 or 400 to 599.
            media_type: what the body is.

        Returns:
            Whether a sender was answered; the same whenever this code is executed again.
        """
        branch = self._branch("reply")
        return replies.reply(branch.script, branch.place(replies.STEP), body, status, media_type)

    def patched(self, change: str) -> Co[bool]:
        """Say whether this run takes the new way of a changed code: false where it had passed this point.

        Args:
            change: the change's name.
        """
        branch = self._branch("patched")
        return races.patched(branch.script, branch.place(f"patched:{change}"))
