"""Watching events for drift: what providers change before anything breaks.

Of each type the first events and then one every few seconds are looked at, by a task of its own; the hot
path only decides whose turn it is. What is known of a type is learned from the events that were stored
before the process began, and from the first ones after it where there are too few. Findings are counted,
logged when they are new, and reported as records: new ones within a minute, others every ten.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from gateway.schemata.profile import ENOUGH, Finding, Known, described, differences, learn
from gateway.schemata.shape import shape_of
from tidemill.kernel.errors import TidemillError

if TYPE_CHECKING:
    from gateway.schemas import EventSchema

_log = logging.getLogger(__name__)

FIRST: Final = 50
EVERY: Final = 5.0
REPORT_EVERY: Final = 60.0
REPEAT_AFTER: Final = 10
MAX_TYPES: Final = 500
MAX_FINDINGS: Final = 100
QUEUE_LENGTH: Final = 100

History = Callable[[str], Awaitable[list[Any]]]
"""Returns the data of events of a full type that were stored before the process began."""
Report = Callable[[str, dict[str, Any]], None]
"""Keeps a record of a source."""


@dataclass(slots=True)
class _Turn:
    """When a type's next event is looked at."""

    left: int = FIRST
    due: float = 0.0


@dataclass(slots=True)
class _Watched:
    """One full type of events: what is known, and what was found since the last report."""

    source: str
    event_type: str
    label: str
    known: Known
    learned: int = 0
    findings: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    told: set[tuple[str, str]] = field(default_factory=set)
    quiet: int = REPEAT_AFTER

    def due(self) -> bool:
        """Say whether there is something to report: something new now, the rest every so many times."""
        self.quiet += 1
        return bool(self.findings) and self.quiet > REPEAT_AFTER

    def report(self) -> dict[str, Any]:
        """Return what was found since the last report, and begin anew."""
        found = [
            {"kind": kind, "path": path, "events": events, "example": example}
            for (kind, path), (events, example) in self.findings.items()
        ]
        self.findings, self.quiet = {}, 0
        return {"source": self.source, "type": self.event_type, "findings": found}


class DriftWatch:
    """Sees documents that fit their schema, and finds what is new about them.

    Attributes:
        looked: events that were looked at, by source and the schema's type.
        drifting: of them those that differ, by source, the schema's type and kind of finding.
        skipped: documents whose turn it was, but too many waited.
    """

    def __init__(
        self, history: History, report: Report, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.looked: dict[tuple[str, ...], int] = defaultdict(int)
        self.drifting: dict[tuple[str, ...], int] = defaultdict(int)
        self.skipped = 0
        self._history = history
        self._report = report
        self._clock = clock
        self._turns: dict[tuple[str, str], _Turn] = {}
        self._watched: dict[tuple[str, str], _Watched] = {}
        self._queue: asyncio.Queue[tuple[str, str, EventSchema, Any]] = asyncio.Queue(QUEUE_LENGTH)

    def __call__(self, source: str, event_type: str, schema: EventSchema, document: Any) -> None:
        """Keep a document to be looked at if it is its type's turn."""
        turn = self._turns.get((source, event_type))
        if turn is None:
            if len(self._turns) >= MAX_TYPES:
                return
            turn = self._turns[source, event_type] = _Turn()
        if turn.left > 0:
            turn.left -= 1
        else:
            moment = self._clock()
            if moment < turn.due:
                return
            turn.due = moment + EVERY
        try:
            self._queue.put_nowait((source, event_type, schema, document))
        except asyncio.QueueFull:
            self.skipped += 1

    async def run(self) -> None:
        """Look at what is kept and report what was found, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_at_all(), name="drift")
            group.create_task(self._report_regularly(), name="drift-reports")

    async def idle(self) -> None:
        """Wait until all that was kept has been looked at."""
        await self._queue.join()

    def report(self) -> None:
        """Report what was found since the last time."""
        for watched in self._watched.values():
            if watched.due():
                self._report(watched.source, watched.report())

    async def _look_at_all(self) -> None:
        while True:
            source, event_type, schema, document = await self._queue.get()
            try:
                self._look(await self._watch(source, event_type, schema), document)
            except Exception:  # noqa: BLE001 - a document that can't be looked at mustn't end the watch
                _log.exception("an event of %s.%s couldn't be compared", source, event_type)
            finally:
                self._queue.task_done()
            await asyncio.sleep(0)

    async def _watch(self, source: str, event_type: str, schema: EventSchema) -> _Watched:
        """Return what is known of a type, at first learned from its history."""
        key = (source, event_type)
        watched = self._watched.get(key)
        if watched is None:
            known = described(shape_of(schema.document))
            watched = self._watched[key] = _Watched(source, event_type, schema.event_type, known)
            for document in await self._past(source, event_type):
                learn(watched.known, document)
                watched.learned += 1
                await asyncio.sleep(0)
        return watched

    async def _past(self, source: str, event_type: str) -> list[Any]:
        """Return earlier events: a webhook's type begins with its source, other events' types are whole."""
        try:
            return await self._history(f"{source}.{event_type}") or await self._history(event_type)
        except TidemillError as error:
            _log.info("%s is learned anew, its stored events can't be read: %s", event_type, error.sentence)
            return []

    def _look(self, watched: _Watched, document: Any) -> None:
        self.looked[watched.source, watched.label] += 1
        found = list(islice(differences(watched.known, document), MAX_FINDINGS))
        if watched.learned < ENOUGH:
            learn(watched.known, document)
            watched.learned += 1
            found = [one for one in found if one.kind == "new_value"]
        for kind in {one.kind for one in found}:
            self.drifting[watched.source, watched.label, kind] += 1
        for place in {(one.kind, one.path): one for one in found}.values():
            _note(watched, place)

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY)
            self.report()


def _note(watched: _Watched, found: Finding) -> None:
    """Count a finding for the next report, and log it if it is new."""
    key = (found.kind, found.path)
    if key in watched.told:
        entry = watched.findings.setdefault(key, [0, found.example])
        entry[0] += 1
    elif len(watched.told) < MAX_FINDINGS:
        watched.told.add(key)
        watched.quiet = REPEAT_AFTER
        watched.findings[key] = [1, found.example]
        example = f" ({found.example})" if found.example else ""
        name = f"{watched.source}.{watched.event_type}"
        _log.warning("drift of %s: %s at %s%s", name, found.kind.replace("_", " "), found.path, example)
