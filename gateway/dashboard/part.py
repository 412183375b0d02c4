"""Parts of a page that may be missing: a page says what it can't show, and shows the rest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from tidemill.kernel.errors import BrokerError, HistoryError

if TYPE_CHECKING:
    from collections.abc import Awaitable

PATIENCE: Final = 6.0
"""Seconds that a page waits for a part of it: a little more than a query of the history may take."""
Content = TypeVar("Content")


class Part(NamedTuple, Generic[Content]):
    """What was found, or None and why it couldn't be looked up."""

    content: Content | None
    missing: str = ""


async def part(asked: Awaitable[Content], *, within: float = PATIENCE) -> Part[Content]:
    """Wait for a part of a page; the broker and the database may be away.

    Raises:
        TidemillError: what was asked for is wrong, or isn't there.
    """
    try:
        async with asyncio.timeout(within):
            return Part(await asked)
    except TimeoutError:
        return Part(None, f"it wasn't found within {within:g} seconds")
    except (HistoryError, BrokerError) as error:
        return Part(None, error.sentence)
