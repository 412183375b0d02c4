"""The last lines that a run has logged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tidemill.kernel.services.run_logs import RunLogReader

MOST: Final = 200
"""Lines of a page at most."""
_PAGES: Final = 5
_LONGEST: Final = 1_000


@dataclass(frozen=True, slots=True)
class LogLines:
    """Lines in their order; `more` says that there are others before or behind them."""

    lines: tuple[dict[str, Any], ...]
    more: bool


async def log_lines(reader: RunLogReader, run: str) -> LogLines:
    """Return the lines of a run, the last ones of as many messages as are looked at.

    Raises:
        BrokerError: they can't be read.
    """
    found: list[dict[str, Any]] = []
    page = await reader.page(run)
    for _ in range(_PAGES):
        found += page.lines
        if not page.more:
            break
        page = await reader.page(run, after=page.after)
    shown = tuple(line | {"text": str(line["text"])[:_LONGEST]} for line in found[-MOST:])
    return LogLines(shown, page.more or len(found) > MOST)
