"""Executes selections beside the requests that ask for it: nobody has to wait for the last run."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gateway.access.changes import note
from gateway.access.identity import name_of
from tidemill.kernel.errors import BrokerError, HistoryError
from tidemill.kernel.services.bulk import told

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.choosing import Chooser, Order
    from tidemill.kernel.services.bulk import BulkActions, Progress, Selection

_RETRY_SECONDS: Final = 2.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class BulkDesk:
    """Selections and their executions, for API and pages alike."""

    actions: BulkActions
    chooser: Chooser
    _working: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def select(self, request: Request, order: Order) -> tuple[Selection, list[dict[str, Any]]]:
        """Select what fits a filter now; return the selection and the first of it.

        Raises:
            PayloadError: the filter or the action can't be used.
            HistoryError: runs are asked for, and the history can't be.
            BrokerError: the broker can't be asked.
        """
        return await self.chooser.select(self.actions, order, name_of(request))

    async def execute(self, request: Request, token: str) -> dict[str, Any]:
        """Begin to execute a selection, or go on with it, and say how far it is.

        Raises:
            NotFoundError: there is none with this token.
        """
        selection, progress = await self.actions.find(token)
        note(request, **selection.noted(progress))
        if not progress.over:
            self._begin(token, name_of(request))
        return told(selection, progress) | ({} if progress.over else {"state": "running"})

    async def look(self, token: str) -> dict[str, Any]:
        """Return how far a selection is.

        Raises:
            NotFoundError: there is none with this token.
        """
        return told(*await self.actions.find(token))

    async def wait(self, token: str, within: float) -> None:
        """Wait until nobody here works on a selection, for so many seconds at most."""
        if (task := self._working.get(token)) is not None:
            await asyncio.wait({task}, timeout=within)

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
