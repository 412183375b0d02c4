"""`tidemill events`: the accepted events, and sending them again."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from tidemill.cli.asking import ask
from tidemill.cli.capture import prepare_sample_file, written_data
from tidemill.cli.dry_run import register as register_dry_run
from tidemill.cli.event_records import register as register_records
from tidemill.cli.event_records import verdict_of
from tidemill.cli.events_tail import tail
from tidemill.cli.invocation import invocation
from tidemill.cli.options import Before, Limit, SourceFilter, examples
from tidemill.cli.output import Json, say, show_json, show_record, show_rows
from tidemill.cli.redaction import Redaction
from tidemill.cli.remote import Remote, Row
from tidemill.cli.several import do_each
from tidemill.kernel.errors import ConflictError

app = typer.Typer(name="events", help="Look at accepted events; replay and save them.", no_args_is_help=True)
EventId = Annotated[str, typer.Argument(metavar="EVENT", help="The event's id, or its delivery key.")]
_COLUMNS = ("seq", "received_at", "type", "source", "id", "subject", "replayof")


@app.command(
    "list",
    epilog=examples(
        "events list", "events list --type 'github.issues.*'", "events list --source stripe --json"
    ),
)
def list_events(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    *,
    source: SourceFilter = None,
    event_type: Annotated[
        str | None,
        typer.Option("--type", metavar="PATTERN", help="Like github.push or github.issues.*"),
    ] = None,
    before: Before = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Show the newest events."""
    rows = ask(
        context,
        lambda remote: remote.events(source=source, event_type=event_type, before=before, limit=limit),
    )
    show_rows(rows, columns=_COLUMNS, as_json=as_json, empty="no events")


@app.command("show", epilog=examples("events show 72d3162e-cc78-11e3-81ab-4c9367dc0958"))
def show_event(context: typer.Context, event: EventId, *, as_json: Json = False) -> None:
    """Show an event: its attributes and data, what was decided about it, and the runs that it started."""
    row = ask(context, lambda remote: remote.event(event))
    if as_json:
        show_json(row)
        return
    show_record(row["event"] | {"received_at": row["received_at"], "size": row["size"]}, as_json=False)
    say("")
    show_rows(row["runs"], columns=("run_id", "task", "status"), as_json=False, empty="it started no run")
    for record in row["verdicts"]:
        told = [verdict_of(verdict) for verdict in record.get("verdicts", [])]
        say(f"{record['kind']} at {record['at']}  {'; '.join(told)}".rstrip())
    say("\ndata")
    show_json(row["data"])


@app.command("replay", epilog=examples("events replay 72d3162e-cc78-11e3-81ab-4c9367dc0958"))
def replay(
    context: typer.Context,
    events: Annotated[list[str], typer.Argument(metavar="EVENT...", help="The events' ids.")],
    *,
    as_json: Json = False,
) -> None:
    """Store events again under new ids, linked to the old ones: every task that wants them runs anew."""
    do_each(context, events, lambda remote, event: remote.replay_event(event), as_json=as_json)


@app.command(
    "save",
    epilog=examples(
        "events save 72d3162e... push.json",
        "send github push --data push.json",
        "events save 72d3162e... --sample force_push --redact",
    ),
)
def save(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    event: EventId,
    file: Annotated[
        Path | None, typer.Argument(help="Where to; - prints it, a name is made of type and id by default.")
    ] = None,
    *,
    sample: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Write its data as a sample of [schemas] directories."),
    ] = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="Replace what looks personal or secret; writes the data.")
    ] = False,
    redact_key: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Replace the values of this key too.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")] = False,
    as_json: Json = False,
) -> None:
    """Write an event's body into a file, byte by byte as it was received: for tests, or to send it again."""

    async def fetch(remote: Remote) -> tuple[Row, bytes]:
        return await remote.event(event), await remote.event_body(event)

    row, body = ask(context, fetch)
    if sample is not None or redact or redact_key:
        body = written_data(row, Redaction(redact_key or ()) if redact or redact_key else None)
    if sample is not None:
        file = prepare_sample_file(invocation(context).settings(), row["event"], sample)
    if file == Path("-"):
        sys.stdout.buffer.write(body)
        return
    path = file or Path(_file_name(row["event"]))
    if path.exists() and not force:
        raise ConflictError(f"{path} exists already", hint="name another file, or overwrite it with --force")
    path.write_bytes(body)
    if as_json:
        show_json({"written": str(path), "bytes": len(body)})
    else:
        say(f"wrote {len(body)} bytes into {path}")


register_records(app)
app.command(
    "tail",
    epilog=examples(
        "events tail", "events tail --type 'github.issues.*' --json", "events tail --task deploy -n 0"
    ),
)(tail)
register_dry_run(app)


def _file_name(event: Row) -> str:
    """Return a name that is harmless whatever the event's type and id are."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", f"{event['type']}-{event['id']}").strip("-")[:150] + ".json"
