"""`tidemill dev`: broker, gateway and worker with one command, and a new worker when the code changes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tidemill.cli.invocation import invocation
from tidemill.cli.options import Modules, examples
from tidemill.cli.service import serve

app = typer.Typer()


@app.command(
    "dev",
    epilog=examples("dev tasks.py", "dev shop --port 9000    # control API on 9001", "dev tasks.py --port 0"),
)
def dev(
    context: typer.Context,
    modules: Modules,
    *,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65534, help="Port for webhooks, the next for control; 0 takes free ones."),
    ] = None,
    no_reload: Annotated[
        bool, typer.Option("--no-reload", help="Keep the worker when files change.")
    ] = False,
) -> None:
    """Run everything on this machine: broker, gateway, worker with engine, and reload.

    The worker is started anew when a Python file beside the modules changes; the old one finishes its
    runs. A module that doesn't import shows its error, and the next change is waited for.
    Ctrl-C or SIGTERM stops all in order.
    """
    from tidemill.cli.development import Development  # noqa: PLC0415 - broker's client and watcher delay --help

    call = invocation(context)
    settings = call.settings()
    if port is not None:
        settings = call.settings(_listens(settings.gateway.listen.host, settings.control.listen.host, port))
    serve(settings, Development(call, settings, modules, reload=not no_reload).run())


def _listens(public: str, control: str, port: int) -> dict[str, Any]:
    beside = port + 1 if port else 0
    return {"gateway": {"listen": _address(public, port)}, "control": {"listen": _address(control, beside)}}


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
