"""Options and arguments that several commands share, and how their help shows examples."""

from __future__ import annotations

from typing import Annotated, Final

import typer

MAX_LIMIT: Final = 200
"""Most entries of one listing, as the control API has it."""

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=MAX_LIMIT, help="Show at most so many.")]
Modules = Annotated[
    list[str],
    typer.Argument(
        metavar="MODULE...",
        help="pkg.mod, pkg (with all below it), file.py or mod:task. Tasks defined there are served.",
    ),
]
Before = Annotated[
    int | None, typer.Option(min=1, help="Only older than this sequence, to go on with a listing.")
]
TaskFilter = Annotated[str | None, typer.Option("--task", metavar="ID", help="Only of this task.")]
SourceFilter = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only of this source.")]
TypeFilter = Annotated[
    str | None, typer.Option("--type", metavar="PATTERN", help="Only of this type, like github.issues.*.")
]
Since = Annotated[
    str | None, typer.Option(metavar="WHEN", help="Not older: 2h, 3d, or 2026-11-22T10:00:00Z.")
]
Until = Annotated[str | None, typer.Option(metavar="WHEN", help="Older than that.")]


def given(**filters: str | None) -> dict[str, str]:
    """Return the filters that are set."""
    return {name: text for name, text in filters.items() if text is not None}


def examples(*commands: str) -> str:
    """Return the end of a help page: a line for each example, without the program's name."""
    return "\n\n".join(["Examples:", *(f"$ tidemill {command}" for command in commands)])
