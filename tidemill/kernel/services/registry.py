"""Who knows the tasks: definitions in the `TASKS` bucket, published by workers, read by everybody else."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import logging
import time
from collections.abc import Collection
from typing import Final

from tidemill.kernel import clock
from tidemill.kernel.definition import TaskDefinition, TaskEntry
from tidemill.kernel.errors import BrokerError, DefinitionError, NotFoundError, WrongSequenceError
from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.jetstream.messages import Subscription
from tidemill.kernel.schedules.decide import Wanted
from tidemill.kernel.subjects import escape, unescape

_POLL_SECONDS: Final = 1.0
_log = logging.getLogger(__name__)


class Definitions:
    """A view of all tasks. `refresh` brings it up to date, `follow` keeps it so.

    While it follows, `settle` makes sure that a definition that was acknowledged before is in the view.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._by_id: dict[str, TaskDefinition] = {}
        self._by_alias: dict[str, str] = {}
        self._active: tuple[TaskDefinition, ...] = ()
        self._schedules: dict[str, Wanted] = {}
        self.unknown: frozenset[str] = frozenset()
        """Tasks whose definitions this process can't read: another version has written them."""
        self._read_at = 0.0
        self._dirty = False
        self._unreadable: dict[str, bytes] = {}
        self._reading = asyncio.Lock()

    def active(self) -> tuple[TaskDefinition, ...]:
        """Return the definitions that events are matched with: those that no other one has renamed."""
        return self._active

    def find(self, name: str) -> TaskDefinition:
        """Return the definition of a task by its id or an alias.

        Raises:
            NotFoundError: there is none; the hint suggests the nearest names.
        """
        definition = self._by_id.get(self._by_alias.get(name, name))
        if definition is None:
            near = difflib.get_close_matches(name, [*self._by_id, *self._by_alias], n=3)
            raise NotFoundError(
                f"there is no task {name!r}",
                hint=f"did you mean {', '.join(near)}?" if near else "start a worker that serves it first",
            )
        return definition

    def schedules(self) -> dict[str, Wanted]:
        """Return the schedules of all active definitions by their ids, and since when each is in force."""
        return self._schedules

    async def refresh(self, *, newer_than: float | None = None) -> None:
        """Read all definitions again, unless they were read after the moment `newer_than` (epoch seconds).

        Raises:
            BrokerError: the bucket can't be read.
        """
        async with self._reading:
            if newer_than is not None and self._read_at > newer_than:
                return
            begun = time.time()
            self._dirty = False
            try:
                stored = await self._bucket.items()
            except BaseException:
                self._dirty = True
                raise
            entries = {key: self._read(key, value) for key, value in stored.items()}
            self.unknown = frozenset(unescape(key) for key, entry in entries.items() if entry is None)
            self._take([entry for entry in entries.values() if entry is not None])
            self._read_at = begun

    async def settle(self) -> None:
        """Bring the view up to date if a definition was written since it was read; costs nothing otherwise.

        Raises:
            BrokerError: the bucket can't be read.
        """
        if self._dirty:
            await self.refresh()

    async def follow(self, stopping: asyncio.Event) -> None:
        """Keep the view at most about a second old until `stopping` is set, and hear of every change."""
        hints: Subscription | None = None
        try:
            while not stopping.is_set():
                try:
                    hints = hints or await self._bucket.watch(self._hear)
                    await self.refresh()
                except BrokerError as error:
                    _log.warning("the task definitions were not read: %s", error.sentence)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), _POLL_SECONDS)
        finally:
            if hints is not None:
                await hints.stop()

    def _hear(self, _: str) -> None:
        self._dirty = True

    def _read(self, key: str, stored: bytes) -> TaskEntry | None:
        try:
            return TaskEntry.from_json(stored)
        except DefinitionError as error:
            if self._unreadable.get(key) != stored:  # once, not with every look
                self._unreadable[key] = stored
                _log.error("task %s: %s", key, error.sentence)
            return None

    def _take(self, entries: Collection[TaskEntry]) -> None:
        self._by_id = {entry.definition.id: entry.definition for entry in entries}
        self._by_alias = {a: d.id for d in self._by_id.values() for a in d.aliases}
        self._active = tuple(d for d in self._by_id.values() if d.id not in self._by_alias)
        since = {entry.definition.id: max(entry.seen.values()).timestamp() for entry in entries}
        self._schedules = {
            rule.id: Wanted(definition.id, rule, since[definition.id])
            for definition in self._active
            for rule in definition.schedules
        }


async def publish(bucket: Bucket, definition: TaskDefinition, *, force: bool = False) -> TaskDefinition:
    """Publish a task's definition; return the one that is in force, which may be a newer version's.

    With `force` it is always this one.

    Raises:
        BrokerError: the bucket can't be written.
    """
    key = escape(definition.id)
    while True:
        stored = await bucket.get(key)
        now = clock.now()
        before = _entry(key, stored.value) if stored is not None else None
        after = (
            TaskEntry.first(definition, now)
            if before is None
            else before.publish(definition, now, force=force)
        )
        if after is before:
            return after.definition
        try:
            await bucket.put(key, after.to_json(), revision=stored.revision if stored is not None else 0)
        except WrongSequenceError:
            continue
        return after.definition


async def remove(bucket: Bucket, task_id: str) -> None:
    """Forget a task: events don't start it any more. A worker that still serves it publishes it again."""
    await bucket.delete(escape(task_id))


def _entry(key: str, stored: bytes) -> TaskEntry | None:
    try:
        return TaskEntry.from_json(stored)
    except DefinitionError as error:
        _log.error("task %s is published anew: %s", key, error.sentence)
        return None
