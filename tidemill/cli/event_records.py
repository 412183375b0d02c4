"""`tidemill events records`: what was decided about events."""

from __future__ import annotations

from typing import Annotated

import typer

from tidemill.cli.asking import ask
from tidemill.cli.options import Limit, SourceFilter, examples
from tidemill.cli.output import Json, show_rows
from tidemill.cli.remote import Row

_COLUMNS = ("at", "kind", "source", "id", "type", "client", "detail")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "records", epilog=examples("events records --kind verdict", "events records --source github")
    )(list_records)


def list_records(
    context: typer.Context,
    *,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="verdict, duplicate or drift.")] = None,
    source: SourceFilter = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Show what was decided about the newest events: routing verdicts, duplicates, drift of their schema."""
    rows = ask(context, lambda remote: remote.records(kind=kind, source=source, limit=limit))
    shown = rows if as_json else [_flat(row) for row in rows]
    columns = [name for name in _COLUMNS if any(row.get(name) is not None for row in shown)]
    show_rows(shown, columns=columns, as_json=as_json, empty="no records")


def _flat(row: Row) -> Row:
    """Return a record with one sentence about its verdicts or its findings, if it has any."""
    if "findings" in row:
        found = (f"{one['kind'].replace('_', ' ')} at {one['path']}" for one in row["findings"])
        return {**row, "detail": "; ".join(found)}
    if "verdicts" not in row:
        return row
    told = "; ".join(verdict_of(verdict) for verdict in row["verdicts"])
    return {**row["event"], **row, "detail": told or "unrouted: no task wants this type"}


def verdict_of(verdict: Row) -> str:
    """Return what the router decided about a task, in one line."""
    why = f"{verdict['clause']} with {verdict['value']!r}"
    reason = f": {verdict['reason']}" if verdict.get("reason") else ""
    return f"{verdict['task']} {verdict['verdict']}: {why}{reason}"
