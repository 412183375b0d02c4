"""Doing the same to all runs that fit a filter: look first, then decide, then watch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import Progress

from tidemill.cli.asking import ask
from tidemill.cli.output import Json, say, show_record, show_rows
from tidemill.kernel.errors import PayloadError

if TYPE_CHECKING:
    from tidemill.cli.remote import Remote, Row
    from tidemill.kernel.services.bulk import Verb

Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="All runs that fit: status, task, source, type, tag, text, since, until, error, parent, root, "
        "replayof; may be repeated.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="With --where: show which, and do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="With --where: don't ask.")]
_COLUMNS = ("id", "task", "status", "created_at", "error")
_TOLD: Final = ("action", "total", "done", "queued", "refused", "state", "token")


def do_to_all(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    verb: Verb,
    where: Sequence[str],
    *,
    reason: str = "",
    dry: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Select the runs that fit, show them, ask, and do it to all of them.

    Raises:
        PayloadError: a filter can't be used.
        HistoryError: the history can't be asked.
    """
    filters = _filters(where)
    selection = ask(context, lambda remote: remote.select_runs(verb, filters, reason))
    if not as_json or not (dry or yes):
        _show(selection, as_json=as_json)
    if dry:
        if as_json:
            show_record(selection, as_json=True)
        return
    if not yes:
        typer.confirm(f"{verb} {selection['total']} runs?", abort=True, err=True)
    _execute(context, selection["token"], as_json=as_json)


def go_on(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The selection's, as it was told.")],
    *,
    as_json: Json = False,
) -> None:
    """Finish what was selected with --where and cut short; what was done before isn't done again."""
    _execute(context, token, as_json=as_json)


def _execute(context: typer.Context, token: str, *, as_json: bool) -> None:
    last = ask(context, lambda remote: _watched(remote, token))
    show_record(last if as_json else {name: last[name] for name in _TOLD}, as_json=as_json)
    if not as_json:
        for problem in last["problems"]:
            say(f"refused: {problem}")
    if last["refused"]:
        raise typer.Exit(1)


def chosen(runs: Sequence[str] | None, where: Sequence[str] | None, *, dry: bool, yes: bool) -> bool:
    """Say whether a filter chooses the runs, not their ids.

    Raises:
        PayloadError: both do, or neither.
    """
    if bool(runs) == bool(where):
        raise PayloadError("name runs, or say which with --where", hint="like --where status=failed")
    if runs and (dry or yes):
        raise PayloadError("--dry-run and --yes are for --where", hint="leave them out")
    return bool(where)


async def _watched(remote: Remote, token: str) -> Row:
    """Execute a selection with a bar on the terminal's standard error; return how it ended."""
    last: Row = {}
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        line = bar.add_task("working", total=None)
        async for last in remote.execute_selection(token):
            bar.update(line, description=last["action"], total=last["total"], completed=last["looked_at"])
    return last


def _show(selection: Row, *, as_json: bool) -> None:
    where = " ".join(f"{name}={value}" for name, value in selection["where"].items())
    text = f"{selection['total']} runs fit {where}"
    if not selection["complete"]:
        text += "; there may be more, which a second time finds"
    text += f" (selection {selection['token']})"
    if as_json:
        sys.stderr.write(text + "\n")
        return
    rows = [_flat(row) for row in selection["first"]]
    show_rows(rows, columns=_COLUMNS, as_json=False, empty="no run fits")
    say(text)


def _flat(row: Row) -> Row:
    error = row.get("error")
    return {**row, "error": ": ".join(error) if error else None}


def _filters(where: Sequence[str]) -> dict[str, str]:
    found: dict[str, Any] = {}
    for one in where:
        name, sign, value = one.partition("=")
        if not sign or not name or not value:
            raise PayloadError(f"--where {one!r} can't be used", hint="write NAME=VALUE, like status=failed")
        found[name] = f"{found[name]},{value}" if name == "status" and name in found else value
    return found
