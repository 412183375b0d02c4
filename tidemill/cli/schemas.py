"""`tidemill schemas`: the JSON Schemas that deliveries are held against."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from tidemill.cli import schemas_compare, schemas_drift, schemas_write
from tidemill.cli.invocation import invocation
from tidemill.cli.options import SourceFilter, examples
from tidemill.cli.output import Json, say, show_json, show_rows
from tidemill.kernel.errors import NotFoundError

app = typer.Typer(
    name="schemas",
    help="Look at the JSON Schemas of events; check, compare and write them.",
    no_args_is_help=True,
)
SourceName = Annotated[str, typer.Argument(metavar="SOURCE", help="A source or preset.")]
TypeName = Annotated[str, typer.Argument(metavar="TYPE", help="The provider's type, like push.")]


@app.command("list", epilog=examples("schemas list", "schemas list --source github"))
def list_schemas(context: typer.Context, *, source: SourceFilter = None, as_json: Json = False) -> None:
    """Show the schemas that come with the product and those of [schemas] directories."""
    rows = [row for row in _known(context) if source in (None, row["source"])]
    show_rows(rows, columns=("source", "type", "version", "file"), as_json=as_json, empty="no schemas")


@app.command("show", epilog=examples("schemas show github push"))
def show_schema(
    context: typer.Context,
    source: SourceName,
    event_type: TypeName,
    *,
    version: Annotated[int | None, typer.Option(help="This version; the newest by default.")] = None,
) -> None:
    """Print a schema."""
    for row in reversed(_known(context)):
        named = (row["source"], row["type"]) == (source, event_type.removeprefix(f"{source}."))
        if named and version in (None, row["version"]):
            show_json(orjson.loads(Path(str(row["file"])).read_bytes()))
            return
    raise NotFoundError(
        f"there is no schema of {event_type!r} for {source!r}", hint="`tidemill schemas list` shows all"
    )


@app.command("check", epilog=examples("schemas check", "schemas check ./schemas --json"))
def check(
    context: typer.Context,
    directories: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DIRECTORY...", help="Those of the product and the settings by default."),
    ] = None,
    *,
    source: SourceFilter = None,
    as_json: Json = False,
) -> None:
    """Check that schemas are valid and named as they say, and that samples fit; exit with 1 if not."""
    from gateway.posting import directories as configured  # noqa: PLC0415 - the same
    from gateway.schemata.checking import check_folder  # noqa: PLC0415 - the validators delay --help

    wanted = directories or configured(invocation(context).settings())
    for missing in (directory for directory in wanted if not directory.is_dir()):
        raise NotFoundError(f"{missing} is no directory", hint="name a folder of schemas")
    checked = [check_folder(directory, source) for directory in wanted]
    problems = [problem.facts() for one in checked for problem in one.problems]
    counts = {"schemas": sum(one.schemas for one in checked), "samples": sum(one.samples for one in checked)}
    if as_json:
        show_json({**counts, "problems": problems})
    else:
        show_rows(problems, columns=("file", "problem"), as_json=False, empty="no problem")
        say("{schemas} schemas and {samples} samples".format(**counts))
    if problems:
        raise typer.Exit(1)


def _known(context: typer.Context) -> list[dict[str, str | int]]:
    from gateway.posting import directories  # noqa: PLC0415 - the same
    from gateway.schemas import SchemaStore  # noqa: PLC0415 - the validators delay --help

    store = SchemaStore(directories(invocation(context).settings()))
    return [
        {"source": source, "type": event_type, "version": version, "file": str(path)}
        for source, event_type, version, path in store.known()
    ]


schemas_compare.register(app)
schemas_write.register(app)
schemas_drift.register(app)
