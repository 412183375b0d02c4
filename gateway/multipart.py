"""Multipart forms (RFC 7578): their fields; of files only names, types and sizes.

A file's bytes stay in the event's raw body. Nested multiparts are bytes like others: nothing recurses.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gateway.reason import Reason

MAX_PARTS: Final = 1000
_BOUNDARY: Final = re.compile(rb"""(?:^|;)\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))""", re.IGNORECASE)
_PARAMETER: Final = re.compile(r';\s*(name|filename)="((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_ESCAPED: Final = re.compile(r"\\(.)")
_HEAD_END: Final = b"\r\n\r\n"
_MAX_HEAD: Final = 8192


class Part(NamedTuple):
    """One part of a form.

    Attributes:
        name: the field's.
        content: its bytes.
        filename: as the sender says, None where it is no file.
        content_type: as the sender says.
    """

    name: str
    content: bytes
    filename: str | None = None
    content_type: str = "text/plain"


def boundary_of(content_type: bytes) -> bytes | None:
    """Return the boundary that a Content-Type header names."""
    match = _BOUNDARY.search(content_type)
    return (match[1] or match[2]) if match else None


def parse(body: bytes, boundary: bytes) -> list[Part] | Reason:
    """Split a form into its parts, or say why it isn't sound."""
    delimiter = b"\r\n--" + boundary
    if body.count(delimiter) > MAX_PARTS:
        return Reason("not_form", f"The form has more than {MAX_PARTS} parts.")
    _, *pieces = (b"\r\n" + body).split(delimiter)
    if not pieces or not pieces[-1].startswith(b"--"):
        return Reason("not_form", "The form has no end: its last boundary is missing.")
    parts: list[Part] = []
    for piece in pieces[:-1]:
        part = _part(piece)
        if isinstance(part, Reason):
            return part
        parts.append(part)
    return parts


def _part(piece: bytes) -> Part | Reason:
    head, end, content = piece.lstrip(b" \t").removeprefix(b"\r\n").partition(_HEAD_END)
    if not end or len(head) > _MAX_HEAD:
        return Reason("not_form", "A part of the form has no sound head.")
    try:
        headers = dict(_header(line) for line in head.decode("utf-8").split("\r\n"))
    except UnicodeDecodeError:
        return Reason("bad_encoding", "The head of a part isn't UTF-8.")
    disposition = headers.get("content-disposition", "")
    parameters = {key.lower(): _ESCAPED.sub(r"\1", value) for key, value in _PARAMETER.findall(disposition)}
    if "name" not in parameters:
        return Reason("not_form", "A part of the form has no name.")
    kind = headers.get("content-type", "text/plain")
    return Part(parameters["name"], content, parameters.get("filename"), kind)


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()
