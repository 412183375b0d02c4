"""The handlers of the benchmarks: one that does nothing, one that notes how long its webhook took."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any, TextIO

from tidemill import Context, Event, task


@functools.cache
def notes() -> TextIO:
    """Return the file of notes in the worker's folder, open until it ends."""
    return Path("latencies.txt").open("a", buffering=1, encoding="ascii")


@task(on="bench.empty")
async def empty() -> None:
    """Do nothing."""


@task(on="github.push")
async def note(event: Event[dict[str, Any]]) -> None:
    """Note the seconds since the request was sent."""
    notes().write(f"{time.time() - float(event.headers['x-sent-at'])}\n")


@task
async def three_steps(number: int, ctx: Context) -> int:
    """Do three steps, each of which adds one."""
    for _ in range(3):
        number = await ctx.step("add", add_one, number)
    return number


async def add_one(number: int) -> int:
    """Add one."""
    return number + 1
