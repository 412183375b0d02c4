"""One page of an index, newest first, with the filters held against it that the index doesn't answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, Select, Table, select

SCAN_LIMIT: Final = 10_000
"""Rows of an index that one page looks at."""
PAGE_LIMIT: Final = 500
"""Rows of a page at most."""
LAST: Final = 2**62
"""Above every number."""


def look(
    connection: Connection, table: Table, base: Select[Any], rest: Mapping[str, Any], limit: int
) -> tuple[list[RowMapping], int | None]:
    """Return up to `limit` + 1 rows, and the number down to which all were found, None for all there are.

    Args:
        connection: where to look.
        table: what `base` selects from.
        base: a selection that an index answers in descending order of `number`.
        rest: columns that must have these values.
        limit: how many rows are wanted.
    """
    if not rest:
        rows = list(connection.execute(base.limit(limit + 1)).mappings())
        return rows, rows[-1]["number"] if len(rows) > limit else None
    inner = base.limit(SCAN_LIMIT).subquery()
    outer = select(inner).where(*(inner.c[name] == value for name, value in rest.items())).limit(limit + 1)
    rows = list(connection.execute(outer).mappings())
    if len(rows) > limit:
        return rows, rows[-1]["number"]
    last = base.with_only_columns(table.c.number).limit(1).offset(SCAN_LIMIT - 1)
    return rows, connection.execute(last).scalar_one_or_none()
