"""Waits: for time, signals, events and people. None of them holds anything while nothing happens."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import orjson

from tidemill.durable.port import Listening, OpenToken
from tidemill.event import event_of
from tidemill.kernel.clock import seconds
from tidemill.kernel.codec import Codec
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import ContextError
from tidemill.kernel.protocol.records import Wait

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, Mapping, Sequence

    from tidemill.durable.branch import Place
    from tidemill.durable.script import Script
    from tidemill.event import Event
    from tidemill.kernel.clock import Duration
    from tidemill.kernel.protocol.records import Item
    from tidemill.kernel.protocol.state import State

T = TypeVar("T")
RAISE: Final[Any] = object()
"""Stands for "raise `WaitTimeout`" where a wait could return something else."""


class WaitTimeout(TimeoutError):  # noqa: N818 - the word of the contract
    """What was waited for didn't come in time."""


@dataclass(frozen=True)
class Approval(Generic[T]):
    """What people have decided.

    Attributes:
        approved: whether they said yes.
        by: who decided: the last of those whose word counted.
        at: when.
        comment: what they said about it.
        data: what they gave with it, in the type of the form.
    """

    approved: bool
    by: str
    at: datetime
    comment: str
    data: T


async def sleep(script: Script, place: Place, duration: float | None, until: datetime | None) -> None:
    """Wait for a moment, which is fixed when the code asks for the first time."""
    await script.arrive()
    if script.recall(place) is not None:
        return
    known = script.state.waits.get(place.key)
    if known is None:
        await script.begin(place)
    if place.key in script.state.elapsed:
        script.told(place, known.until or 0.0 if known is not None else 0.0)
        return
    moment = known.until if known is not None and known.until else _moment(script, duration, until)
    if moment > script.port.now():
        await script.pend(Wait(key=place.key, kind="sleep", until=moment))
        if known is None:
            await script.remember(place)
            return
    script.told(place, moment)


def _moment(script: Script, duration: float | None, until: datetime | None) -> float:
    if until is not None:
        return until.timestamp()
    return script.port.now() + (duration or 0.0)


def sleep_until(duration: Duration | None, until: datetime | None) -> float | None:
    """Return a sleep's seconds, None where it is until a moment.

    Raises:
        ContextError: neither is given or both are, or the moment has no time zone.
        SettingsError: the duration is negative or none.
    """
    if (duration is None) == (until is None):
        raise ContextError("sleep needs a duration or until=, one of them", hint='ctx.sleep("10m")')
    if until is not None and until.utcoffset() is None:
        raise ContextError(f"{until} has no time zone", hint="write datetime(…, tzinfo=UTC)")
    return None if duration is None else seconds(duration)


class Mailbox:
    """A wait for items in one of the run's mailboxes, with a limit of time."""

    def __init__(self, script: Script, place: Place, wait: Wait, timeout: float | None) -> None:
        self._script = script
        self._place = place
        self._wait = wait
        self._timeout = timeout

    async def opened(self) -> Wait | None:
        """Return the wait with its moment fixed; None where its time was over before."""
        await self._script.arrive()
        step = self._script.recall(self._place)
        if step is not None:
            return None
        known = self._script.state.waits.get(self._place.key)
        if known is None and not self._script.state.decided(self._wait):
            await self._script.begin(self._place)
        until = known.until if known is not None else self._until()
        return _with(self._wait, until)

    async def decided(self, wait: Wait) -> bool:
        """Wait; say whether the mailbox has decided, and remember it where time was over instead."""
        script, place = self._script, self._place
        while not await script.pend(wait):

            def in_time(state: State, wait: Wait = wait) -> bool:
                return state.decided(wait)

            if await script.remember(place, unless=in_time, outcome="timed_out"):
                return False
        script.told(place)
        return True

    def _until(self) -> float | None:
        return None if self._timeout is None else self._script.port.now() + self._timeout


def _with(wait: Wait, until: float | None) -> Wait:
    return Wait(key=wait.key, kind=wait.kind, until=until, box=wait.box, need=wait.need, spare=wait.spare)


async def signal(script: Script, place: Place, name: str, model: type[T], timeout: float) -> T:
    """Wait for the next signal of a name; those that came early are kept in their order.

    Raises:
        WaitTimeout: none came in time.
    """
    box = f"signal:{name}"
    codec: Codec[T] = Codec(model, "signal")
    number = await _number(script, place, box, timeout)
    if number is None:
        raise WaitTimeout(f"no signal {name!r} within {timeout:g} s")
    items = list(script.state.boxes[box].values())
    return codec.decode_value(await _data(script, items[number]))


async def _number(script: Script, place: Place, box: str, timeout: float) -> int | None:
    """Return which signal this wait gets, and got whenever it was executed; None where it got none."""
    await script.arrive()
    known = script.recall(place)
    if known is not None and known.outcome == "timed_out":
        return None
    if known is not None:
        script.take(box, known.result)
        return int(known.result)
    await script.begin(place)
    while True:
        number = script.next_item(box)
        wait = Wait(key=place.key, kind="signal", box=box, need=number + 1)
        mailbox = Mailbox(script, place, wait, timeout)
        opened = await mailbox.opened()
        if opened is None or not await mailbox.decided(opened):
            return None
        if script.next_item(box) == number:  # another branch may have taken it meanwhile
            script.take(box, number)
            await script.remember(place, result=number)
            return number


