"""The handlers of the benchmarks: one that does nothing, one that notes how long its webhook took."""

from __future__ import annotations

import functools
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from tidemill import Context, Event, task


@functools.cache
def notes() -> TextIO:
    """Return the file of notes in the worker's folder, open until it ends."""
    return Path("latencies.txt").open("a", buffering=1, encoding="ascii")


@functools.cache
def woken() -> TextIO:
    """Return the file of wakes in the worker's folder, open until it ends."""
    return Path("woken.txt").open("a", buffering=1, encoding="ascii")


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


@task
async def sleeper(moment: float, ctx: Context) -> None:
    """Sleep until a moment, then note when that was and when it was meant to be."""
    await ctx.sleep(until=datetime.fromtimestamp(moment, UTC))
    now = time.time()
    woken().write(f"{moment} {now}\n")


@task
async def nothing(number: int) -> int:
    """Return what it was given."""
    return number


@task
async def many(number: int, ctx: Context) -> int:
    """Have children, and count what they return."""
    return sum(await ctx.map(nothing, range(number)))
