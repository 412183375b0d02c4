"""JSON Schemas of events: found under `<directory>/<source>/<type>/<version>.json`, compiled once.

The rule of which schema judges an event: the directory of the configured source comes before that of its
preset, and the type with its action (`issues.opened`) before the type without (`issues`). In a directory
the highest version counts. Later directories win, so that users can add and replace schemas.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jsonschema
import jsonschema_rs
import orjson

from gateway.recipes.selector import json_path
from gateway.verdict import Reason
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BUNDLED: Final = Path(__file__).resolve().parent.parent / "schemas"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_MAX_DETAIL: Final = 300
_MAX_PROBLEMS: Final = 100


@dataclass(frozen=True, slots=True)
class EventSchema:
    """One compiled schema.

    Attributes:
        identifier: `tidemill:schemas/github/push/1`, the event's `dataschema`.
        path: the file.
        validator: the compiled schema.
    """

    identifier: str
    path: Path
    validator: jsonschema_rs.Draft202012Validator

    def check(self, document: Any) -> Reason | None:
        """Return why a document doesn't fit, None where it does."""
        if self.validator.is_valid(document):
            return None
        problems = islice(self.validator.iter_errors(document), _MAX_PROBLEMS)
        problem = min(problems, key=lambda error: len(error.instance_path))
        detail = f"{problem.message[:_MAX_DETAIL]} ({self.identifier})"
        return Reason("schema", detail, json_path(list(problem.instance_path)))


class SchemaStore:
    """All schemas of some directories.

    Raises:
        SettingsError: a directory isn't there; a file is no JSON Schema.
    """

    def __init__(self, directories: Sequence[Path] = (BUNDLED,)) -> None:
        self._files: dict[tuple[str, str], tuple[int, Path]] = {}
        self._compiled: dict[Path, EventSchema] = {}
        for directory in directories:
            if not directory.is_dir():
                raise SettingsError(
                    f"{directory} is no directory of schemas", hint="create it or correct the path"
                )
            self._files.update(_newest(directory))

    def find(self, sources: Sequence[str], types: Iterable[str | None]) -> EventSchema | None:
        """Return the schema for the first pair that has one, types before sources; None without any."""
        for event_type in types:
            for source in sources:
                found = self._files.get((source, event_type)) if event_type else None
                if found is not None:
                    return self._compile(source, found[1])
        return None

    def prepare(self, sources: Sequence[str]) -> int:
        """Compile all schemas of some sources now, so that a broken one fails at start; return how many."""
        wanted = [(source, path) for (source, _), (_, path) in self._files.items() if source in sources]
        for source, path in wanted:
            self._compile(source, path)
        return len(wanted)

    def known(self) -> Iterator[tuple[str, str, int, Path]]:
        """Yield source, type, version and file of every schema, sorted."""
        for (source, event_type), (version, path) in sorted(self._files.items()):
            yield source, event_type, version, path

    def _compile(self, source: str, path: Path) -> EventSchema:
        compiled = self._compiled.get(path)
        if compiled is None:
            compiled = self._compiled[path] = compile_schema(source, path)
        return compiled


def _newest(directory: Path) -> dict[tuple[str, str], tuple[int, Path]]:
    found: dict[tuple[str, str], tuple[int, Path]] = {}
    for path in directory.glob("*/*/*.json"):
        if path.stem.isascii() and path.stem.isdigit():
            key = (path.parent.parent.name, path.parent.name)
            found[key] = max(found.get(key, (0, path)), (int(path.stem), path))
    return found


def compile_schema(source: str, path: Path) -> EventSchema:
    """Read and compile one file.

    Raises:
        SettingsError: it is no JSON Schema of draft 2020-12.
    """
    try:
        schema = orjson.loads(path.read_bytes())
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema_rs.Draft202012Validator(schema)
    except jsonschema.SchemaError as error:
        place = json_path(list(error.absolute_path))
        raise SettingsError(f"{path} is no JSON Schema: {error.message} at {place}", hint=_HINT) from error
    except (ValueError, OSError) as error:
        raise SettingsError(f"{path} can't be read as a JSON Schema: {error}", hint=_HINT) from error
    return EventSchema(f"tidemill:schemas/{source}/{path.parent.name}/{path.stem}", path, validator)


_HINT: Final = f"write a schema of {DIALECT}, or remove the file"
