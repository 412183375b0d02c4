"""`tidemill schemas infer|models`: schemas from events, and Python models from schemas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
import typer

from tidemill.cli.asking import ask
from tidemill.cli.invocation import invocation
from tidemill.cli.options import MAX_LIMIT, examples
from tidemill.cli.output import say, show_json
from tidemill.cli.working import working
from tidemill.kernel.errors import ConflictError, NotFoundError, PayloadError
from tidemill.kernel.subjects import escape_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill.cli.remote import Remote, Row

POSTED: Final = "events"
"""In place of a source: events that were posted to `/events`, whose types are whole."""
Out = Annotated[Path | None, typer.Option(metavar="FILE", help="Write there; print it by default.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        "infer",
        epilog=examples(
            "schemas infer acme order.paid", "schemas infer acme order.paid --from captured/ --out 1.json"
        ),
    )(infer)
    app.command(
        "models",
        epilog=examples("schemas models github push issues", "schemas models stripe --out stripe_events.py"),
    )(models)


def infer(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A configured source.")],
    event_type: Annotated[str, typer.Argument(metavar="TYPE", help="The provider's type, like order.paid.")],
    *,
    files: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="PATH", help="Files or folders of JSON in place of stored events."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=MAX_LIMIT, help="From so many stored events.")
    ] = 100,
    version: Annotated[int, typer.Option(min=1, help="The version that its $id names.")] = 1,
    enums: Annotated[
        bool, typer.Option("--enums", help="Refuse values that weren't seen, where few repeat.")
    ] = False,
    out: Out = None,
    force: Force = False,
) -> None:
    """Write a schema that fits the events seen: the newest stored ones of a type, or files."""
    from gateway.schemata.inference import infer_schema  # noqa: PLC0415 - the validators delay --help

    base = event_type.removeprefix(f"{source}.")
    if files:
        documents = [_read(path) for path in _json_files(files)]
    else:
        with working("reading events") as tell:
            documents = ask(context, lambda remote: _captured(remote, source, base, limit, tell))
    if not documents:
        raise NotFoundError(
            f"there is nothing of {source}.{base} to infer from",
            hint="name files with --from, or send events",
        )
    identifier = f"tidemill:schemas/{source}/{escape_type(base)}/{version}"
    schema = infer_schema(documents, identifier=identifier, title=base, binding=enums)
    if out is None:
        show_json(schema)
    else:
        _write(out, orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE), force=force)


def models(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A source or preset.")],
    types: Annotated[
        list[str] | None, typer.Argument(metavar="TYPE...", help="The provider's types; all by default.")
    ] = None,
    *,
    out: Out = None,
    force: Force = False,
) -> None:
    """Write pydantic models of a source's events, by the newest version of each schema."""
    from gateway.schemata.models import write_models  # noqa: PLC0415 - the validators delay --help

    text = write_models(source, _newest(context, source, types or []).items())
    if out is None:
        typer.echo(text, nl=False)
    else:
        _write(out, text.encode(), force=force)


def _newest(context: typer.Context, source: str, types: list[str]) -> dict[str, Any]:
    """Return the newest schema of each type that is asked for, of the source or else of its preset."""
    from gateway.posting import directories  # noqa: PLC0415 - the same
    from gateway.schemas import SchemaStore  # noqa: PLC0415 - the validators delay --help

    settings = invocation(context).settings()
    known = list(SchemaStore(directories(settings)).known())
    configured = settings.sources.get(source)
    names = [source, *([configured.preset] if configured and configured.preset else [])]
    found: dict[str, Any] = {}
    for name in reversed(names):
        found |= {event_type: _read(path) for one, event_type, _, path in known if one == name}
    wanted = [event_type.removeprefix(f"{source}.") for event_type in types] or sorted(found)
    for missing in (event_type for event_type in wanted if event_type not in found):
        raise NotFoundError(
            f"there is no schema of {missing!r} for {source!r}",
            hint=f"there are: {', '.join(found) or 'none'}",
        )
    if not wanted:
        raise NotFoundError(f"there are no schemas of {source!r}", hint="`tidemill schemas list` shows all")
    return {event_type: found[event_type] for event_type in wanted}


def full_types(source: str, event_type: str) -> list[str]:
    """Return the types of stored events: a webhook's has its source before it, and may have an action."""
    if source == POSTED:
        return [event_type]
    return [f"{source}.{event_type}", f"{source}.{event_type}.*"]


async def _captured(
    remote: Remote, source: str, event_type: str, limit: int, tell: Callable[[str], None]
) -> list[Any]:
    """Return the data of the newest stored events of a type, with an action or without."""
    rows: list[Row] = []
    for pattern in full_types(source, event_type):
        rows += await remote.events(source=None, event_type=pattern, before=None, limit=limit)
    newest = sorted(rows, key=lambda row: int(row["seq"]), reverse=True)[:limit]
    found: list[Any] = []
    for number, row in enumerate(newest, start=1):
        tell(f"reading event {number} of {len(newest)}")
        found.append((await remote.event(str(row["key"])))["data"])
    return found


def _json_files(paths: list[Path]) -> list[Path]:
    return [file for path in paths for file in (sorted(path.rglob("*.json")) if path.is_dir() else [path])]


def _read(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PayloadError(
            f"{path} can't be read as JSON: {error}", hint="name files of one document each"
        ) from error


def _write(path: Path, content: bytes, *, force: bool) -> None:
    if path.exists() and not force:
        raise ConflictError(f"{path} exists already", hint="name another file, or overwrite it with --force")
    path.write_bytes(content)
    say(f"wrote {path}")
