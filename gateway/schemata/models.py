"""Pydantic models of events, written from their schemas.

One class for the event and one for each object in it. Members that the schema doesn't name are kept as
they are. Where a provider's name isn't one for Python, the field has another and the provider's as alias.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from gateway.schemata.shape import Shape, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SCALARS: Final = {"boolean": "bool", "integer": "int", "number": "float", "string": "str", "null": "None"}
_TIMES: Final = {"date-time": "dt.datetime", "date": "dt.date"}
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_BUILTINS: Final = {"bool", "dict", "dt", "float", "int", "list", "str"}
_TAKEN: Final = frozenset(dir(BaseModel)) | _BUILTINS
_MAX_LINE: Final = 110
_HEAD: Final = '''\
"""Events of {source}. Written by `tidemill schemas models`: don't edit it, write it anew."""

from __future__ import annotations
{imports}

class EventModel(BaseModel):
    """Base of all: members that no field names are kept."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())
'''


_Place = tuple[str, ...]


@dataclass(slots=True)
class _Class:
    name: str
    title: str
    fields: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return its source."""
        body = "\n".join(f"    {line}" for line in self.fields)
        return f'class {self.name}(EventModel):\n    """{self.title}."""\n' + (f"\n{body}\n" if body else "")


@dataclass(slots=True)
class _Module:
    """A module that grows by one event's classes after the other."""

    classes: dict[str, _Class] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)
    base: str = ""

    def add_event(self, event_type: str, schema: Mapping[str, Any]) -> str:
        """Add an event's classes and return the name of its own."""
        shape = shape_of(schema)
        self.base, self.definitions = class_name(event_type), {}
        return self._add(shape, f"{self.base}Event", (), shape.title or event_type).name

    def _add(self, shape: Shape, name: str, at: _Place, title: str, definition: str = "") -> _Class:
        """Add an object's class, under another name where its own is taken."""
        built = _Class(self._free(name), _sentence(title))
        self.classes[built.name] = built
        if definition:
            self.definitions[definition] = built.name
        taken: set[str] = set()
        for key, member in shape.members.items():
            python = _field_name(key, taken)
            taken.add(python)
            annotation = self._annotation(member, (*at, key))
            built.fields.append(_field(python, key, annotation, required=key in shape.required))
        return built

    def _free(self, name: str) -> str:
        number, candidate = 2, name
        while candidate in self.classes:
            candidate, number = f"{name}{number}", number + 1
        return candidate

    def _annotation(self, shape: Shape, at: _Place) -> str:
        if shape.values is not None and all(isinstance(one, str | int | None) for one in shape.values):
            return _literal(shape.values)
        if shape.types is None:
            return "Any"
        parts = [self._one(name, shape, at) for name in sorted(shape.types, key=_order)]
        return " | ".join(dict.fromkeys(parts))

    def _one(self, name: str, shape: Shape, at: _Place) -> str:
        if name == "string":
            return _TIMES.get(shape.constraints.get("format", ""), "str")
        if name == "array":
            inner = (*at[:-1], _singular(at[-1])) if at else ("item",)
            return f"list[{self._annotation(shape.items, inner) if shape.items else 'Any'}]"
        if name != "object":
            return _SCALARS[name]
        if shape.members:
            return self._object(shape, at)
        return f"dict[str, {self._annotation(shape.others, at) if shape.others else 'Any'}]"

    def _object(self, shape: Shape, at: _Place) -> str:
        """Return the class of an object within an event; a definition has one, wherever it is used."""
        if not shape.name:
            name = self.base + "".join(class_name(part) for part in at)
            return self._add(shape, name, at, f"What stands at `{'.'.join(at)}`").name
        found = self.definitions.get(shape.name)
        name, title = f"{self.base}{class_name(shape.name)}", f"`{shape.name}`, wherever it stands"
        return found or self._add(shape, name, (shape.name,), title, shape.name).name


def write_models(source: str, schemas: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Return a module with the models of a source's events.

    Args:
        source: its name, for the docstring.
        schemas: types with their schemas; each type's class is named after it: `push` is `PushEvent`.
    """
    module = _Module()
    events = {event_type: module.add_event(event_type, schema) for event_type, schema in schemas}
    body = "\n\n".join(built.text() for built in module.classes.values())
    table = "".join(f"    {_quoted(name)}: {cls},\n" for name, cls in events.items())
    end = f"\n\nEVENTS: dict[str, type[EventModel]] = {{\n{table}}}\n"
    return _HEAD.format(source=_sentence(source), imports=_imports(body)) + f"\n\n{body}" + end


def _imports(body: str) -> str:
    lines = ["", "import datetime as dt"] if "dt." in body else []
    names = [name for name in ("Any", "Literal") if re.search(rf"\b{name}\b", body)]
    if names:
        lines += [*([""] if not lines else []), f"from typing import {', '.join(names)}"]
    pydantic = ["BaseModel", "ConfigDict", *(["Field"] if "= Field(" in body else [])]
    return "\n".join([*lines, "", f"from pydantic import {', '.join(pydantic)}", ""])


def class_name(text: str) -> str:
    """Return a name for a class: `orders/create` is `OrdersCreate`."""
    name = "".join(word.capitalize() for word in _WORDS.findall(text))
    return name if name[:1].isalpha() else f"T{name}"


def _field_name(key: str, taken: set[str]) -> str:
    words = _WORDS.findall(key)
    name = "_".join(word.lower() for word in words) or "field"
    if name[0].isdigit():
        name = f"n{name}"
    if keyword.iskeyword(name) or name in _TAKEN or name.startswith("model_"):
        name += "_"
    while name in taken:
        name += "_"
    return name


def _field(name: str, key: str, annotation: str, *, required: bool) -> str:
    if not required and "None" not in annotation.split(" | ") and annotation != "Any":
        annotation += " | None"
    if key == name:
        return f"{name}: {annotation}" if required else f"{name}: {annotation} = None"
    inside = f"{'' if required else 'default=None, '}alias={_quoted(key)}"
    line = f"{name}: {annotation} = Field({inside})"
    return line if len(line) <= _MAX_LINE - 4 else f"{name}: {annotation} = Field(\n        {inside}\n    )"


def _literal(values: tuple[Any, ...]) -> str:
    written = [_quoted(value) if isinstance(value, str) else repr(value) for value in values]
    if sum(len(value) + 2 for value in written) < _MAX_LINE // 2:
        return f"Literal[{', '.join(written)}]"
    lines = "".join(f"        {value},\n" for value in written)
    return f"Literal[\n{lines}    ]"


def _quoted(text: str) -> str:
    escaped = "".join(_escaped(letter) for letter in text)
    return f'"{escaped}"'


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()


def _order(name: str) -> int:
    """Order types so that null stands last and no type hides another."""
    return ("boolean", "integer", "number", "string", "array", "object", "null").index(name)


def _singular(key: str) -> str:
    if key.endswith("ies"):
        return f"{key[:-3]}y"
    return key[:-1] if key.endswith("s") and not key.endswith("ss") else f"{key}_item"


def _sentence(text: str) -> str:
    """Return text as one line of a docstring."""
    clean = " ".join(text.split()).rstrip(".")[: _MAX_LINE // 2].replace('"', "'")
    return "".join(map(_escaped, clean))
