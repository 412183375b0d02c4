"""`tidemill events dry-run`: which tasks an event would start, and why not the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tidemill.cli.asking import ask
from tidemill.cli.event_records import verdict_of
from tidemill.cli.options import examples
from tidemill.cli.output import Json, show_json, show_rows
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.services.dry_run import SOURCE, event_in


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "dry-run",
        epilog=examples(
            "events dry-run 72d3162e-cc78-11e3-81ab-4c9367dc0958",
            "events dry-run event.json --json",
            "events dry-run push.json --type github.push --source github",
        ),
    )(dry_run)


def dry_run(
    context: typer.Context,
    event: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-|EVENT", help="A file with an event as JSON, or the id of a stored one."
        ),
    ],
    *,
    event_type: Annotated[
        str | None, typer.Option("--type", help="The file holds data alone, of an event of this type.")
    ] = None,
    source: Annotated[str, typer.Option(help="With --type: the event's source.")] = SOURCE,
    as_json: Json = False,
) -> None:
    """Say which tasks an event would start as they are now; nothing is stored."""
    document = _document(event, event_type, source)
    if document is None:
        row = ask(context, lambda remote: remote.dry_run({"id": event}))
    else:
        row = ask(context, lambda remote: remote.dry_run({"event": document}))
    if as_json:
        show_json(row)
        return
    told = [
        {"task": one["task"], "verdict": one["verdict"], "because": _because(one)} for one in row["tasks"]
    ]
    show_rows(told, columns=("task", "verdict", "because"), as_json=False, empty="no worker has named a task")


def _document(event: str, event_type: str | None, source: str) -> Any:
    """Return what a file holds; None where it is no file's name."""
    try:
        if event == "-":
            text = sys.stdin.read()
        elif event_type is not None or Path(event).is_file():
            text = Path(event).read_text(encoding="utf-8")
        else:
            return None
    except (OSError, UnicodeDecodeError) as error:
        raise PayloadError(f"the event can't be read: {error}", hint="name a file, or write -") from error
    found = event_in(text)
    return {"type": event_type, "source": source, "data": found} if event_type is not None else found


def _because(verdict: dict[str, Any]) -> str:
    if "clause" in verdict:
        return verdict_of(verdict).partition(": ")[2]
    if "on" in verdict:
        return f"it starts on {', '.join(verdict['on'])}" if verdict["on"] else "no event starts it"
    return ""
