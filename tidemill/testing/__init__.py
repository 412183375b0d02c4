"""Tests of handlers: call a task like a function, play its runs without waiting, kill them at every point.

`active` makes tasks callable like the functions that they are: steps are executed, sleeps are over at once,
what comes from outside is prepared, `trigger` is recorded:

    async def test_deploy() -> None:
        with testing.active() as session:
            session.approve("ship", by="ann")
            assert (await deploy(Push(after="f00", ref="refs/heads/main"))).ok
            assert session.triggered[0].task_id == "notify"

`play` executes runs as a worker does, over a broker in memory and a clock that jumps:

    async def test_reminder() -> None:
        async with testing.play() as stage:
            run = await stage.start(remind, "ann")
            stage.signal("paid", after="29d")
            assert await run.result() == "paid"

`crash_everywhere` kills a run at every point and compares what comes of it. `sample` returns an event's data
as its provider sends it, `tick` a schedule's next tick. `tidemill.testing.broker` starts the real thing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidemill.samples import BUNDLED, find_sample
from tidemill.testing.crashes import Crashes, crash_everywhere
from tidemill.testing.replied import Replied
from tidemill.testing.session import Cancelled, Session, Signalled, Triggered, active
from tidemill.testing.stage import Stage, play
from tidemill.testing.ticks import tick

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Cancelled",
    "Crashes",
    "Replied",
    "Session",
    "Signalled",
    "Stage",
    "Triggered",
    "active",
    "crash_everywhere",
    "play",
    "sample",
    "tick",
]


def sample(source: str, event_type: str, *, directory: Path | None = None) -> Any:
    """Return the data of a golden sample: `sample("github", "issues.opened")`, a fresh one each time.

    Args:
        source: a preset, or a source that has samples of its own.
        event_type: the provider's type, with its action or without.
        directory: a folder of schemas of one's own, looked through first.

    Raises:
        NotFoundError: there is none of that type; the hint names those that there are.
    """
    return find_sample(source, event_type, (BUNDLED, directory) if directory else (BUNDLED,))
