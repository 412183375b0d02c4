"""One page of an index, newest first, with the filters held against it that the index doesn't answer.

A page looks at some thousands of rows at most, and for a moment only: rows that nothing holds in memory take
as long as the disk does. What it didn't come to is left to the next page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, Select, Table, select

SCAN_LIMIT: Final = 10_000
"""Rows of an index that one page looks at."""
SECONDS: Final = 0.03
"""For how long a page looks on where its filters fit few rows."""
PAGE_LIMIT: Final = 500
"""Rows of a page at most."""
LAST: Final = 2**62
"""Above every number."""
_CHUNK: Final = 250
_LARGEST: Final = 1_000


class Budget:
    """For how long one page may look on; everything that makes it up shares one."""

    def __init__(self, seconds: float | None = None) -> None:
        self._until = time.monotonic() + (SECONDS if seconds is None else seconds)

    @property
    def spent(self) -> bool:
        """Whether it is over."""
        return time.monotonic() >= self._until


def look(  # noqa: PLR0913, PLR0917 - a query, and where to look
    connection: Connection,
    table: Table,
    base: Callable[[int], Select[Any]],
    below: int,
    rest: Mapping[str, Any],
    limit: int,
    budget: Budget | None = None,
) -> tuple[list[RowMapping], int | None]:
    """Return up to `limit` + 1 rows, and the number down to which all were found, None for all there are.

    Args:
        connection: where to look.
        table: what `base` selects from.
        base: makes the selection below a number that an index answers in descending order of `number`.
        below: the number that the first row must be below.
        rest: columns that must have these values.
        limit: how many rows are wanted.
        budget: for how long to look on; of its own by default.
    """
    if not rest:
        rows = list(connection.execute(base(below).limit(limit + 1)).mappings())
        return rows, rows[-1]["number"] if len(rows) > limit else None
    rows, looked, chunk = [], 0, _CHUNK
    budget = budget or Budget()
    while True:
        size = min(chunk, SCAN_LIMIT - looked)
        inner = base(below).limit(size).subquery()
        fits = (inner.c[name] == value for name, value in rest.items())
        rows += connection.execute(select(inner).where(*fits).limit(limit + 1 - len(rows))).mappings()
        if len(rows) > limit:
            return rows, rows[-1]["number"]
        last = base(below).with_only_columns(table.c.number).limit(1).offset(size - 1)
        reached = connection.execute(last).scalar_one_or_none()
        looked, chunk = looked + size, min(2 * chunk, _LARGEST)
        if reached is None or looked >= SCAN_LIMIT or budget.spent:
            return rows, reached
        below = reached
