"""Content types: which bodies a source can read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
_UTF8: Final = frozenset({"", "utf-8", "utf8", "us-ascii"})


@dataclass(frozen=True, slots=True)
class MediaType:
    """What a Content-Type header says, its parameters left out.

    Attributes:
        name: type and subtype in lower case.
        reads_as: how the body is read; None where it can't be.
    """

    name: str
    reads_as: Literal["json", "form"] | None


@lru_cache(maxsize=256)
def media_type(header: bytes | None) -> MediaType:
    """Read a Content-Type header; without one a body is taken for JSON, which it must then be."""
    if not header:
        return MediaType(JSON, "json")
    name, *parameters = header.decode("latin-1").lower().split(";")
    name = name.strip()
    if name == JSON or name.endswith("+json"):
        return MediaType(name, "json" if _charset(parameters) in _UTF8 else None)
    return MediaType(name, "form" if name == FORM and _charset(parameters) in _UTF8 else None)


def _charset(parameters: list[str]) -> str:
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "charset":
            return value.strip().strip('"')
    return ""
