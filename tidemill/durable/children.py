"""Children: runs that a run starts, each once whatever crashes, and joins that wake their parent once."""

from __future__ import annotations

from collections.abc import AsyncIterable, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from tidemill.durable.branch import here
from tidemill.durable.port import Child
from tidemill.kernel.errors import ContextError, RunFailedError
from tidemill.kernel.protocol.records import Parent, Spawned, Wait
from tidemill.kernel.subjects import child_index, run_of_child

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping, Sequence

    from tidemill.durable.branch import Place
    from tidemill.durable.script import Script
    from tidemill.kernel.codec import Codec
    from tidemill.kernel.protocol.records import Item

T = TypeVar("T")
Out = TypeVar("Out")
MOST: Final = 10_000
DEEPEST: Final = 100
"""Generations of children below a run that nobody waits for."""
_CHUNK: Final = 500


@dataclass(frozen=True)
class Ok(Generic[T]):
    """The result of what has completed."""

    value: T


@dataclass(frozen=True)
class Failed:
    """Why something hasn't completed: the error's message and type, and the run where it is one."""

    error: str
    type: str
    run_id: str | None


Outcome = Ok[T] | Failed


@dataclass(frozen=True, slots=True)
class Request:
    """A child that is asked for: its task, its input as JSON text, how its result is read, its options."""

    task: str
    payload: bytes
    result: Codec[Any]
    options: Mapping[str, Any] = field(default_factory=dict)


class Family:
    """The children of one call on the context."""

    def __init__(self, script: Script, place: Place, task: str) -> None:
        self._script = script
        self._place = place
        self._task = task
        script.ask(place)

    def run_of(self, index: int) -> str:
        """Return a child's id, the same whenever it is asked for."""
        spawned = self._script.state.spawned.get(self._place.key)
        parent = spawned.run if spawned is not None else ""
        return run_of_child(parent or self._script.port.run_id, child_index(self._place.key, index))

    async def spawn(self, requests: Sequence[Request], *, first: int = 0, detached: bool = False) -> None:
        """Create children, those that may exist already again: that changes nothing."""
        script, key = self._script, self._place.key
        count = first + len(requests)
        spawned = script.state.spawned.get(key)
        if spawned is not None and first == 0:
            script.check(self._place, spawned.after)
        if spawned is None or spawned.count < count:
            if spawned is None:
                if not detached:
                    self._depth()
                await script.begin(self._place)
            record = Spawned(
                rid=script.port.next_rid(),
                key=key,
                task=self._task,
                count=count,
                after=self._place.after,
                detached=detached,
                at=script.port.now(),
            )
            await script.port.remember(record)
        created = script.state.children.get(key, 0)
        if created < count:
            fresh = [
                self._child(first + offset, request, told=not detached)
                for offset, request in enumerate(requests)
                if first + offset >= created and str(first + offset) not in self.box
            ]
            await script.port.create_children(fresh)

    def _child(self, index: int, request: Request, *, told: bool) -> Child:
        parent = None
        if told:
            parent = Parent(
                run=self._script.port.run_id, box=self._place.key, index=index, depth=self._depth()
            )
        return Child(self.run_of(index), request.task, request.payload, parent, request.options)

    def _depth(self) -> int:
        """Return how many generations are above a child.

        Raises:
            ContextError: too many: tasks that call each other never come to an end.
        """
        created = self._script.state.created
        depth = created.parent.depth + 1 if created is not None and created.parent is not None else 1
        if depth > DEEPEST:
            raise ContextError(
                f"{self._place.key!r} would be generation {depth + 1} of runs that wait for each other",
                hint=f"{DEEPEST} generations of children are the limit: do these tasks call each other?",
            )
        return depth

    @property
    def box(self) -> dict[str, Item]:
        """The ends of children that the run has heard of."""
        return self._script.state.boxes.get(self._place.key, {})

    async def join(self, need: int, spare: int | None, until: float | None = None) -> bool:
        """Wait for so many children; say whether there were as many before the time was over."""
        wait = Wait(
            key=self._place.key, kind="children", until=until, box=self._place.key, need=need, spare=spare
        )
        return await self._script.pend(wait)

    def told(self) -> None:
        """Note that the code is through with them."""
        spawned = self._script.state.spawned.get(self._place.key)
        self._script.told(self._place, spawned.at if spawned is not None else 0.0)

    async def outcome(self, index: int, codec: Codec[Any]) -> Outcome[Any]:
        """Return what has become of a child that has ended."""
        item = self.box[str(index)]
        if not item.ok:
            fault = item.fault
            kind, message = (fault.type, fault.message) if fault is not None else ("failed", "")
            return Failed(message, kind, item.run or self.run_of(index))
        if item.blob is not None:
            return Ok(codec.decode(await self._script.port.get_blob(item.blob)))
        if item.run is not None:
            return Ok(codec.decode(await self._script.port.result_of(item.run)))
        return Ok(codec.decode_value(item.data))

    async def value(self, index: int, codec: Codec[Any], task: str = "") -> Any:
        """Return a child's result; `task` is its task, where the call has children of several.

        Raises:
            RunFailedError: it hasn't completed.
        """
        outcome = await self.outcome(index, codec)
        if isinstance(outcome, Ok):
            return outcome.value
        raise child_error(task or self._task, outcome)

    def first_failure(self, count: int) -> int | None:
        """Return the child whose failure the run has heard of first."""
        for who, item in self.box.items():
            if not item.ok and int(who) < count:
                return int(who)
        return None

    async def cancel_rest(self, count: int, reason: str) -> None:
        """Ask for the end of those that haven't ended, unless another run has started them."""
        spawned = self._script.state.spawned.get(self._place.key)
        if spawned is not None and spawned.run:
            return
        rest = [self.run_of(index) for index in range(count) if str(index) not in self.box]
        if rest:
            await self._script.port.cancel_runs(rest, reason)


