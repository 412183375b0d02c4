"""`tidemill quarantine`: genuine deliveries that couldn't be processed, and sending them on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer

from tidemill.cli.asking import ask
from tidemill.cli.options import Before, Limit, examples
from tidemill.cli.output import Json, complain, say, show_json, show_record, show_rows
from tidemill.cli.remote import Row
from tidemill.cli.several import do_each
from tidemill.kernel.errors import PayloadError

_MISFIT: Final = 2
app = typer.Typer(
    name="quarantine", help="Look at what couldn't be processed; release it.", no_args_is_help=True
)
Key = Annotated[str, typer.Argument(metavar="ID", help="The entry's key, or its event's id.")]


@app.command("list", epilog=examples("quarantine list", "quarantine list --json"))
def list_quarantine(
    context: typer.Context,
    *,
    before: Before = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Show the newest entries: unsound deliveries, and events that a task's where couldn't judge."""
    rows = ask(context, lambda remote: remote.quarantine(before=before, limit=limit))
    shown = rows if as_json else [row | {"reason": reason_of(row)} for row in rows]
    columns = ("seq", "at", "kind", "type", "id", "key", "reason")
    show_rows(shown, columns=columns, as_json=as_json, empty="the quarantine is empty")


@app.command("show", epilog=examples("quarantine show 72d3162e-cc78-11e3-81ab-4c9367dc0958"))
def show_quarantined(context: typer.Context, key: Key, *, as_json: Json = False) -> None:
    """Show one entry: why it stands here, where in its data, and its body."""
    row = ask(context, lambda remote: remote.quarantined(key))
    if as_json:
        show_json(row)
        return
    hidden = ("body", "facts", "reason")
    show_record({name: value for name, value in row.items() if name not in hidden}, as_json=False)
    show_record(row["reason"], as_json=False)
    say("\nbody")
    say(row["body"])


@app.command(
    "release",
    epilog=examples(
        "quarantine release 72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "quarantine release 72d3162e-cc78-11e3-81ab-4c9367dc0958 --data mended.json",
    ),
)
def release(
    context: typer.Context,
    keys: Annotated[list[str], typer.Argument(metavar="ID...", help="Keys, or ids of events.")],
    *,
    data: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Edited data, JSON; - is standard input.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Release edited data also where they don't fit their schema.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send entries on as they are, or one with edited data; releasing one twice makes one event."""
    if data is None:
        if force:
            raise typer.BadParameter("it is for edited data: name them with --data", param_hint="--force")
        do_each(context, keys, lambda remote, key: remote.release(key), as_json=as_json)
        return
    if len(keys) != 1:
        raise typer.BadParameter("one entry has these data: name a single ID", param_hint="--data")
    edited = _edited(data)
    try:
        outcome = ask(context, lambda remote: remote.release_edited(keys[0], edited, force=force))
    except PayloadError as error:
        complain(error)
        raise typer.Exit(_MISFIT) from error
    show_record(outcome, as_json=as_json)


def _edited(data: str) -> bytes:
    """Return the JSON of a file, or of standard input.

    Raises:
        typer.BadParameter: it can't be read, or is none.
    """
    try:
        text = sys.stdin.buffer.read() if data == "-" else Path(data).read_bytes()
        orjson.loads(text)
    except OSError as error:
        raise typer.BadParameter(f"it can't be read: {error}", param_hint="--data") from error
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"it is no JSON: {error}", param_hint="--data") from error
    return text


def reason_of(row: Row) -> str:
    """Return why an entry stands in quarantine, in one line."""
    reason: dict[str, Any] = row["reason"]
    if "task" in reason:
        return (
            f"{reason['task']}: {reason.get('clause')} with {reason.get('value')!r}: {reason.get('reason')}"
        )
    place = f"{reason['path']}: " if reason.get("path") else ""
    return f"{place}{reason.get('detail')}"
