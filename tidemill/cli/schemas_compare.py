"""`tidemill schemas diff`: what two versions of a schema break, and for whom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
import typer

from tidemill.cli.asking import ask
from tidemill.cli.invocation import invocation
from tidemill.cli.options import examples
from tidemill.cli.output import Json, say, show_json, show_rows
from tidemill.cli.schemas_write import full_types
from tidemill.kernel.errors import BrokerError, ControlError, NotFoundError, PayloadError
from tidemill.kernel.subjects import type_matches, unescape_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidemill.kernel.settings.model import Settings

_ID: Final = "tidemill:schemas/"
_FILES: Final = 2


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two versions and, where it is known, whose type they describe."""

    old: Any
    new: Any
    source: str = ""
    event_type: str = ""


def register(app: typer.Typer) -> None:
    """Add the command."""
    epilog = examples("schemas diff github push 1 2", "schemas diff old.json new.json --no-tasks --json")
    app.command("diff", epilog=epilog)(diff)


def diff(
    context: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="OLD NEW | SOURCE TYPE [V1 V2]", help="Two files, or a type and two of its versions."
        ),
    ],
    *,
    tasks: Annotated[
        bool, typer.Option("--tasks/--no-tasks", help="Ask the installation which tasks take the type.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Say what has changed, whom it breaks, and which tasks take the type; exit with 1 if it breaks anybody.

    Readers are handlers that were written for the old version; writers are senders that still send it.
    """
    from gateway.schemata.compatibility import compare  # noqa: PLC0415 - the validators delay --help

    settings = invocation(context).settings()
    pair = _pair(names, settings)
    changes = [change.facts() for change in compare(pair.old, pair.new)]
    broken = [change for change in changes if change["breaks"]]
    affected, unknown = _affected(context, settings, pair) if tasks and pair.source else ([], None)
    if as_json:
        show_json({"changes": changes, "breaking": len(broken), "tasks": affected, "tasks_unknown": unknown})
    else:
        shown = [change | {"breaks": ", ".join(change["breaks"]) or None} for change in changes]
        show_rows(shown, columns=("path", "change", "breaks"), as_json=False, empty="nothing has changed")
        for line in _told(pair, affected, unknown):
            say(line)
    if broken:
        raise typer.Exit(1)


def _told(pair: _Pair, affected: list[str], unknown: str | None) -> list[str]:
    if unknown:
        return [f"which tasks take it is unknown: {unknown}"]
    if affected:
        return [f"tasks that take {pair.source}.{pair.event_type}: {', '.join(affected)}"]
    return []


def _pair(names: Sequence[str], settings: Settings) -> _Pair:
    """Read what the arguments name."""
    if len(names) == _FILES and all(Path(name).is_file() for name in names):
        old, new = (_read(Path(name)) for name in names)
        return _Pair(old, new, *_stated(new))
    if not _FILES <= len(names) <= 2 * _FILES:
        raise PayloadError("that is neither two files nor SOURCE TYPE [V1 V2]", hint="see --help")
    source, event_type = names[0], names[1].removeprefix(f"{names[0]}.")
    versions = _versions(settings, source, event_type)
    wanted = [_number(name) for name in names[2:]] or sorted(versions)[-2:]
    if len(wanted) == 1:
        wanted.append(max(versions))
    if len(versions) <= 1 or not set(wanted) <= set(versions):
        known = ", ".join(map(str, sorted(versions))) or "none"
        raise NotFoundError(
            f"{source} {event_type} hasn't these versions", hint=f"there are: {known}; or name two files"
        )
    old, new = (_read(versions[number]) for number in wanted)
    return _Pair(old, new, source, event_type)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise PayloadError(f"{text!r} is no version", hint="a version is a number")
    return int(text)


def _versions(settings: Settings, source: str, event_type: str) -> dict[int, Path]:
    from gateway.posting import directories  # noqa: PLC0415 - the same
    from gateway.schemas import SchemaStore  # noqa: PLC0415 - the validators delay --help

    known = SchemaStore(directories(settings)).known()
    return {version: path for one, other, version, path in known if (one, other) == (source, event_type)}


def _read(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PayloadError(f"{path} can't be read as a schema: {error}", hint="name a JSON file") from error


def _stated(schema: Any) -> tuple[str, str]:
    """Return source and type that a schema's `$id` names, empty where it names none."""
    stated = str(schema.get("$id", "")) if isinstance(schema, dict) else ""
    parts = stated.removeprefix(_ID).split("/")
    return (parts[0], unescape_type(parts[1])) if stated.startswith(_ID) and len(parts) > _FILES else ("", "")


def _affected(context: typer.Context, settings: Settings, pair: _Pair) -> tuple[list[str], str | None]:
    """Return the tasks that take the type, or why they can't be asked for."""
    sources = [name for name, one in settings.sources.items() if pair.source in (name, one.preset)]
    types = [name for source in sources or [pair.source] for name in full_types(source, pair.event_type)]
    try:
        definitions = ask(context, lambda remote: remote.tasks())
    except (BrokerError, ControlError, NotFoundError) as error:
        return [], error.sentence
    return [str(one["id"]) for one in definitions if any(_takes(one, name) for name in types)], None


def _takes(definition: dict[str, Any], event_type: str) -> bool:
    """Say whether a task may take events of a type, or of a type with any action, `github.issues.*`."""
    patterns: list[str] = definition.get("on") or []
    base = event_type.removesuffix(".*")
    full = ((pattern, f"{base}.{pattern.rsplit('.', 1)[-1]}") for pattern in patterns)
    if base == event_type:
        return any(type_matches(pattern, event_type) for pattern in patterns)
    return any(type_matches(pattern, candidate) for pattern, candidate in full)
