"""The entry point `tidemill`: global options, the commands' modules, and what an error looks like."""

from __future__ import annotations

import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Annotated, Final

import typer

from tidemill.cli.invocation import Invocation
from tidemill.cli.output import complain, say
from tidemill.cli.shadows import check_shadows
from tidemill.kernel.errors import DefinitionError, SettingsError, TidemillError

COMMANDS: Final = (
    "init", "dev", "gateway", "worker", "engine", "send", "listen", "trigger",
    "events", "deliveries", "runs", "tokens", "tasks", "schedules", "quarantine", "dead",
    "alerts", "sources", "tenants", "destinations", "schemas", "keys", "logins", "audit",
    "history", "workers", "top", "doctor",
)  # fmt: skip
"""Modules of this package whose `app` holds a command, or, with a name of its own, a group of them."""
WRONG_INPUT: Final = 2
FAILED: Final = 1

app = typer.Typer(
    name="tidemill",
    help="Signed webhooks in, durable Python tasks out.",
    epilog="Start with: tidemill init, then tidemill dev tasks.py",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - an option's callback
    if wanted:
        say(f"tidemill {metadata.version('tidemill')}")
        raise typer.Exit


@app.callback()
def tidemill(
    context: typer.Context,
    *,
    config: Annotated[
        Path | None, typer.Option(help="Settings file; tidemill.toml of this folder by default.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Control listener of a remote installation, like https://mill:8081.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="API key for it: env:NAME, file:PATH or the key itself.")
    ] = None,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Keep the global options for the command that follows."""
    context.obj = Invocation(config, url, key)


def register() -> None:
    """Add every module's commands."""
    for name in COMMANDS:
        app.add_typer(import_module(f"tidemill.cli.{name}").app)


def run() -> None:
    """Run the command line; what users can mend ends in a sentence and a hint, never in a traceback."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        check_shadows()
        register()
        app()
    except TidemillError as error:
        complain(error)
        sys.exit(WRONG_INPUT if isinstance(error, SettingsError | DefinitionError) else FAILED)


if __name__ == "__main__":
    run()
