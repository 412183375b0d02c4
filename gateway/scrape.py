"""What is read from the broker when somebody scrapes, as Prometheus' text."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from tidemill.kernel.errors import TidemillError

T = TypeVar("T")
_log = logging.getLogger(__name__)


async def scraped(of: str, read: Callable[[], Awaitable[T]], collector: Callable[[T], Collector]) -> bytes:
    """Return the samples that a collector makes of what was read.

    There are none while the broker doesn't answer, which `tidemill_broker_connected` says.
    """
    try:
        found = await read()
    except TidemillError as error:
        _log.debug("a scrape learns nothing of %s: %s", of, error.sentence)
        return b""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector(found))
    return generate_latest(registry)
