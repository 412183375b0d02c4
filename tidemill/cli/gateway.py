"""`tidemill gateway`: the HTTP side in a process of its own."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tidemill.cli.invocation import invocation
from tidemill.cli.options import examples
from tidemill.cli.service import serve

app = typer.Typer()


@app.command(
    "gateway",
    epilog=examples("gateway", "--config prod.toml gateway", "gateway --only public"),
)
def gateway(
    context: typer.Context,
    *,
    only: Annotated[
        Literal["public", "control"] | None,
        typer.Option(help="Serve one of the two listeners; the other one in another process."),
    ] = None,
) -> None:
    """Take webhooks in and serve the control API, until SIGTERM or Ctrl-C.

    The public listener answers 2xx only after the broker has stored the event. Both addresses are
    printed when they take connections; settings: [gateway] listen and [control] listen, port 0 for any.
    """
    from gateway.server import serve as serve_gateway  # noqa: PLC0415 - the HTTP server delays --help

    settings = invocation(context).settings()
    serve(settings, serve_gateway(settings, only))
