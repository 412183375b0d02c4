"""`tidemill quarantine`: genuine deliveries that couldn't be processed, and sending them on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer

from tidemill.cli.asking import ask
from tidemill.cli.bulk import DryRun, Reason, Yes, chosen, do_to_all, go_on
from tidemill.cli.options import (
    Before,
    Limit,
    Since,
    SourceFilter,
    TypeFilter,
    Until,
    examples,
    given,
)  # fmt: skip
from tidemill.cli.output import Json, complain, more_of, say, show_json, show_record, show_rows
from tidemill.cli.several import do_each
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.services.quarantine_query import reason_of

_MISFIT: Final = 2
app = typer.Typer(
    name="quarantine", help="Look at what couldn't be processed; release or discard it.", no_args_is_help=True
)
Keys = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Keys, or ids of events.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="All entries that fit: source, type, reason, task, text, since, until; may be repeated.",
    ),
]
Key = Annotated[str, typer.Argument(metavar="ID", help="The entry's key, or its event's id.")]


@app.command(
    "list", epilog=examples("quarantine list", "quarantine list --source github --reason schema --since 2h")
)
def list_quarantine(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    *,
    source: SourceFilter = None,
    event_type: TypeFilter = None,
    reason: Annotated[
        str | None, typer.Option(metavar="CODE", help="Only with this reason: schema, not_json, where, ...")
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what this task's where couldn't judge.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="WORDS", help="Only with these words in what is wrong.")
    ] = None,
    since: Since = None,
    until: Until = None,
    before: Before = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Show the newest entries: unsound deliveries, and events that a task's where couldn't judge."""
    wanted = given(
        source=source, type=event_type, reason=reason, task=task, text=text, since=since, until=until
    )
    found = ask(context, lambda remote: remote.quarantine(wanted, before=before, limit=limit))
    rows = found["quarantine"]
    shown = rows if as_json else [row | {"reason": reason_of(row["reason"])} for row in rows]
    columns = ("seq", "at", "kind", "type", "id", "key", "reason")
    show_rows(
        shown,
        columns=columns,
        as_json=as_json,
        empty="the quarantine is empty" if not wanted else "no entry fits",
    )
    more_of(found, as_json=as_json)


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
        "quarantine release --where source=github --where reason=schema --dry-run",
    ),
)
def release(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    keys: Keys = None,
    *,
    data: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Edited data, JSON; - is standard input.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Release edited data also where they don't fit their schema.")
    ] = False,
    where: Where = None,
    reason: Reason = "",
    dry: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Send entries on as they are, or one with edited data; releasing one twice makes one event."""
    if data is None and force:
        raise typer.BadParameter("it is for edited data: name them with --data", param_hint="--force")
    if chosen(keys, where, dry=dry, yes=yes, reason=reason):
        if data is not None:
            raise typer.BadParameter("one entry has these data: name a single ID", param_hint="--data")
        do_to_all(context, "quarantine", "release", where, reason=reason, dry=dry, yes=yes, as_json=as_json)
    elif data is None:
        do_each(context, keys or (), lambda remote, key: remote.release(key), as_json=as_json)
    else:
        _release_edited(context, keys or (), data, force=force, as_json=as_json)


@app.command(
    "discard",
    epilog=examples(
        "quarantine discard 72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "quarantine discard --where source=github --where until=30d --dry-run",
    ),
)
def discard(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    keys: Keys = None,
    *,
    where: Where = None,
    reason: Reason = "",
    dry: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Take entries out for good: no event and no run is ever made of them."""
    if chosen(keys, where, dry=dry, yes=yes, reason=reason):
        do_to_all(context, "quarantine", "discard", where, reason=reason, dry=dry, yes=yes, as_json=as_json)
        return
    do_each(context, keys or (), lambda remote, key: remote.discard(key), as_json=as_json)


app.command("go-on", epilog=examples("quarantine go-on 5f0c6a1e9d2b48a7c3d1"))(go_on)


def _release_edited(
    context: typer.Context, keys: Sequence[str], data: str, *, force: bool, as_json: bool
) -> None:
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
