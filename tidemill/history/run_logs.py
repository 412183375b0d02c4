"""What runs have logged, for as long as bodies are kept: the messages of the stream LOGS, each as a row.

The newest of a run are kept, up to twice `MOST_BYTES`; more is said by runs that say too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, delete, select

from tidemill.history.tables import Row, positions, run_logs
from tidemill.kernel.jetstream.records import Record

MOST_BYTES: Final = 1 << 20
"""Of a run, after the oldest of them were deleted."""
EACH: Final = 1 << 10
"""What a message counts at least."""
_LOOKED_AT: Final = 2 * MOST_BYTES // EACH + 1_000
_RUNS: Final = 50_000
STREAM: Final = "LOGS"


class LogBounds:
    """Bounds what is kept of each run; what a writer has seen of one counts from its start on."""

    def __init__(self) -> None:
        self._bytes: dict[str, int] = {}

    def clear(self) -> None:
        """Begin anew."""
        self._bytes.clear()

    def keep(self, connection: Connection, written: Sequence[Row]) -> None:
        """Delete the oldest messages of runs that have said too much, in the transaction that adds some."""
        for row in written:
            run = row["run"]
            self._bytes[run] = self._bytes.pop(run, 0) + max(row["bytes"], EACH)
        for run in {row["run"] for row in written}:
            if self._bytes[run] > 2 * MOST_BYTES:
                self._bytes[run] = _trim(connection, run)
        while len(self._bytes) > _RUNS:
            del self._bytes[next(iter(self._bytes))]


def _trim(connection: Connection, run: str) -> int:
    """Delete what is beyond the newest bytes of a run; return how many stay."""
    query = select(run_logs.c.number, run_logs.c.bytes).where(run_logs.c.run == run)
    kept = 0
    for number, size in connection.execute(query.order_by(run_logs.c.number.desc()).limit(_LOOKED_AT)):
        if kept and kept + max(size, EACH) > MOST_BYTES:
            connection.execute(delete(run_logs).where(run_logs.c.run == run, run_logs.c.number <= number))
            break
        kept += max(size, EACH)
    return kept


def logged(connection: Connection, run: str, *, after: int, below: int, limit: int) -> list[Record]:
    """Return a run's messages after one sequence of the stream and below another, the oldest first."""
    place = select(positions.c.base).where(positions.c.stream == STREAM)
    base = connection.execute(place).scalar_one_or_none() or 0
    query = (
        select(run_logs)
        .where(run_logs.c.run == run, run_logs.c.number > base + after, run_logs.c.number < base + below)
        .order_by(run_logs.c.number)
        .limit(limit)
    )
    rows = connection.execute(query).mappings()
    return [Record(f"logs.{run}", row["number"] - base, row["at"], row["body"]) for row in rows]
