"""Showing that something goes on, on the terminal's standard error; in a pipe nothing is shown."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console

from tidemill.cli.output import printable


@contextlib.contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show what goes on while the block runs; yields what says how far it has come."""
    with Console(stderr=True).status(printable(what)) as shown:
        yield lambda now: shown.update(printable(now))
