"""`tidemill schemas drift`: where events have begun to differ from what was known of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.asking import ask
from tidemill.cli.options import MAX_LIMIT, SourceFilter, examples
from tidemill.cli.output import Json, show_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidemill.cli.remote import Row

_COLUMNS = ("source", "type", "kind", "path", "events", "example", "first_seen", "last_seen")
_Key = tuple[str, str, str, str]


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
    rows = sorted(_summed(reports), key=lambda row: str(row["last_seen"]), reverse=True)
    show_rows(rows, columns=_COLUMNS, as_json=as_json, empty="no drift was seen")


def _summed(reports: Iterable[Row]) -> list[dict[str, Any]]:
    """Add up what gateways have reported, by place."""
    found: dict[_Key, dict[str, Any]] = {}
    for report in reports:
        for one in report.get("findings", []):
            key = (report["source"], report["type"], one["kind"], one["path"])
            row = found.setdefault(
                key,
                dict(zip(_COLUMNS, (*key, 0, one.get("example"), report["at"], report["at"]), strict=True)),
            )
            row["events"] += one["events"]
            row["first_seen"] = min(row["first_seen"], report["at"])
            row["last_seen"] = max(row["last_seen"], report["at"])
    return list(found.values())