async def event(  # noqa: PLR0913, PLR0917 - a wait for an event has these parts
    script: Script,
    place: Place,
    model: type[T],
    listening: Listening,
    timeout: float,
    default: Any = RAISE,
) -> Event[T] | Any:
    """Wait for the first event that matches.

    Raises:
        WaitTimeout: none came in time, and there is no default.
    """
    wait = Wait(key=place.key, kind="event", box=listening.box)
    mailbox = Mailbox(script, place, wait, timeout)
    opened = await mailbox.opened()
    if opened is not None and not script.state.decided(opened):
        await script.port.listen(_until(listening, opened.until))
    if opened is None or not await mailbox.decided(opened):
        if default is not RAISE:
            return default
        raise WaitTimeout(f"no event {listening.pattern!r} within {timeout:g} s")
    item = next(iter(script.state.boxes[listening.box].values()))
    envelope = Envelope.from_json(await _data(script, item))
    return event_of(envelope, Codec(model, "event's data").decode_value(envelope.data))


def as_json(name: str, values: Mapping[str, Any] | None) -> Any:
    """Return values as they are held against an event's.

    Raises:
        PayloadError: one can't be serialised.
    """
    codec: Codec[Any] = Codec(Any, name)
    return None if values is None else orjson.loads(codec.encode(values))


def _until(listening: Listening, until: float | None) -> Listening:
    return Listening(
        box=listening.box,
        pattern=listening.pattern,
        where=listening.where,
        params=listening.params,
        match=listening.match,
        lookback=listening.lookback,
        until=until,
    )


async def approval(  # noqa: PLR0913, PLR0917 - a decision has these parts
    script: Script,
    place: Place,
    name: str,
    form: Any,
    timeout: float,
    approvers: Sequence[str],
    quorum: int,
) -> Approval[Any]:
    """Wait until enough people have said yes, or one has said no.

    Raises:
        ContextError: the approvers can't make the quorum.
        WaitTimeout: they didn't in time.
    """
    _check_quorum(name, quorum, approvers)
    box = token_box(name)
    codec: Codec[Any] = Codec(form, "form")
    wait = Wait(key=place.key, kind="approval", box=box, need=quorum, spare=0)
    mailbox = Mailbox(script, place, wait, timeout)
    opened = await mailbox.opened()
    if opened is not None and not script.state.decided(opened):
        await script.port.open_token(
            OpenToken(
                key=box,
                name=name,
                approval=True,
                approvers=tuple(approvers),
                quorum=quorum,
                schema=codec.schema,
                until=opened.until,
            )
        )
    if opened is None or not await mailbox.decided(opened):
        raise WaitTimeout(f"nobody has decided on {name!r} within {timeout:g} s")
    script.answered(box, place)
    item = _deciding(script.state.boxes[box], quorum)
    facts = await _data(script, item) or {}
    return Approval(
        approved=item.ok,
        by=item.who,
        at=datetime.fromtimestamp(item.at, UTC),
        comment=str(facts.get("comment", "")),
        data=codec.decode_value(facts.get("data")) if item.ok else facts.get("data"),
    )


def _check_quorum(name: str, quorum: int, approvers: Sequence[str]) -> None:
    people = len(set(approvers))
    if quorum < 1 or (people and quorum > people):
        whom = f" of {people}" if people else ""
        raise ContextError(
            f"approval {name!r}: quorum is {quorum}{whom}", hint="between 1 and the number of its approvers"
        )


def _deciding(items: Mapping[str, Item], quorum: int) -> Item:
    """Return the item that decided: the first no, or the yes that made enough of them."""
    good = 0
    for item in items.values():
        good += item.ok
        if not item.ok or good == quorum:
            return item
    raise AssertionError("a decided mailbox has an item that decided")


def token_box(name: str) -> str:
    """Return the mailbox of a token or an approval."""
    return f"token:{name}"


class Token(Generic[T]):
    """A decision or a value that somebody outside gives the run; await it.

    Attributes:
        id: by which it is completed: `tidemill tokens complete ID`.
        url: the page on which it is completed; empty where no public address is configured.
    """

    def __init__(self, script: Script, place: Place, name: str, model: type[T], timeout: float) -> None:
        self._script = script
        self._place = place
        self._name = name
        self._codec: Codec[T] = Codec(model, "token")
        self._timeout = timeout
        self.id = token_id(script.port.run_id, name)
        self.url = script.port.token_url(token_box(name), script.port.now() + timeout)
        opened = OpenToken(
            key=token_box(name),
            name=name,
            approval=False,
            schema=self._codec.schema,
            until=script.port.now() + timeout,
        )
        if token_box(name) not in script.state.boxes:
            script.owe(functools.partial(script.port.open_token, opened))

    def __await__(self) -> Generator[Any, Any, T]:
        return self._value().__await__()

    def _value(self) -> Coroutine[Any, Any, T]:
        return self._wait()

    async def _wait(self) -> T:
        box = token_box(self._name)
        mailbox = Mailbox(
            self._script, self._place, Wait(key=self._place.key, kind="token", box=box), self._timeout
        )
        opened = await mailbox.opened()
        if opened is None or not await mailbox.decided(opened):
            raise WaitTimeout(f"nobody has completed {self._name!r} within {self._timeout:g} s")
        self._script.answered(box, self._place)
        item = next(iter(self._script.state.boxes[box].values()))
        return self._codec.decode_value((await _data(self._script, item) or {}).get("data"))


def token_id(run: str, name: str) -> str:
    """Return a token's id: its run and its name in it."""
    return f"{run}.{name}"


async def _data(script: Script, item: Item) -> Any:
    return item.data if item.blob is None else orjson.loads(await script.port.get_blob(item.blob))
