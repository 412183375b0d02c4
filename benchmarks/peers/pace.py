"""The measure that everybody is held to: runs one by one for the latency, 64 at a time for the rate."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

AT_ONCE = 64
_WARM, _SINGLE = 20, 100


async def pace(execute: Callable[[int], Awaitable[int]], runs: int) -> dict[str, float]:
    """Return the median time of a run of three steps in milliseconds, and runs per second.

    Args:
        execute: begins a run that adds three to a number, and waits for what comes of it.
        runs: how many to execute for the rate.
    """

    async def timed(number: int) -> float:
        begun = time.perf_counter()
        result = await execute(number)
        if result != number + 3:
            raise RuntimeError(f"a run of {number} came to {result}")
        return time.perf_counter() - begun

    for number in range(_WARM):
        await timed(number)
    single = [await timed(number) for number in range(_SINGLE)]
    places = asyncio.Semaphore(AT_ONCE)

    async def placed(number: int) -> None:
        async with places:
            await timed(number)

    begun = time.perf_counter()
    await asyncio.gather(*(placed(number) for number in range(runs)))
    return {"p50": statistics.median(single) * 1000, "rate": runs / (time.perf_counter() - begun)}
