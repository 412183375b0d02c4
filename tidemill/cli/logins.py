"""`tidemill logins`: what people have open in browsers."""

from __future__ import annotations

from typing import Annotated

import typer

from tidemill.cli.asking import ask
from tidemill.cli.options import examples
from tidemill.cli.output import Json, show_record

app = typer.Typer(name="logins", help="End logins in browsers.", no_args_is_help=True)


@app.callback()
def logins() -> None:
    """End logins in browsers."""


@app.command("end", epilog=examples("logins end ada@example.com"))
def end(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose: an API key's name, or the provider's.")],
    *,
    as_json: Json = False,
) -> None:
    """End all logins that somebody has in browsers at present; they may log in again if they still can."""
    show_record(ask(context, lambda remote: remote.end_logins(name)), as_json=as_json)
