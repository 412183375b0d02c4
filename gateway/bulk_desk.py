"""Executes selections of runs beside the requests that ask for it: nobody has to wait for the last run."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from gateway.access.changes import note
from gateway.access.identity import name_of
from gateway.api.run_query import query_of
from tidemill.history.selecting import select_runs
from tidemill.kernel.errors import BrokerError, HistoryError
from tidemill.kernel.services.bulk import MOST, checked_statuses, checked_verb, told

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from tidemill.history.reader import HistoryReader
    from tidemill.history.rows import RunRow
    from tidemill.kernel.services.bulk import BulkActions, Progress, Selection

FIRST: Final = 20
"""So many runs of a selection are shown."""
_RETRY_SECONDS: Final = 2.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class BulkDesk:
    """Selections and their executions, for API and pages alike."""

    actions: BulkActions
    history: HistoryReader
    _working: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def select(
        self, request: Request, verb: object, where: Mapping[str, str], reason: str
    ) -> tuple[Selection, tuple[RunRow, ...]]:
        """Select the runs that fit a filter now; return the selection and the first of them.

        Raises:
            PayloadError: the filter or the action can't be used.
            HistoryError: the history can't be asked.
        """
        selection, found = await selected(
            self.actions, self.history, verb, where, reason, by=name_of(request)
        )
        return selection, found[:FIRST]

    async def execute(self, request: Request, token: str) -> dict[str, Any]:
        """Begin to execute a selection, or go on with it, and say how far it is.

        Raises:
            NotFoundError: there is none with this token.
        """
        selection, progress = await self.actions.find(token)
        where = " ".join(f"{name}={value}" for name, value in selection.where.items())
        note(request, runs=str(progress.total), of=f"{selection.verb} {where}", before=str(progress.next))
        if not progress.over:
            self._begin(token, name_of(request))
        return told(selection, progress) | ({} if progress.over else {"state": "running"})

    async def look(self, token: str) -> dict[str, Any]:
        """Return how far a selection is.

        Raises:
            NotFoundError: there is none with this token.
        """
        return told(*await self.actions.find(token))

    async def stop(self) -> None:
        """Stop working; another process may go on."""
        working = list(self._working.values())
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)

    def _begin(self, token: str, by: str) -> None:
        if token not in self._working:
            task = asyncio.create_task(self._work(token, by), name=f"bulk {token}")
            self._working[token] = task
            task.add_done_callback(lambda _: self._working.pop(token, None))

    async def _work(self, token: str, by: str) -> None:
        while True:
            try:
                last: Progress | None = None
                async for progress in self.actions.execute(token, by=by):
                    last = progress
            except (BrokerError, HistoryError) as error:
                _log.warning("selection %s waits: %s", token, error.sentence)
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:  # noqa: BLE001 - nobody waits for this task: what it raises is told here
                _log.exception("selection %s is interrupted", token)
                return
            else:
                if last is not None:
                    _log.info("selection %s: %d done, %d refused", token, last.done, last.refused)
                return


async def selected(  # noqa: PLR0913, PLR0917 - what a selection is made of
    actions: BulkActions,
    history: HistoryReader,
    verb: object,
    where: Mapping[str, str],
    reason: str,
    by: str,
) -> tuple[Selection, tuple[RunRow, ...]]:
    """Select the runs that fit a filter now; return the selection and all of them.

    Raises:
        PayloadError: the filter or the action can't be used.
        HistoryError: the history can't be asked.
    """
    wanted, query = checked_verb(verb), query_of(where)
    statuses = checked_statuses(wanted, query.statuses)
    found = await select_runs(history, replace(query, statuses=statuses), most=MOST)
    runs = [row.id for row in found.rows]
    selection = await actions.select(wanted, runs, where=where, complete=found.complete, reason=reason, by=by)
    return selection, found.rows
