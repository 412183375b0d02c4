"""`tidemill audit`: who changed what, when, and from where."""

from __future__ import annotations

from typing import Annotated

import typer

from tidemill.cli.asking import ask
from tidemill.cli.options import Limit, examples
from tidemill.cli.output import Json, show_rows

app = typer.Typer(name="audit", help="Look at the record of changes.", no_args_is_help=True)


@app.callback()
def audit() -> None:
    """Look at the record of changes."""


@app.command(
    "list",
    epilog=examples("audit list", "audit list --who ada --action runs", "audit list --target run_..."),
)
def list_changes(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    *,
    who: Annotated[str | None, typer.Option(metavar="NAME", help="Changes of this person or key.")] = None,
    action: Annotated[
        str | None, typer.Option(metavar="WORD", help="Like runs.cancel, or all of runs.")
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="ID", help="Changes of this run or task.")] = None,
    before: Annotated[
        int | None, typer.Option(metavar="SEQ", help="Go on where a listing before has ended: its last seq.")
    ] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Show the newest changes: who made them, when, from where, and what came of them."""
    wanted = {"who": who, "action": action, "target": target}
    rows = ask(context, lambda remote: remote.audit(wanted, before=before, limit=limit))
    columns = ("at", "who", "how", "client", "action", "target", "outcome", "seq")
    show_rows(rows, columns=columns, as_json=as_json)
