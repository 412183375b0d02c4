"""`tidemill schemas`: the JSON Schemas that deliveries are held against."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from tidemill.cli.invocation import invocation
from tidemill.cli.options import SourceFilter, examples
from tidemill.cli.output import Json, show_json, show_rows
from tidemill.kernel.errors import NotFoundError

app = typer.Typer(name="schemas", help="Look at the JSON Schemas of events.", no_args_is_help=True)


@app.command("list", epilog=examples("schemas list", "schemas list --source github"))
def list_schemas(context: typer.Context, *, source: SourceFilter = None, as_json: Json = False) -> None:
    """Show the schemas that come with the product and those of [schemas] directories."""
    rows = [row for row in _known(context) if source in (None, row["source"])]
    show_rows(rows, columns=("source", "type", "version", "file"), as_json=as_json, empty="no schemas")


@app.command("show", epilog=examples("schemas show github push"))
def show_schema(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A source or preset.")],
    event_type: Annotated[str, typer.Argument(metavar="TYPE", help="The provider's type, like push.")],
) -> None:
    """Print a schema."""
    for row in _known(context):
        if (row["source"], row["type"]) == (source, event_type.removeprefix(f"{source}.")):
            show_json(orjson.loads(Path(str(row["file"])).read_bytes()))
            return
    raise NotFoundError(
        f"there is no schema of {event_type!r} for {source!r}", hint="`tidemill schemas list` shows all"
    )


def _known(context: typer.Context) -> list[dict[str, str | int]]:
    from gateway.schemas import SchemaStore  # noqa: PLC0415 - the validators delay --help
    from tidemill.cli.posting import directories  # noqa: PLC0415 - the same

    store = SchemaStore(directories(invocation(context).settings()))
    return [
        {"source": source, "type": event_type, "version": version, "file": str(path)}
        for source, event_type, version, path in store.known()
    ]
