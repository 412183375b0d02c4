"""What users wrote: the settings file and the environment, merged, and what is wrong with it in words."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME: Final = "tidemill.toml"
PREFIX: Final = "TIDEMILL_"
COMMAND_LINE: Final = "command line"
_SEPARATOR: Final = "__"
_NAME: Final = "<name>"
_NAMED: Final = (
    ("sources",),
    ("destinations",),
    *(("alerts", table) for table in ("slack", "email", "webhook", "rules")),
)
"""Tables whose keys are names of the user's."""
_HIDDEN: Final = (
    *("secrets", "secret", "client_secret", "secret_key"),
    *("password", "keys", "hash", "key", "value", "headers", "slack", "webhook"),
)
Keys = tuple[str, ...]


@dataclass(slots=True)
class Given:
    """Values merged from all inputs, later ones over earlier ones, and where each came from."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Keys, str] = field(default_factory=dict)

    def put(self, keys: Keys, value: object, origin: str) -> None:
        """Set one value; a table is merged into the one that is there already."""
        if isinstance(value, Mapping):
            self._table(keys)
            for name, inner in value.items():
                self.put((*keys, str(name)), inner, origin)
            return
        self._table(keys[:-1])[keys[-1]] = value
        self.origins[keys] = origin

    def _table(self, keys: Keys) -> dict[str, Any]:
        table = self.values
        for key in keys:
            inner = table.get(key)
            if not isinstance(inner, dict):
                inner = table[key] = {}
            table = inner
        return table

    def origin(self, keys: Keys) -> str:
        """Return where the value under these keys came from, or the first one below or above them."""
        for known, origin in self.origins.items():
            shorter = min(len(known), len(keys))
            if known[:shorter] == keys[:shorter]:
                return origin
        return FILE_NAME


def read_file(path: Path) -> dict[str, Any]:
    """Return a settings file's tables.

    Raises:
        SettingsError: the file can't be read or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is no TOML: {error}", hint="mend the line that it names") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the settings file {path} can't be read: {error}",
            hint="name another one with --config, or write one with 'tidemill init'",
        ) from error


def from_environment(environ: Mapping[str, str]) -> Iterator[tuple[Keys, str, str]]:
    """Yield keys, value and variable of every setting in the environment; an empty one counts as missing."""
    for variable, value in sorted(environ.items()):
        if variable.startswith(PREFIX) and value:
            yield tuple(variable.removeprefix(PREFIX).lower().split(_SEPARATOR)), value, variable


def known_keys(model: type[BaseModel]) -> dict[str, Any]:
    """Return every key below a model, dotted, with its field; `<name>` stands for a name of the user's."""
    found: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        found[name] = info
        for inner, prefix in _models(info.annotation):
            found |= {f"{name}.{prefix}{key}": value for key, value in known_keys(inner).items()}
    return found


def _models(annotation: object, prefix: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    """Yield the models inside a type, with what stands between its key and theirs."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, prefix
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is dict:
        yield from _models(inner[1], f"{_NAME}.")
    elif origin in (Annotated, Union, UnionType, tuple):
        for part in inner:
            yield from _models(part, prefix)


def problems(error: ValidationError, given: Given, model: type[BaseModel]) -> list[str]:
    """Say in one sentence each what is wrong: where, which key, which value, and what it should be."""
    return [_problem(detail, given, model) for detail in error.errors(include_url=False)]


def _problem(detail: Any, given: Given, model: type[BaseModel]) -> str:
    keys = tuple(str(part) for part in detail["loc"])
    where = f"{given.origin(keys)}: {'.'.join(keys)}"
    if detail["type"] == "extra_forbidden":
        return f"{where}{_value(keys, detail['input'])} is no setting{_suggestion(keys, model)}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{where}{_value(keys, detail['input'])}: {message[:1].lower()}{message[1:]}"


def _value(keys: Keys, value: object) -> str:
    """Return ` = value`, or nothing where it may be a secret or is a whole table."""
    secret = any(key in _HIDDEN for key in keys) or "@" in str(value)
    return "" if secret or isinstance(value, dict | list | tuple) else f" = {value!r}"


def _suggestion(keys: Keys, model: type[BaseModel]) -> str:
    """Return the sibling whose name is nearest, else the same name in another section."""
    known = list(known_keys(model))
    siblings = {key.rpartition(".")[2]: key for key in known if _parent(key) == _placeholders(keys[:-1])}
    near = [siblings[name] for name in get_close_matches(keys[-1], siblings, n=1)]
    elsewhere = [key for key in known if key.rpartition(".")[2] == keys[-1]]
    found = (near or elsewhere)[:1]
    return f"; did you mean {_named(found[0], keys)}?" if found else ""


def _parent(key: str) -> str:
    return key.rpartition(".")[0]


def _placeholders(keys: Keys) -> str:
    """Return a known key's form: the user's own name replaced, positions in lists left out."""
    named = [_NAME if keys[:index] in _NAMED else key for index, key in enumerate(keys)]
    return ".".join(key for key in named if not key.isdigit())


def _named(known: str, keys: Keys) -> str:
    """Return a known key with the user's own name in it."""
    names = [key for index, key in enumerate(keys) if keys[:index] in _NAMED]
    return known.replace(_NAME, names[0]) if names else known
