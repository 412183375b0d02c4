"""`tidemill schemas drift`: where events have begun to differ from what was known of them."""

from __future__ import annotations

from typing import Annotated

import typer

from tidemill.cli.asking import ask
from tidemill.cli.options import MAX_LIMIT, SourceFilter, examples
from tidemill.cli.output import Json, show_rows
from tidemill.kernel.services.drift_reports import COLUMNS, summed


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("drift", epilog=examples("schemas drift", "schemas drift --source github --json"))(drift)


def drift(
    context: typer.Context,
    *,
    source: SourceFilter = None,
    limit: Annotated[
        int,
        typer.Option("--limit", "-n", min=1, max=MAX_LIMIT, help="Look at so many of the newest reports."),
    ] = MAX_LIMIT,
    as_json: Json = False,
) -> None:
    """Show members that are new, missing or of a new type, and values that weren't known; newest first.

    Gateways look at a sample of events, so `events` counts those that were looked at.
    """
    reports = ask(context, lambda remote: remote.records(kind="drift", source=source, limit=limit))
    show_rows(summed(reports), columns=COLUMNS, as_json=as_json, empty="no drift was seen")
