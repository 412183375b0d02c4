"""`tidemill workers`: the worker processes that are alive."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from tidemill.cli.asking import ask
from tidemill.cli.options import examples
from tidemill.cli.output import Json, show_rows
from tidemill.cli.remote import Row

app = typer.Typer(name="workers", help="Look at worker processes.", no_args_is_help=True)


@app.command("list", epilog=examples("workers list", "workers list --json"))
def list_workers(context: typer.Context, *, as_json: Json = False) -> None:
    """Show the workers that are alive, what they serve, and how busy they are."""
    rows = ask(context, lambda remote: remote.workers())
    columns = ("id", "host", "pid", "up_since", "busy", "slots", "tasks")
    shown = rows if as_json else [_flat(row) for row in rows]
    show_rows(shown, columns=columns, as_json=as_json, empty="no workers")


def _flat(row: Row) -> Row:
    since = datetime.fromtimestamp(row["started_at"], UTC).isoformat(sep=" ", timespec="seconds")
    return row | {"up_since": since, "tasks": ", ".join(row["tasks"])}
