"""All runs that fit a filter, as many as may be changed at once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidemill.history.scanning import PAGE_LIMIT

if TYPE_CHECKING:
    from tidemill.history.reader import HistoryReader
    from tidemill.history.rows import RunRow
    from tidemill.history.run_lists import RunQuery

SECONDS: Final = 10.0
"""How long is looked for them: a filter that fits nearly nothing looks at every row."""


@dataclass(frozen=True, slots=True)
class Selected:
    """Runs, the newest first; `complete` where these are all that fit."""

    rows: tuple[RunRow, ...]
    complete: bool


async def select_runs(
    history: HistoryReader, query: RunQuery, *, most: int, seconds: float = SECONDS
) -> Selected:
    """Return up to `most` runs that fit a query, page by page.

    Raises:
        PayloadError: the query can't be used.
        HistoryError: the history can't be asked.
    """
    found: dict[str, RunRow] = {}
    cursor: str | None = None
    deadline = time.monotonic() + seconds
    while True:
        page = await history.runs(query, cursor=cursor, limit=PAGE_LIMIT)
        found |= {row.id: row for row in page.rows}
        cursor = page.cursor
        if cursor is None or len(found) > most or time.monotonic() > deadline:
            return Selected(tuple(found.values())[:most], cursor is None and len(found) <= most)
