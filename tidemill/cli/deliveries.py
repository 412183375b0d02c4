"""`tidemill deliveries`: every request, what it came to, and sending again what it brought."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from tidemill.cli.asking import ask
from tidemill.cli.options import Limit, SourceFilter, examples
from tidemill.cli.output import Json, more_of, say, show_json, show_record, show_rows
from tidemill.cli.remote import Remote, Row
from tidemill.cli.several import do_each
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.services.kept import is_request

app = typer.Typer(
    name="deliveries",
    help="Look at requests, refused ones too; send again what they brought, verify refused ones again.",
    no_args_is_help=True,
)
DeliveryId = Annotated[
    str, typer.Argument(metavar="ID", help="The delivery's id, or that of an event that it brought.")
]
_COLUMNS = ("id", "at", "source", "verdict", "reason", "status", "ms", "client", "size", "events", "missed")


@app.command(
    "list",
    epilog=examples(
        "deliveries list",
        "deliveries list --verdict refused --source github --since 1h",
        "deliveries list --reason signature_mismatch --json",
    ),
)
def list_deliveries(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    *,
    source: SourceFilter = None,
    verdict: Annotated[
        str | None,
        typer.Option(
            metavar="WORD", help="accepted, duplicate, quarantined, mixed, refused, handshake, unavailable…"
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="WORD", help="The check that refused it, like signature_mismatch.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Not older: like 90m, 2d or 2026-11-22T12:00:00Z.")
    ] = None,
    before: Annotated[
        str | None, typer.Option(metavar="NEXT", help="Go on where a listing before has ended.")
    ] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Show the newest requests with what each came to; of refused ones a sample is kept under load."""
    given = {"source": source, "verdict": verdict, "reason": reason, "since": since, "before": before}
    wanted = {name: value for name, value in given.items() if value is not None}
    found = ask(context, lambda remote: remote.deliveries(wanted, limit))
    if as_json:
        show_json(found)
        return
    rows = [_flat(row) for row in found["deliveries"]]
    columns = [name for name in _COLUMNS if any(row.get(name) not in (None, 0) for row in rows)]
    show_rows(rows, columns=columns, as_json=False, empty="no deliveries")
    more_of(found, as_json=False)


@app.command("show", epilog=examples("deliveries show d412-7", "deliveries show d412-7 --body > body.json"))
def show_delivery(
    context: typer.Context,
    delivery: DeliveryId,
    *,
    body: Annotated[
        bool, typer.Option("--body", help="Print the body alone, byte by byte as it was received.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show a request: what it came to, its headers without secrets, and the body of a genuine one."""
    if body:
        sys.stdout.buffer.write(ask(context, lambda remote: remote.delivery_body(delivery)))
        return
    row = ask(context, lambda remote: remote.delivery(delivery))
    if as_json:
        show_json(row)
        return
    apart = ("events", "headers", "body", "body64")
    show_record({name: value for name, value in row.items() if name not in apart}, as_json=False)
    for name, value in row.get("headers", {}).items():
        say(f"  {name}: {value}")
    if row.get("events"):
        say("")
        show_rows(row["events"], columns=("id", "type", "status", "reason", "seq"), as_json=False)
    if "body" in row:
        say(f"\nbody\n{row['body']}")
    elif "body64" in row:
        say("\nthe body is no text: --body prints it")


@app.command("replay", epilog=examples("deliveries replay d412-7"))
def replay(
    context: typer.Context,
    deliveries: Annotated[
        list[str], typer.Argument(metavar="ID...", help="The deliveries' ids, or ids of their events.")
    ],
    *,
    as_json: Json = False,
) -> None:
    """Store the events that deliveries brought again, each as `events replay` does, under a new id."""
    do_each(context, deliveries, lambda remote, delivery: remote.replay_delivery(delivery), as_json=as_json)


@app.command(
    "reverify",
    epilog=examples(
        "deliveries reverify --dry-run", "deliveries reverify github", "deliveries reverify r412-7 r412-9"
    ),
)
def reverify(
    context: typer.Context,
    wanted: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE|ID...]",
            help="Of this source, or of all that keep any; or single ones by their deliveries' ids.",
        ),
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Verify, and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Verify refused requests that were kept with the secrets of today, and let in what is genuine."""
    names = wanted or []
    if names and all(map(is_request, names)):
        do_each(context, names, lambda remote, one: remote.reverify_one(one, dry=dry_run), as_json=as_json)
        return
    if len(names) > 1:
        raise PayloadError("these aren't all ids of deliveries", hint="name one source, or ids like r412-7")
    source = names[0] if names else None

    async def all_of_them(remote: Remote) -> list[Row]:
        rows: list[Row] = []
        after: str | None = None
        while True:
            found = await remote.reverify(source, dry=dry_run, after=after)
            rows += found["reverified"]
            after = found["next"]
            if after is None:
                return rows

    rows = ask(context, all_of_them)
    shown = rows if as_json else [_flat(row) for row in rows]
    columns = ("id", "at", "source", "client", "size", "verdict", "reason", "events")
    show_rows(shown, columns=columns, as_json=as_json, empty="no refused requests are kept")


def _flat(row: Row) -> Row:
    """Return an entry with its latency in milliseconds and its events in one word."""
    events: list[dict[str, Any]] = row.get("events", [])
    count = row.get("of", len(events))
    named = str(events[0]["id"]) if count == 1 else f"{count} events" if count else None
    reasons = {event["reason"] for event in events if "reason" in event}
    reason = row.get("reason") or ", ".join(sorted(reasons)) or None
    source = f"{row['source']}/{row['tenant']}" if row.get("tenant") else row.get("source") or row.get("path")
    took = f"{row['us'] / 1000:.1f}" if "us" in row else None
    told = {"source": source, "ms": took, "events": named, "reason": reason}
    return {**row, **told, "at": str(row["at"])[:23]}
