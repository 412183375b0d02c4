"""Doing the same to all that fit a filter: look first, then decide, then watch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress

from tidemill.cli.asking import ask
from tidemill.cli.output import Json, say, show_record, show_rows
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.services.bulk_verbs import Kind
from tidemill.kernel.services.quarantine_query import reason_of

if TYPE_CHECKING:
    from tidemill.cli.remote import Remote, Row
    from tidemill.kernel.services.bulk_verbs import Verb

DryRun = Annotated[bool, typer.Option("--dry-run", help="With --where: show which, and do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="With --where: don't ask.")]
Reason = Annotated[str, typer.Option(help="With --where: why; kept in the record of changes.")]
_COLUMNS: Final[dict[Kind, tuple[str, ...]]] = {
    "runs": ("id", "task", "status", "created_at", "error"),
    "dead": ("at", "id", "task", "outcome", "attempts", "error"),
    "quarantine": ("at", "kind", "type", "id", "key", "reason"),
}
_WORDS: Final[dict[Kind, tuple[str, str]]] = {
    "runs": ("run", "runs"),
    "dead": ("dead letter", "dead letters"),
    "quarantine": ("entry", "entries"),
}
_TOLD: Final = ("action", "total", "done", "queued", "refused", "state", "token")


def do_to_all(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    kind: Kind,
    verb: Verb,
    where: Sequence[str] | None,
    *,
    reason: str = "",
    dry: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Select what fits, show it, ask, and do it to all of it.

    Raises:
        PayloadError: a filter can't be used.
        HistoryError: it is about runs, and the history can't be asked.
    """
    filters = _filters(where or ())
    selection = ask(context, lambda remote: remote.select(kind, verb, filters, reason))
    if not as_json or not (dry or yes):
        _show(selection, as_json=as_json)
    if dry:
        if as_json:
            show_record(selection, as_json=True)
        return
    if not yes:
        typer.confirm(f"{verb} {_counted(kind, selection['total'])}?", abort=True, err=True)
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


def chosen(
    ids: Sequence[str] | None, where: Sequence[str] | None, *, dry: bool, yes: bool, reason: str = ""
) -> bool:
    """Say whether a filter chooses, not ids.

    Raises:
        PayloadError: both do, or neither.
    """
    if bool(ids) == bool(where):
        raise PayloadError("name them by their ids, or say which with --where", hint="like --where since=2h")
    apart = [name for name, on in (("--dry-run", dry), ("--yes", yes), ("--reason", reason)) if ids and on]
    if apart:
        raise PayloadError(f"{' and '.join(apart)}: that is for --where", hint="leave it out")
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
    kind: Kind = selection["what"]
    where = " ".join(f"{name}={value}" for name, value in selection["where"].items())
    total = selection["total"]
    text = f"{_counted(kind, total)} {'fits' if total == 1 else 'fit'} {where}"
    if not selection["complete"]:
        text += "; there may be more, which a second time finds"
    text += f" (selection {selection['token']})"
    if as_json:
        sys.stderr.write(text + "\n")
        return
    rows = [_flat(row) for row in selection["first"]]
    show_rows(rows, columns=_COLUMNS[kind], as_json=False, empty="nothing fits")
    say(text)


def _flat(row: Row) -> Row:
    """Return a row with its error, or what is wrong with it, in one line."""
    error, reason = row.get("error"), row.get("reason")
    told = ": ".join(error) if isinstance(error, list) else error
    return {**row, "error": told, "reason": reason_of(reason) if isinstance(reason, dict) else reason}


def _filters(where: Sequence[str]) -> dict[str, str]:
    """Return filters as --where says them; several statuses are one with commas.

    Raises:
        PayloadError: one isn't NAME=VALUE.
    """
    found: dict[str, str] = {}
    for one in where:
        name, sign, value = one.partition("=")
        if not sign or not name or not value:
            raise PayloadError(f"--where {one!r} can't be used", hint="write NAME=VALUE, like since=2h")
        found[name] = f"{found[name]},{value}" if name == "status" and name in found else value
    return found


def _counted(kind: Kind, number: int) -> str:
    """Return a number of things in words."""
    one, several = _WORDS[kind]
    return f"{number} {one if number == 1 else several}"
