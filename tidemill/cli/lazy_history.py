"""The history for commands that speak to the broker: its driver is imported by the first question only."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tidemill.history.reader import HistoryReader
    from tidemill.kernel.jetstream.records import Record
    from tidemill.kernel.services.origins import Origin
    from tidemill.kernel.settings.model import Settings


class LazyHistory:
    """The history that the settings name, opened for each question."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def origin(self, run_id: str) -> Origin:
        """Return what a run was started with.

        Raises:
            NotFoundError: the history has no such run.
            HistoryError: the history can't be asked.
        """
        async with self.open() as history:
            return await history.origin(run_id)

    async def logged(self, run: str, *, after: int, below: int, limit: int) -> list[Record]:
        """Return what a run has logged between two sequences of the stream.

        Raises:
            HistoryError: the history can't be asked.
        """
        async with self.open() as history:
            return await history.logged(run, after=after, below=below, limit=limit)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[HistoryReader]:
        """Open it."""
        from tidemill.history.database import locate  # noqa: PLC0415 - the database's driver delays --help
        from tidemill.history.reader import HistoryReader  # noqa: PLC0415 - the same

        reader = HistoryReader(locate(self._settings))
        try:
            yield reader
        finally:
            await reader.close()
