"""How long to wait before the next attempt: exponential back-off with full bounds and optional jitter."""

from __future__ import annotations

import random


def delay(attempt: int, *, factor: float, min_delay: float, max_delay: float, jitter: float | None) -> float:
    """Return the seconds to wait after attempt number `attempt` (from 1) has failed.

    The bare delay is `min_delay * factor ** (attempt - 1)`, never above `max_delay`. With jitter, a number
    from 0 to 1, it is spread evenly over its upper half ("equal jitter", AWS Architecture Blog, Exponential
    Backoff And Jitter), so that it neither exceeds the bare delay nor collapses to nothing.
    """
    try:
        bare = min(max_delay, min_delay * factor ** (attempt - 1))
    except OverflowError:
        bare = max_delay if min_delay else 0.0
    return bare if jitter is None else bare * (1 + jitter) / 2


def spread() -> float:
    """Return a random number from 0 to 1 for the jitter."""
    return random.random()  # noqa: S311 - it spreads load, it guards no secret
