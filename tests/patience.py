"""Waiting for what has no event: a condition is looked at again and again, and a test fails in the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tidemill.kernel.errors import BrokerUnavailableError

PATIENCE: Final = 20.0
"""Seconds after which something that a test waits for has failed to come."""
LONG_PATIENCE: Final = 40.0
"""The same for what whole processes do."""


async def until(condition: Callable[[], Any], *, within: float = PATIENCE) -> Any:
    """Wait until a condition, which may be awaitable, gives something true, and return that."""
    deadline = time.monotonic() + within
    while True:
        try:
            found = condition()
            if isinstance(found, Awaitable):
                found = await found
        except BrokerUnavailableError:
            found = None  # it was killed: it comes back
        if found:
            return found
        assert time.monotonic() < deadline, f"{condition} didn't come true in {within:g} s"
        await asyncio.sleep(0.02)


def until_seen(look: Callable[[], Any], *, within: float = LONG_PATIENCE) -> Any:
    """The same without an event loop: look until there is something, and return it."""
    deadline = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < deadline, f"{look} saw nothing in {within:g} s"
        time.sleep(0.05)
    return found
