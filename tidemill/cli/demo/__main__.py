"""`make demo`: plays the demonstration in a terminal and says at the end whether all went as it had to."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tidemill.cli.demo.play import play
from tidemill.cli.demo.scenes import Scene, scenes
from tidemill.cli.demo.stage import stage
from tidemill.cli.output import complain
from tidemill.kernel.errors import TidemillError

_COLOURS = {"completed": "green", "duplicate": "cyan", "filtered": "cyan", "quarantined": "yellow"}
_REFRESH_SECONDS = 0.2


def table(playing: Sequence[Scene]) -> Table:
    """Return the scenes as they stand now."""
    grid = Table(title="Tidemill: nine webhooks and what becomes of them", title_justify="left")
    for heading in ("request", "source", "answer", "outcome", "detail"):
        grid.add_column(heading, overflow="fold")
    for scene in playing:
        colour = _COLOURS.get(scene.outcome, "red" if scene.outcome in ("refused", "failed") else "")
        grid.add_row(
            scene.title, scene.source, scene.answer, Text(scene.outcome, style=colour), Text(scene.detail)
        )
    return grid


async def show(console: Console) -> bool:
    """Play all scenes with a live table; return whether each had the outcome that it had to have."""
    playing, begun = list(scenes()), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tidemill-demo-") as folder:
        console.print("starting broker, gateway and worker …")
        async with stage(Path(folder)) as set_up:
            console.print(f"ready after {time.monotonic() - begun:.1f} s: {set_up.public}")
            with Live(table(playing), console=console, auto_refresh=False) as live:
                acting = asyncio.create_task(play(set_up, playing), name="play the scenes")
                while not acting.done():
                    await asyncio.wait({acting}, timeout=_REFRESH_SECONDS)
                    live.update(table(playing), refresh=True)
                await acting
    return explain(console, playing, time.monotonic() - begun)


def explain(console: Console, playing: Sequence[Scene], seconds: float) -> bool:
    """Print why each request ended as it did; return whether all is as it had to be."""
    console.print()
    for scene in playing:
        mark = "[green]✓[/]" if scene.as_expected else f"[red]✗ expected {scene.expect}[/]"
        console.print(f"{mark} {scene.title} → {scene.outcome}: {scene.because}")
    right = sum(scene.as_expected for scene in playing)
    console.print(f"\n{right} of {len(playing)} as expected, in {seconds:.1f} s")
    return right == len(playing)


def main() -> int:
    """Run the demonstration and return the process's exit code."""
    console = Console()
    try:
        return 0 if asyncio.run(show(console)) else 1
    except TidemillError as error:
        complain(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
