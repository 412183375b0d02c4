"""What operators have decided about tasks, above what their code says: paused, and how many runs at once.

The decision stands in a bucket; the broker's consumer is brought to it here, and by every worker that starts.
A paused consumer hands out nothing, whoever asks: its tickets wait in the stream, also those whose worker
dies meanwhile, and what is executed already goes on to its end (nats-server, "consumer pausing").
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel import clock
from tidemill.kernel.errors import BrokerError, PayloadError, WrongSequenceError
from tidemill.kernel.jetstream.task_consumers import has_task_consumer, limit_consumer, pause_consumer
from tidemill.kernel.protocol.hooks import hooks_task, told_task
from tidemill.kernel.subjects import escape, unescape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tidemill.kernel.definition import TaskDefinition
    from tidemill.kernel.services.broker import Broker

MOST: Final = 1_000_000
"""Runs at once that a limit may allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What stands above a task's definition.

    Attributes:
        paused: whether no run of it starts or goes on.
        limit: how many of its runs execute at once, None for what its code says.
        reason: why it is paused.
        by: who decided last.
        at: when, in seconds since the epoch.
    """

    paused: bool = False
    limit: int | None = None
    reason: str = ""
    by: str = ""
    at: float = 0.0

    @property
    def empty(self) -> bool:
        """Whether nothing stands above the definition."""
        return not self.paused and self.limit is None

    def told(self) -> str:
        """Return why a task is paused, in a sentence's end: since when, by whom, the reason."""
        by = f" by {self.by}" if self.by else ""
        reason = f" ({self.reason})" if self.reason else ""
        return f"since {clock.rfc3339_at(self.at)}{by}{reason}"


NOTHING_DECIDED: Final = Override()


class Overrides:
    """Reads and makes decisions about tasks."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._bucket = broker.overrides

    async def of(self, task: str) -> Override:
        """Return what was decided about a task; its hooks are paused with it, and never limited.

        Raises:
            BrokerError: the broker can't be asked.
        """
        stored = await self._bucket.get(escape(told_task(task)))
        override = _read(stored.value) if stored is not None else NOTHING_DECIDED
        return override if told_task(task) == task else replace(override, limit=None)

    async def all(self) -> dict[str, Override]:
        """Return what was decided, by task.

        Raises:
            BrokerError: the broker can't be asked.
        """
        return {unescape(key): _read(value) for key, value in (await self._bucket.items()).items()}

    async def pause(self, task: TaskDefinition, *, reason: str = "", by: str = "") -> Override:
        """Let no run of a task start or go on, nor its hooks; repeating it changes nothing.

        Raises:
            BrokerError: it isn't in force everywhere; repeating it is safe.
        """
        return await self._decide(
            task, lambda old: old if old.paused else replace(old, paused=True, reason=reason), by
        )

    async def resume(self, task: TaskDefinition, *, by: str = "") -> Override:
        """Let a task's runs go on.

        Raises:
            BrokerError: it isn't in force everywhere; repeating it is safe.
        """
        return await self._decide(task, lambda old: replace(old, paused=False, reason=""), by)

    async def limit(self, task: TaskDefinition, limit: int | None, *, by: str = "") -> Override:
        """Let so many runs of a task execute at once, with None as many as its code says.

        Raises:
            PayloadError: it is no such number.
            BrokerError: it isn't in force everywhere; repeating it is safe.
        """
        if limit is not None and (isinstance(limit, bool) or not 1 <= limit <= MOST):
            raise PayloadError(
                f"a limit of {limit} can't be used", hint=f"a number from 1 to {MOST}; pause stops a task"
            )
        return await self._decide(task, lambda old: replace(old, limit=limit), by)

    async def _decide(
        self, task: TaskDefinition, change: Callable[[Override], Override], by: str
    ) -> Override:
        """Write a decision, then bring the consumers to it; an unchanged one is brought into force again."""
        key = escape(task.id)
        while True:
            stored = await self._bucket.get(key)
            old = _read(stored.value) if stored is not None else NOTHING_DECIDED
            new = change(old)
            if new == old:
                break
            new = replace(new, by=by, at=time.time())
            try:
                revision = stored.revision if stored is not None else 0
                await self._bucket.put(key, orjson.dumps(asdict(new)), revision=revision)
                break
            except WrongSequenceError:
                continue  # somebody else has just decided: hold this against what they did
        await enforce(self._broker, (task.id, *task.aliases), new, limit=task.concurrency)
        return new


async def enforce(broker: Broker, names: Sequence[str], override: Override, *, limit: int | None) -> None:
    """Bring a task's consumers, those that there are, and its hooks' to a decision.

    `limit` is what the task's code says.

    Raises:
        BrokerError: the broker refused, or is away.
    """
    for name in names:
        if await has_task_consumer(broker.bus, name):
            await limit_consumer(broker.bus, name, limit=override.limit or limit)
            await pause_consumer(broker.bus, name, paused=override.paused)
        if await has_task_consumer(broker.bus, hooks_task(name)):
            await pause_consumer(broker.bus, hooks_task(name), paused=override.paused)


def document(task: str, override: Override) -> dict[str, Any]:
    """Return a decision as data."""
    return {"task": task, **asdict(override), "at": clock.rfc3339_at(override.at) if override.at else None}


def _read(stored: bytes) -> Override:
    try:
        facts: dict[str, Any] = orjson.loads(stored)
        return Override(**{name: facts[name] for name in Override.__slots__ if name in facts})
    except (orjson.JSONDecodeError, TypeError) as error:
        raise BrokerError(f"a decision about a task can't be read: {error}") from error