def child_error(task: str, failed: Failed) -> RunFailedError:
    """Return what is raised where a child's result was wanted and it has none."""
    return RunFailedError(
        f"{failed.run_id} of task {task} hasn't completed: {failed.type}: {failed.error}",
        hint=f"tidemill runs show {failed.run_id} tells why; ctx.settle collects failures instead",
        run_id=failed.run_id or "",
        state="failed",
        error_type=failed.type,
    )


class Call(Generic[Out]):
    """A child that has not started yet: await it, or give it to `ctx.gather`, `ctx.settle`, `ctx.first`."""

    def __init__(self, request: Request, name: str | None) -> None:
        """Take the child's place in the code; it is created when it is awaited.

        Raises:
            ContextError: the code isn't a durable run's.
        """
        branch = here(f"{request.task}.call()")
        self.script = branch.script
        self.place = branch.place(name or f"call:{request.task}")
        self.request = request

    def __await__(self) -> Generator[Any, Any, Out]:
        return self._result().__await__()

    async def _result(self) -> Out:
        await self.script.arrive()
        family = Family(self.script, self.place, self.request.task)
        await family.spawn([self.request])
        await family.join(1, None)
        family.told()
        result: Out = await family.value(0, self.request.result)
        return result


async def join_all(script: Script, place: Place, calls: Sequence[Call[Any]]) -> list[Any]:
    """Run children together and return their results in order; the first failure ends the others.

    Raises:
        RunFailedError: one hasn't completed.
    """
    requests = [call.request for call in calls]
    await script.arrive()
    family = Family(script, place, _tasks(requests))
    await family.spawn(requests)
    await family.join(len(calls), 0)
    family.told()
    failed = family.first_failure(len(calls))
    if failed is not None:
        await family.cancel_rest(len(calls), "a sibling has failed")
        await family.value(failed, requests[failed].result, requests[failed].task)
    return [await family.value(index, request.result) for index, request in enumerate(requests)]


async def join_some(
    script: Script, place: Place, calls: Sequence[Call[Any]], need: int | None, timeout: float | None
) -> list[Outcome[Any]]:
    """Run children together and return what became of each: when all ended, enough completed, or in time."""
    requests = [call.request for call in calls]
    await script.arrive()
    family = Family(script, place, _tasks(requests))
    await family.spawn(requests)
    ended = await _ended(script, place, family, len(calls), need, timeout)
    family.told()
    await family.cancel_rest(len(calls), "its parent waits for it no longer")
    return [
        await family.outcome(index, request.result)
        if index in ended
        else Failed("it hadn't ended when its parent went on", "Unfinished", family.run_of(index))
        for index, request in enumerate(requests)
    ]


