"""The history as the gateway and the command line ask it: every query in a thread, with a limit of time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from tidemill.history import delivery_queries, event_queries, overview, run_details, run_lists, run_origins
from tidemill.history.cursors import Page
from tidemill.history.database import Database, open_database
from tidemill.history.delivery_queries import DeliveryQuery
from tidemill.history.event_queries import EventQuery
from tidemill.history.lineage import lineage
from tidemill.history.overview import ErrorQuery, ErrorState
from tidemill.history.rows import (
    Bucket,
    DeadRow,
    DeliveryRow,
    ErrorGroup,
    EventDetail,
    EventRow,
    Lineage,
    Position,
    QuarantineRow,
    RunDetail,
    RunRow,
)
from tidemill.history.run_lists import RunQuery
from tidemill.history.run_logs import logged
from tidemill.kernel.jetstream.records import Record
from tidemill.kernel.services.origins import Origin

QUERY_SECONDS: Final = 5.0
_THREADS: Final = 4
Given = ParamSpec("Given")
Found = TypeVar("Found")


class HistoryReader:
    """Queries of the history. The database is opened by the first one that finds it.

    Every method raises HistoryError where the database is away, not there yet, or takes longer than
    `seconds`; and PayloadError where a cursor belongs to another query.
    """

    def __init__(self, url: URL, *, seconds: float = QUERY_SECONDS) -> None:
        self._url = url
        self._seconds = seconds
        self._database: Database | None = None
        self._opening = asyncio.Lock()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="history")

    async def close(self) -> None:
        """Close the database."""
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        if self._database is not None:
            self._database.close()
            self._database = None

    async def runs(
        self, query: RunQuery | None = None, *, cursor: str | None = None, limit: int = 50
    ) -> Page[RunRow]:
        """Return a page of runs, the newest first."""
        return await self._ask(run_lists.list_runs, query or RunQuery(), cursor=cursor, limit=limit)

    async def run(self, run_id: str) -> RunDetail:
        """Return a run with its bodies, waterfall and nearest family.

        Raises:
            NotFoundError: the history has no such run.
        """
        return await self._ask(run_details.run_detail, run_id)

    async def origin(self, run_id: str) -> Origin:
        """Return what a run was started with.

        Raises:
            NotFoundError: the history has no such run.
        """
        return await self._ask(run_origins.run_origin, run_id)

    async def logged(self, run: str, *, after: int, below: int, limit: int) -> list[Record]:
        """Return what a run has logged between two sequences of the stream, the oldest messages first."""
        return await self._ask(logged, run, after=after, below=below, limit=limit)

    async def lineage(self, name: str) -> Lineage:
        """Return everything that belongs together with a run's or an event's id.

        Raises:
            NotFoundError: the history has no such run or event.
        """
        return await self._ask(lineage, name)

    async def events(
        self, query: EventQuery | None = None, *, cursor: str | None = None, limit: int = 50
    ) -> Page[EventRow]:
        """Return a page of events with their verdicts and runs, the newest first."""
        return await self._ask(event_queries.list_events, query or EventQuery(), cursor=cursor, limit=limit)

    async def event(self, event_id: str) -> EventDetail:
        """Return the newest event with an id.

        Raises:
            NotFoundError: the history has no such event.
        """
        return await self._ask(event_queries.event_detail, event_id)

    async def deliveries(
        self, query: DeliveryQuery | None = None, *, cursor: str | None = None, limit: int = 50
    ) -> Page[DeliveryRow]:
        """Return a page of requests with their verdicts, the newest first."""
        wanted = query or DeliveryQuery()
        return await self._ask(delivery_queries.list_deliveries, wanted, cursor=cursor, limit=limit)

    async def quarantine(
        self, *, source: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[QuarantineRow]:
        """Return a page of what has been put into quarantine, the newest first."""
        return await self._ask(delivery_queries.list_quarantine, source=source, cursor=cursor, limit=limit)

    async def quarantined(self, key: str) -> QuarantineRow:
        """Return one entry of the quarantine, with its body.

        Raises:
            NotFoundError: the history has no such entry.
        """
        return await self._ask(delivery_queries.quarantine_detail, key)

    async def dead(
        self, *, task: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[DeadRow]:
        """Return a page of dead letters, the newest first."""
        return await self._ask(delivery_queries.list_dead, task=task, cursor=cursor, limit=limit)

    async def errors(
        self, query: ErrorQuery | None = None, *, cursor: str | None = None, limit: int = 50
    ) -> Page[ErrorGroup]:
        """Return a page of groups of errors, those that came last first."""
        return await self._ask(overview.list_errors, query or ErrorQuery(), cursor=cursor, limit=limit)

    async def error(self, fingerprint: str) -> ErrorGroup:
        """Return one group of errors; its runs are `runs(RunQuery(fingerprint=…))`.

        Raises:
            NotFoundError: there is none.
        """
        return await self._ask(overview.error_group, fingerprint)

    async def mark_error(self, fingerprint: str, state: ErrorState, *, by: str, note: str = "") -> ErrorGroup:
        """Set a group of errors to `resolved` or `ignored`, or back to `open`.

        Raises:
            NotFoundError: there is no such group.
        """
        database = await self._open()

        def write() -> ErrorGroup:
            with database.writing() as connection:
                return overview.mark_error(connection, fingerprint, state, by=by, note=note)

        return await asyncio.get_running_loop().run_in_executor(self._threads, write)

    async def totals(self, *, task: str | None = None) -> dict[str, dict[str, int]]:
        """Return how many runs each task has in each status now."""
        return await self._ask(overview.totals, task=task)

    async def run_rates(
        self, *, span: int, since: float, until: float | None = None, task: str | None = None
    ) -> list[Bucket]:
        """Return how many runs were `created` and ended with each status, by minute (60) or hour (3600)."""
        return await self._ask(overview.run_rates, span=span, since=since, until=until, task=task)

    async def delivery_rates(
        self, *, span: int, since: float, until: float | None = None, source: str | None = None
    ) -> list[Bucket]:
        """Return how many requests had each verdict, by minute (60) or hour (3600)."""
        return await self._ask(overview.delivery_rates, span=span, since=since, until=until, source=source)

    async def positions(self) -> list[Position]:
        """Return how far each stream has been taken in."""
        return await self._ask(overview.where_it_stands)

    async def _ask(
        self,
        query: Callable[Concatenate[Connection, Given], Found],
        *given: Given.args,
        **named: Given.kwargs,
    ) -> Found:
        database = await self._open()

        def ask() -> Found:
            with database.reading(self._seconds) as connection:
                return query(connection, *given, **named)

        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)

    async def _open(self) -> Database:
        async with self._opening:
            if self._database is not None and self._database.gone:
                self._database.close()
                self._database = None
            if self._database is None:
                loop: Any = asyncio.get_running_loop()
                self._database = await loop.run_in_executor(
                    self._threads, lambda: open_database(self._url, create=False)
                )
            return self._database
