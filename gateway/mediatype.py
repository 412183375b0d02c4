"""Content types: which bodies a source can read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from gateway.multipart import boundary_of

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
_UTF8: Final = frozenset({"", "utf-8", "utf8", "us-ascii"})
_TEXTS: Final = ("application/xml", "application/soap+xml")

Kind = Literal["json", "form", "multipart", "text"]


@dataclass(frozen=True, slots=True)
class MediaType:
    """What a Content-Type header says.

    Attributes:
        name: type and subtype in lower case.
        reads_as: how the body is read; None where it can't be.
        utf8: whether it is UTF-8, as far as it says.
        boundary: of a multipart form.
    """

    name: str
    reads_as: Kind | None
    utf8: bool = True
    boundary: bytes = b""


@lru_cache(maxsize=256)
def media_type(header: bytes | None) -> MediaType:
    """Read a Content-Type header; without one a body is taken for JSON, which it must then be."""
    if not header:
        return MediaType(JSON, "json")
    name, *parameters = header.decode("latin-1").lower().split(";")
    name = name.strip()
    utf8 = _charset(parameters) in _UTF8
    if name == MULTIPART:
        boundary = boundary_of(header)
        return MediaType(name, "multipart" if boundary else None, utf8, boundary or b"")
    return MediaType(name, _kind(name) if utf8 else None, utf8)


def _kind(name: str) -> Kind | None:
    if name == JSON or name.endswith("+json"):
        return "json"
    if name == FORM:
        return "form"
    return "text" if name.startswith("text/") or name in _TEXTS or name.endswith("+xml") else None


def _charset(parameters: list[str]) -> str:
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "charset":
            return value.strip().strip('"')
    return ""
