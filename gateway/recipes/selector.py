"""Selectors: the small language in which a recipe says where in a request something stands.

    header:NAME     a header, in any case; sent repeatedly, its values are joined by ", "
    query:NAME      a parameter of the query string
    body:PATH       a value in the body's JSON: keys and array indexes joined by dots, `data.object.id`
    item:PATH       a value in one item of a batch
    form:NAME       a field of a form-encoded body
    key:NAME,NAME   the first of these names that is a key of the body's JSON object
    signature:KEY   an item beside the signature in its header, `t` in `t=1,v1=…`
    timestamp id             what a recipe's `verify` found at its keys of these names, and signed
    body method path path_query url    the request's own parts, in what is signed
    sha256_hex_body                    the body's SHA-256 in hex
    sorted_form                        a form's fields, sorted by name, each name followed by its value
    signed_headers signed_header_names the headers that the request lists as signed, and that list
    secret                             the secret itself, in what a plain hash is made of
    form text                all fields of a form, the body as text; as an event's data

A selector finds text or nothing. JSON strings that are not empty and integers are text; other values
are not: a template over them would depend on how a number is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from tidemill.kernel.errors import SettingsError

PLACES: Final = ("header", "query", "body", "item", "form", "key", "signature")
PARTS: Final = (
    *("body", "form", "text", "timestamp", "id", "method", "path", "path_query", "url"),
    *("sha256_hex_body", "sorted_form", "signed_headers", "signed_header_names", "secret"),
)
PATTERN: Final = r"^(header|query|body|item|form|key|signature):[^{}\s]+$"
_NAME = re.compile(r"[^{}\s]+")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2: token

Path = tuple[str | int, ...]
MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Selector:
    """A place and a name in it; the name is empty for the request's own parts."""

    place: str
    name: str = ""

    @property
    def kind(self) -> str:
        """Return what it selects from: `header:`, `body` for the raw body, `body:` for a value in it."""
        return f"{self.place}:" if self.name else self.place

    @property
    def key(self) -> bytes:
        """Return the name as it is looked up: a header's in lower case."""
        return self.name.lower().encode("ascii") if self.place == "header" else self.name.encode("utf-8")

    def __str__(self) -> str:
        return f"{self.place}:{self.name}" if self.name else self.place


def parse(text: str) -> Selector:
    """Read a selector.

    Raises:
        SettingsError: the text is none.
    """
    place, colon, name = text.partition(":")
    if not colon and text in PARTS:
        return Selector(text)
    if place not in PLACES or not _NAME.fullmatch(name):
        raise SettingsError(
            f"{text!r} is no selector",
            hint=f"write one of {', '.join(f'{place}:NAME' for place in PLACES)}, or {', '.join(PARTS)}",
        )
    if place == "header" and not _HEADER_NAME.fullmatch(name):
        raise SettingsError(f"{name!r} is no header name", hint="use letters, digits and hyphens")
    return Selector(place, name)


def path_of(name: str) -> Path:
    """Split the name of a `body:` selector: a number is an array's index, in an object a key of digits."""
    return tuple(int(part) if _INDEX.fullmatch(part) else part for part in name.split("."))


def find(document: Any, path: Path) -> Any:
    """Return what stands at a path of a JSON document, `MISSING` where nothing does."""
    here = document
    for part in path:
        if type(here) is dict:
            here = here.get(str(part) if type(part) is int else part, MISSING)
        elif type(here) is list and type(part) is int and part < len(here):
            here = here[part]
        else:
            return MISSING
    return here


def first_key(document: Any, names: str) -> str | None:
    """Return the first of some names, with commas between them, that a JSON object has as a key."""
    if type(document) is not dict:
        return None
    return next((name for name in names.split(",") if name in document), None)


def text_of(value: object) -> str | None:
    """Return a JSON value as a selector's text, None where it has none."""
    if type(value) is str:
        return value or None
    return str(value) if type(value) is int else None


def json_path(path: list[str | int] | tuple[str | int, ...]) -> str:
    """Write a path as operators read it: `$.commits[0].id`, odd keys as `$["a b"]`."""
    return "$" + "".join(_step(part) for part in path)


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    if part.isidentifier():
        return f".{part}"
    escaped = part.replace("\\", "\\\\").replace('"', '\\"')
    return f'["{escaped}"]'
