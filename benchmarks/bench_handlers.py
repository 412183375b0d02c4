"""The handlers of the benchmarks: one that does nothing, one that notes how long its webhook took."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tidemill import Event, task

_notes = Path("latencies.txt").open("a", buffering=1, encoding="ascii")  # noqa: SIM115 - open as long as the worker


@task(on="bench.empty")
async def empty() -> None:
    """Do nothing."""


@task(on="github.push")
async def note(event: Event[dict[str, Any]]) -> None:
    """Note the seconds since the request was sent."""
    _notes.write(f"{time.time() - float(event.headers['x-sent-at'])}\n")
