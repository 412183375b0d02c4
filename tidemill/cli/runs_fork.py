"""`tidemill runs fork`: a new run goes on from a point of another one."""

from __future__ import annotations

from typing import Annotated

import typer

from tidemill.cli.asking import ask
from tidemill.cli.output import Json, show_record


def fork(
    context: typer.Context,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The run's id: finished, failed, or still going on.")
    ],
    *,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="POINT",
            help="What is done anew, with all that came after it: a part's key, a child's id or a record's "
            "number, as `runs show` has them. Without it the fork goes on from where the run stands.",
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Idempotency key: with the same one this starts one run.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Start a new run with the same input that takes over what a run had finished before a point."""
    show_record(ask(context, lambda remote: remote.fork_run(run, at, key)), as_json=as_json)