async def _ended(  # noqa: PLR0913, PLR0917 - a join has these parts
    script: Script, place: Place, family: Family, count: int, need: int | None, timeout: float | None
) -> set[int]:
    """Wait for a join and return who had ended by then: that is remembered, since others end later."""
    if (step := script.state.steps.get(place.key)) is not None:
        return set(step.result)
    known = script.state.waits.get(place.key)
    until = known.until if known is not None else None
    if known is None and timeout is not None:
        until = script.port.now() + timeout
    await family.join(need if need is not None else count, count - need if need is not None else None, until)
    ended = sorted(int(who) for who in family.box)
    if need is not None or timeout is not None:
        await script.remember(place, result=ended)
    return set(ended)


def _tasks(requests: Sequence[Request]) -> str:
    return ", ".join(dict.fromkeys(request.task for request in requests))


class Map(Generic[Out]):
    """A task over many items: await it for the list of results, or iterate it for one outcome at a time."""

    def __init__(
        self,
        script: Script,
        place: Place,
        requests: Callable[[Any], Request],
        items: Iterable[Any] | AsyncIterable[Any],
        limit: int | None,
    ) -> None:
        if limit is not None and limit < 1:
            raise ContextError(f"map: limit is {limit}", hint="at least one child has to run at a time")
        if isinstance(items, Sized) and len(items) > MOST:
            raise _too_many()
        self._script = script
        self._place = place
        self._request = requests
        self._items = items
        self._limit = limit

    def __await__(self) -> Generator[Any, Any, list[Out]]:
        return self._results().__await__()

    async def __aiter__(self) -> AsyncIterator[Outcome[Out]]:
        family, count, codec = await self._ended(spare=None)
        for index in range(count):
            yield await family.outcome(index, codec)

    async def _results(self) -> list[Out]:
        family, count, codec = await self._ended(spare=0)
        failed = family.first_failure(count)
        if failed is not None:
            await family.cancel_rest(count, "a sibling has failed")
            await family.value(failed, codec)
        return [await family.value(index, codec) for index in range(count)]

    async def _ended(self, spare: int | None) -> tuple[Family, int, Any]:
        """Create all children, as many at a time as may run, and wait for the last of them."""
        family: Family | None = None
        count, chunk, codec = 0, list[Request](), None
        async for item in _each(self._items):
            request = self._request(item)
            codec = request.result
            await self._script.arrive()
            family = family or Family(self._script, self._place, request.task)
            chunk.append(request)
            count += 1
            if count > MOST:
                raise _too_many()
            if len(chunk) == min(_CHUNK, self._limit or _CHUNK):
                await self._release(family, chunk, count, spare)
                chunk = []
        await self._script.arrive()
        family = family or Family(self._script, self._place, "")
        if chunk:
            await self._release(family, chunk, count, spare)
        if count:
            await family.join(count, spare)
        family.told()
        return family, count, codec

    async def _release(self, family: Family, chunk: Sequence[Request], count: int, spare: int | None) -> None:
        """Create one chunk, once enough of those before it have ended."""
        running = count - len(family.box)
        if self._limit is not None and running > self._limit and count > len(chunk):
            await family.join(count - self._limit, spare)
            if spare is not None and family.first_failure(count) is not None:
                return
        await family.spawn(chunk, first=count - len(chunk))


def _too_many() -> ContextError:
    return ContextError(f"map: more than {MOST} items", hint="split them: map over batches of items")


async def _each(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def trigger(script: Script, place: Place, request: Request, *, detached: bool) -> str:
    """Start a child that nobody waits for, once, and return its id."""
    await script.arrive()
    family = Family(script, place, request.task)
    await family.spawn([request], detached=detached)
    family.told()
    return family.run_of(0)


async def trigger_keyed(script: Script, place: Place, start: Callable[[], Awaitable[str]]) -> str:
    """Start a run whose key may belong to another run already, and return its id, the same ever after."""
    await script.arrive()
    known = script.recall(place)
    if known is not None:
        return str(known.result)
    await script.begin(place)
    run = await start()
    await script.remember(place, result=run)
    return run
