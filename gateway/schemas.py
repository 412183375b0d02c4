"""JSON Schemas of events: found under `<directory>/<source>/<type>/<version>.json`, compiled once.

The rule of which schema judges an event: the directory of the configured source comes before that of its
preset, and the type with its action (`issues.opened`) before the type without (`issues`). Of several
versions the newest that the event fits counts. A later directory that has a type replaces the earlier
one's versions of it, so that users can add and replace schemas.

A folder's name is the type with every byte outside of `A-Z a-z 0-9 _ - .` percent-encoded, as in subjects:
`orders/create` stands in `orders%2Fcreate`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import jsonschema
import jsonschema_rs
import orjson

from gateway.reason import Reason
from gateway.recipes.selector import json_path
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.subjects import unescape_type
from tidemill.samples import BUNDLED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

__all__ = ["BUNDLED", "DIALECT", "EventSchema", "Judgement", "SchemaStore", "Watcher", "compile_schema"]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_MAX_DETAIL: Final = 300
_MAX_PROBLEMS: Final = 100
_MAX_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class EventSchema:
    """One compiled schema.

    Attributes:
        identifier: `tidemill:schemas/github/push/1`, the event's `dataschema`.
        event_type: the provider's type that it stands under, `push`.
        path: the file.
        document: what stands in the file.
        validator: the compiled schema.
    """

    identifier: str
    event_type: str
    path: Path
    document: Any
    validator: jsonschema_rs.Draft202012Validator

    def check(self, document: Any) -> Reason | None:
        """Return why a document doesn't fit, None where it does."""
        if self.validator.is_valid(document):
            return None
        problems = islice(self.validator.iter_errors(document), _MAX_PROBLEMS)
        problem = min(problems, key=lambda error: len(error.instance_path))
        detail = f"{problem.message[:_MAX_DETAIL]} ({self.identifier})"
        return Reason("schema", detail, json_path(list(problem.instance_path)))


class Judgement(NamedTuple):
    """What the schemas of a type say about a document.

    Attributes:
        schema: the newest version that it fits; None where none does, or there is no schema.
        reason: why it doesn't fit the newest version; None where it fits, or there is no schema.
    """

    schema: EventSchema | None
    reason: Reason | None

    @property
    def identifier(self) -> str | None:
        """The event's `dataschema`."""
        return self.schema.identifier if self.schema else None


UNVALIDATED: Final = Judgement(None, None)


class Watcher(Protocol):
    """Gets a look at documents that fit their schema; it has to be quick."""

    def __call__(self, source: str, event_type: str, schema: EventSchema, document: Any) -> None:
        """See one document of a configured source, with the provider's type and its action."""


class SchemaStore:
    """All schemas of some directories.

    Attributes:
        outcomes: how many documents of a configured source fitted, missed or had no schema.
        watcher: who sees the documents that fit, None without one.

    Raises:
        SettingsError: a directory isn't there; a file is no JSON Schema.
    """

    def __init__(self, directories: Sequence[Path] = (BUNDLED,)) -> None:
        self._files: dict[tuple[str, str], dict[int, Path]] = {}
        self._compiled: dict[tuple[str, str], tuple[EventSchema, ...]] = {}
        self.outcomes: dict[tuple[str, ...], int] = defaultdict(int)
        self.watcher: Watcher | None = None
        for directory in directories:
            if not directory.is_dir():
                raise SettingsError(
                    f"{directory} is no directory of schemas", hint="create it or correct the path"
                )
            self._files.update(_versions(directory))

    def judge(self, sources: Sequence[str], types: Sequence[str | None], document: Any) -> Judgement:
        """Hold a document against the schema of the first pair that has one, types before sources.

        Args:
            sources: the configured source, then its preset.
            types: the provider's type with its action, then without.
            document: the event's data.
        """
        source, versions = sources[0], self.versions(sources, types)
        if not versions:
            self.outcomes[source, "unvalidated"] += 1
            return UNVALIDATED
        for schema in versions:
            if schema.validator.is_valid(document):
                self.outcomes[source, "fits"] += 1
                if self.watcher is not None:
                    self.watcher(source, types[0] or schema.event_type, schema, document)
                return Judgement(schema, None)
        self.outcomes[source, "misfit"] += 1
        return Judgement(None, versions[0].check(document))

    def versions(self, sources: Sequence[str], types: Iterable[str | None]) -> tuple[EventSchema, ...]:
        """Return the schemas of the first pair that has any, the newest first."""
        for event_type in types:
            for source in sources:
                if event_type and (source, event_type) in self._files:
                    return self._compile(source, event_type)
        return ()

    def find(self, sources: Sequence[str], types: Iterable[str | None]) -> EventSchema | None:
        """Return the newest schema of the first pair that has any; None without one."""
        return next(iter(self.versions(sources, types)), None)

    def prepare(self, sources: Sequence[str]) -> int:
        """Compile all schemas of some sources now, so that a broken one fails at start; return how many."""
        wanted = [pair for pair in self._files if pair[0] in sources]
        return sum(len(self._compile(*pair)) for pair in wanted)

    def known(self) -> Iterator[tuple[str, str, int, Path]]:
        """Yield source, type, version and file of every schema, sorted."""
        for (source, event_type), versions in sorted(self._files.items()):
            for version, path in sorted(versions.items()):
                yield source, event_type, version, path

    def _compile(self, source: str, event_type: str) -> tuple[EventSchema, ...]:
        key = (source, event_type)
        compiled = self._compiled.get(key)
        if compiled is None:
            newest = sorted(self._files[key].items(), reverse=True)
            compiled = tuple(compile_schema(source, path) for _, path in newest)
            self._compiled[key] = compiled
        return compiled


def _versions(directory: Path) -> dict[tuple[str, str], dict[int, Path]]:
    found: dict[tuple[str, str], dict[int, Path]] = defaultdict(dict)
    for path in directory.glob("*/*/*.json"):
        if path.stem.isascii() and path.stem.isdigit() and len(path.stem) <= _MAX_DIGITS:
            found[path.parent.parent.name, unescape_type(path.parent.name)][int(path.stem)] = path
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
    folder = path.parent.name
    identifier = f"tidemill:schemas/{source}/{folder}/{path.stem}"
    return EventSchema(identifier, unescape_type(folder), path, schema, validator)


_HINT: Final = f"write a schema of {DIALECT}, or remove the file"
