"""Checking folders of schemas: files are valid, are named as they say, and their samples fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import orjson

from gateway.schemas import EventSchema, compile_schema
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.subjects import escape_type, unescape_type

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a file of a folder of schemas."""

    file: str
    problem: str

    def facts(self) -> dict[str, str]:
        """Return it as plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check came to: how many schemas and samples were looked at, and what is wrong."""

    schemas: int
    samples: int
    problems: list[Problem]


def check_folder(directory: Path, source: str | None = None) -> Checked:
    """Check all schemas and samples below `<directory>/<source>/<type>/`.

    Args:
        directory: a folder of schemas.
        source: this source's only.
    """
    schemas, samples, problems = 0, 0, list(_misplaced(directory, source))
    for folder in sorted(directory.glob(f"{source or '*'}/*/")):
        if not _holds_events(folder):
            continue
        versions = list(_versions(folder, problems))
        found = sorted(folder.glob("samples/*.json"))
        problems += [problem for path in found for problem in _sample_problems(path, versions)]
        schemas, samples = schemas + len(versions), samples + len(found)
    return Checked(schemas, samples, problems)


def _holds_events(folder: Path) -> bool:
    return any(folder.glob("*.json")) or any(folder.glob("samples/*.json"))


def _versions(folder: Path, problems: list[Problem]) -> Iterator[EventSchema]:
    for path in sorted(folder.glob("*.json"), reverse=True):
        try:
            schema = compile_schema(folder.parent.name, path)
        except SettingsError as error:
            problems.append(Problem(str(path), error.sentence.removeprefix(f"{path} ")))
        else:
            problems.extend(_naming(schema, path))
            yield schema


def _naming(schema: EventSchema, path: Path) -> Iterator[Problem]:
    if not (path.stem.isascii() and path.stem.isdigit()):
        yield Problem(str(path), "is no version: name it by a number, like 1.json")
    stated = schema.document.get("$id") if isinstance(schema.document, dict) else None
    if stated not in (None, schema.identifier):
        yield Problem(str(path), f"says that its $id is {stated!r}, but it stands at {schema.identifier!r}")


def _sample_problems(path: Path, versions: list[EventSchema]) -> Iterator[Problem]:
    try:
        document = orjson.loads(path.read_bytes())
    except (ValueError, OSError) as error:
        yield Problem(str(path), f"can't be read: {error}")
        return
    if versions and not any(schema.check(document) is None for schema in versions):
        reason = versions[0].check(document)
        yield Problem(str(path), f"fits no version: {reason.path} {reason.detail}" if reason else "")


def _misplaced(directory: Path, source: str | None) -> Iterator[Problem]:
    """Yield folders whose name no event's type has: it would never be looked up."""
    for folder in sorted(directory.glob(f"{source or '*'}/*/")):
        proper = escape_type(unescape_type(folder.name))
        if proper != folder.name and any(folder.glob("*.json")):
            yield Problem(str(folder), f"is no folder of a type: write it {proper!r}")
