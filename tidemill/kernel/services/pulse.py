"""How an installation is at this moment: queues, stores, roles and workers, as the broker knows them.

A look costs one request for each stream, one for 256 tasks, and one for each task that has something
waiting; nothing is scanned, however much there is.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel.jetstream import records
from tidemill.kernel.jetstream.inspection import TIMEOUT, consumer_infos, stream_info
from tidemill.kernel.jetstream.topology import MAILMAN, ROUTER
from tidemill.kernel.services.histories import abandoned, all_notes, lag
from tidemill.kernel.services.ticking import Ticking, ticking
from tidemill.kernel.subjects import unescape

if TYPE_CHECKING:
    from tidemill.kernel.services.broker import Broker

_STREAMS: Final = ("EVENTS", "RECORDS", "QUARANTINE", "TICKETS", "SIGNALS", "JOURNAL", "DEAD")
_ROLES: Final = {"EVENTS": ROUTER, "SIGNALS": MAILMAN}


@dataclass(frozen=True, slots=True)
class Queue:
    """The runs of a task that may go on.

    Attributes:
        task: the task's id, or an alias that still has runs.
        waiting: how many no worker has taken yet.
        executing: how many workers have taken.
        limit: how many may be taken at once, None for any number.
        since: when the one that waits longest began to, in seconds since 1970; None where none waits.
        paused: whether workers are given none.
    """

    task: str
    waiting: int
    executing: int
    limit: int | None
    since: float | None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Store:
    """A stream: what lies in it, and how many bytes may (None: as many as the disk takes)."""

    name: str
    messages: int
    bytes: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Pulse:
    """How an installation was at one moment.

    Attributes:
        at: when it was looked at, in seconds since 1970.
        queues: all that workers have served, by task.
        stores: the streams.
        lags: what a role has still to do, by its name.
        asleep: runs that wait for a time: retries, sleeps, delays and time limits.
        workers: what each worker that is alive says of itself.
        abandoned: journals that were ever closed though no history had seen them.
        schedules: how the schedules are.
    """

    at: float
    queues: tuple[Queue, ...]
    stores: tuple[Store, ...]
    lags: dict[str, int]
    asleep: int
    workers: tuple[dict[str, Any], ...]
    abandoned: int = 0
    schedules: Ticking = field(default_factory=Ticking)

    def store(self, name: str) -> Store:
        """Return a stream by its name."""
        return next(store for store in self.stores if store.name == name)

    def facts(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return asdict(self)


class Pulses:
    """Takes an installation's pulse; askers within `fresh` seconds get the same one."""

    def __init__(self, broker: Broker, *, fresh: float = 1.0, timeout: float = TIMEOUT) -> None:
        self._broker = broker
        self._fresh = fresh
        self._timeout = timeout
        self._last: Pulse | None = None
        self._taking = asyncio.Lock()

    async def take(self) -> Pulse:
        """Return how the installation is.

        Raises:
            BrokerError: the broker doesn't say.
        """
        async with self._taking:
            if self._last is None or time.time() - self._last.at > self._fresh:
                self._last = await self._look()
            return self._last

    async def _look(self) -> Pulse:
        stores, queues, lags, workers, schedules = await asyncio.gather(
            asyncio.gather(*(self._store(name) for name in _STREAMS)),
            self._queues(),
            asyncio.gather(*(self._lag(stream, role) for stream, role in _ROLES.items())),
            self._workers(),
            ticking(self._broker.schedules),
        )
        lags = [*lags, *await self._histories()]
        unseen = await abandoned(self._broker.history)
        taken = sum(queue.waiting + queue.executing for queue in queues)
        tickets = next(store.messages for store in stores if store.name == "TICKETS")
        asleep = max(0, tickets - taken)
        return Pulse(time.time(), queues, tuple(stores), dict(lags), asleep, workers, unseen, schedules)

    async def _store(self, name: str) -> Store:
        info = await stream_info(self._broker.bus, self._broker.names.stream(name), timeout=self._timeout)
        limit = info["config"].get("max_bytes", -1)
        return Store(name, info["state"]["messages"], info["state"]["bytes"], limit if limit > 0 else None)

    async def _queues(self) -> tuple[Queue, ...]:
        stream = self._broker.names.stream("TICKETS")
        infos = [one async for one in consumer_infos(self._broker.bus, stream, timeout=self._timeout)]
        queues = await asyncio.gather(*(self._queue(stream, info) for info in infos))
        return tuple(sorted(queues, key=lambda queue: queue.task))

    async def _queue(self, stream: str, info: dict[str, Any]) -> Queue:
        subject, limit = info["config"]["filter_subject"], info["config"].get("max_ack_pending", -1)
        since = None
        if info["num_pending"]:
            after = info["delivered"]["stream_seq"]
            first = await records.next_from_leader(self._broker.bus, stream, subject, start=after + 1)
            since = first.at if first is not None else None
        return Queue(
            unescape(self._broker.names.tokens(subject)[1]),
            info["num_pending"],
            info["num_ack_pending"],
            limit if limit > 0 else None,
            since,
            bool(info.get("paused")),
        )

    async def _lag(self, stream: str, role: str) -> tuple[str, int]:
        operation = f"CONSUMER.INFO.{self._broker.names.stream(stream)}.{role}"
        info = await self._broker.bus.api(operation, timeout=self._timeout)
        return role, info["num_pending"] + info["num_ack_pending"]

    async def _histories(self) -> list[tuple[str, int]]:
        """Return what the history has still to take in; of several the one that is furthest behind."""
        notes = await all_notes(self._broker.history)
        behind = [await lag(self._broker.bus, note) for note in notes.values()]
        return [("history", max(behind))] if behind else []

    async def _workers(self) -> tuple[dict[str, Any], ...]:
        entries = (await self._broker.workers.items()).values()
        return tuple(sorted((orjson.loads(entry) for entry in entries), key=lambda worker: str(worker["id"])))
