"""Context attributes of CloudEvents 1.0.2: what they may be, and how they stand in HTTP headers.

Sources: CloudEvents specification, "Context Attributes" and "Type System"; HTTP protocol binding, 3.1.3.2
"HTTP Header Values".
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from gateway.mediatype import media_type
from tidemill.kernel.envelope import EDITED_BY

SPEC_VERSION: Final = "1.0"
REQUIRED: Final = ("id", "source", "specversion", "type")
OPTIONAL: Final = ("datacontenttype", "dataschema", "subject", "time")
MAX_ATTRIBUTE: Final = 4096
MAX_EXTENSIONS: Final = 64
_NAME: Final = re.compile(r"[a-z0-9]{1,40}")
_LEAST, _MOST = -(2**31), 2**31 - 1
_FORBIDDEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+")
URI_REFERENCE: Final = re.compile(r"[^\s<>\"{}|\\^`]+")
MEDIA: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+\s*(;.*)?")
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)  # RFC 3339, 5.6
_RESERVED: Final = frozenset({"data", "data_base64"})
TAKEN: Final = frozenset(
    {"deliverykey", "replayof", "headers", "blob", "value", "raw", "extensions", EDITED_BY}
)
"""Names that mean something else inside; a sender's extension of such a name is refused."""


class UnsoundEventError(Exception):
    """It is no sound CloudEvent; the text is for its sender."""


def decode_header(value: bytes) -> str:
    """Return an attribute's value from a header: double quotes off, then one round of percent-decoding.

    Raises:
        UnsoundEventError: what comes out isn't UTF-8.
    """
    text = value.strip()
    if len(text) > 1 and text[:1] == b'"' and text[-1:] == b'"':
        text = re.sub(rb"\\(.)", rb"\1", text[1:-1])
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnsoundEventError("a ce- header isn't UTF-8 after percent-decoding") from error


def check(attributes: dict[str, Any]) -> None:
    """Check an event's attributes.

    Raises:
        UnsoundEventError: one is missing, or isn't what it has to be.
    """
    for name in REQUIRED:
        if not attributes.get(name):
            raise UnsoundEventError(f"the attribute {name} is missing or empty")
    if attributes["specversion"] != SPEC_VERSION:
        raise UnsoundEventError(f"specversion has to be {SPEC_VERSION!r}")
    for name, value in attributes.items():
        _check_name(name)
        _check_value(name, value)
    if len(attributes) > MAX_EXTENSIONS + len(REQUIRED) + len(OPTIONAL):
        raise UnsoundEventError(f"there are more than {MAX_EXTENSIONS} extension attributes")
    _check_forms(attributes)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise UnsoundEventError("names of attributes are 1 to 40 lower-case letters and digits")
    if name in TAKEN:
        raise UnsoundEventError(f"the name {name} can't be used for an extension attribute")


def _check_value(name: str, value: object) -> None:
    if type(value) is str:
        if len(value) > MAX_ATTRIBUTE or _FORBIDDEN.search(value):
            raise UnsoundEventError(f"{name} is too long or has characters that no attribute may have")
    elif name in REQUIRED or name in OPTIONAL or type(value) not in (bool, int):
        raise UnsoundEventError(f"{name} isn't of a type that it may be of")
    elif type(value) is int and not _LEAST <= value <= _MOST:
        raise UnsoundEventError(f"{name} isn't an integer of 32 bits")


def _check_forms(attributes: dict[str, Any]) -> None:
    forms = {"source": URI_REFERENCE, "dataschema": URI, "datacontenttype": MEDIA}
    for name, form in forms.items():
        if name in attributes and not form.fullmatch(attributes[name]):
            raise UnsoundEventError(f"{name} isn't written as it has to be")
    if attributes.get("subject") == "":
        raise UnsoundEventError("subject is empty")
    if "time" in attributes:
        moment_of(attributes["time"])


def moment_of(text: str) -> datetime:
    """Return the instant of a `time` attribute.

    Raises:
        UnsoundEventError: it isn't written as in RFC 3339.
    """
    try:
        if _TIME.fullmatch(text):
            return datetime.fromisoformat(text.upper())
    except ValueError:
        pass  # a date that doesn't exist
    raise UnsoundEventError("time isn't written as in RFC 3339")


def is_json(datacontenttype: str) -> bool:
    """Say whether data of a content type is JSON."""
    return media_type(datacontenttype.encode("latin-1", "replace")).reads_as == "json"
