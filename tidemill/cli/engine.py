"""`tidemill engine`: router, mailman, listener, closer and sweeper in a process of their own."""

from __future__ import annotations

from typing import Annotated

import typer

from tidemill.cli.invocation import invocation
from tidemill.cli.options import examples
from tidemill.cli.service import report, serve

app = typer.Typer()


@app.command("engine", epilog=examples("engine", "engine --roles router", "worker --no-engine tasks.py"))
def engine(
    context: typer.Context,
    *,
    roles: Annotated[
        str | None, typer.Option(metavar="A,B", help="Run these roles only; [engine] roles by default.")
    ] = None,
) -> None:
    """Move runs along without executing them: route and match events, deliver signals, close, sweep.

    A worker does this too unless it is started with --no-engine. Each role may run in several processes.
    """
    from consumers.process import serve_engine  # noqa: PLC0415 - the broker's client delays --help

    settings = invocation(context).settings({"engine": {"roles": roles}} if roles else None)
    serve(settings, serve_engine(settings, settings.engine.roles, report=report))
