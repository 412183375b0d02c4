"""`tidemill destinations`: where events are forwarded to."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.asking import ask
from tidemill.cli.invocation import invocation
from tidemill.cli.options import examples
from tidemill.cli.output import Json, say, show_json, show_record, show_rows
from tidemill.kernel.errors import NotFoundError

if TYPE_CHECKING:
    from tidemill.cli.remote import Row
    from tidemill.kernel.settings.model import Settings

app = typer.Typer(
    name="destinations", help="Look at where events are forwarded to, and try it.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The destination's name in the settings.")]


@app.command("list", epilog=examples("destinations list", "destinations list --json"))
def list_destinations(context: typer.Context, *, as_json: Json = False) -> None:
    """Show the destinations that are served, and those that were disabled because they answered 410."""
    rows = ask(context, lambda remote: remote.destinations())
    columns = ("name", "on", "where", "concurrency", "state")
    shown = rows if as_json else [_flat(row) for row in rows]
    hint = "no destinations: add [destinations.<name>] to the settings of the engine"
    show_rows(shown, columns=columns, as_json=as_json, empty=hint)


@app.command("test", epilog=examples("destinations test billing", "destinations test billing --json"))
def try_out(context: typer.Context, name: Name, *, as_json: Json = False) -> None:
    """Post a sample event to a destination of the settings, from here, and show what it answers.

    Exits with 1 if it doesn't answer 2xx. No run is started, and no retry follows.
    """
    settings = invocation(context).settings()
    if name not in settings.destinations:
        raise NotFoundError(
            f"there is no destination {name!r} in the settings", hint=f"add [destinations.{name}] to them"
        )
    row = asyncio.run(_post(settings, name))
    show_record(row, as_json=as_json)
    if not row["taken"]:
        raise typer.Exit(1)


@app.command("enable", epilog=examples("destinations enable billing"))
def enable(context: typer.Context, name: Name, *, as_json: Json = False) -> None:
    """Let a destination be sent to again that has answered 410; `dead retry` sends what was missed."""
    row = ask(context, lambda remote: remote.enable_destination(name))
    if as_json:
        show_json(row)
    else:
        say(f"enabled {name}; `tidemill dead retry --all --task forward.{name}` sends what it missed")


async def _post(settings: Settings, name: str) -> dict[str, Any]:
    from consumers.forwarding.client import (  # noqa: PLC0415 - the HTTP client delays --help
        PrivateAddressError,
        UnreachableError,
    )
    from consumers.forwarding.destination import Destination  # noqa: PLC0415 - the same
    from consumers.forwarding.verdict import Verdict  # noqa: PLC0415 - the same

    destination = Destination(
        name, settings.destinations[name], settings.inputs.environ, egress=settings.way_out()
    )
    began = time.perf_counter()
    try:
        answer = await destination.try_out()
    except (PrivateAddressError, UnreachableError) as error:
        return {"destination": name, "taken": False, "status": None, "problem": str(error)}
    finally:
        await destination.close()
    taken = answer.verdict is Verdict.DONE
    return {
        "destination": name,
        "taken": taken,
        "status": answer.status,
        "seconds": round(time.perf_counter() - began, 3),
        "problem": None if taken else answer.sentence,
    }


def _flat(row: Row) -> Row:
    disabled = row["disabled"]
    state = f"disabled since {disabled['at']}: {disabled['reason']}" if disabled else "enabled"
    return row | {"on": ", ".join(row["on"]), "state": state}
