"""Doing the same to several things by their ids: one that can't be done doesn't keep the others from it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import typer
from rich.console import Console
from rich.progress import track

from tidemill.cli.asking import ask
from tidemill.cli.output import show_record, show_rows
from tidemill.cli.remote import Remote, Row
from tidemill.kernel.errors import ConflictError, NotFoundError, PayloadError

Act = Callable[[Remote, str], Awaitable[Row]]
_FEW: Final = 5
"""So many are done without showing progress."""


def do_each(context: typer.Context, ids: Sequence[str], act: Act, *, as_json: bool) -> None:
    """Do something to each of some things and print what came of it; exit with 1 where any couldn't be done.

    Raises:
        TidemillError: there was a single one, and it couldn't be done; or the way to all of them broke.
    """
    if len(ids) == 1:
        show_record(ask(context, lambda remote: act(remote, ids[0])), as_json=as_json)
        return

    async def all_of_them(remote: Remote) -> list[Row]:
        return [await tried(remote, one, act) for one in progress(ids)]

    show_outcomes(ask(context, all_of_them), as_json=as_json)


async def tried(remote: Remote, one: str, act: Act) -> Row:
    """Do something to one of several things; return what came of it, or why it couldn't be done."""
    try:
        return {"id": one, "done": True, "answer": await act(remote, one)}
    except (NotFoundError, ConflictError, PayloadError) as error:
        return {"id": one, "done": False, "error": error.sentence, "hint": error.hint}


def show_outcomes(rows: Sequence[Row], *, as_json: bool, empty: str = "nothing to do") -> None:
    """Print what came of each; exit with 1 where any couldn't be done."""
    told = rows if as_json else [row | {"outcome": _told(row)} for row in rows]
    show_rows(told, columns=("id", "outcome"), as_json=as_json, empty=empty)
    if not all(row["done"] for row in rows):
        raise typer.Exit(1)


def progress(ids: Sequence[str]) -> Iterable[str]:
    """Return the ids, with a bar on the terminal's standard error while there are many."""
    hidden = len(ids) <= _FEW or not sys.stderr.isatty()
    return track(ids, "working", console=Console(stderr=True), transient=True, disable=hidden)


def _told(row: Row) -> str:
    if not row["done"]:
        return f"not done: {row['error']}"
    answer: dict[str, Any] = row["answer"]
    return ", ".join(f"{name} {value}" for name, value in answer.items() if value not in (row["id"], None))
