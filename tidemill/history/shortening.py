"""What is kept of long things, and of text that a database can't hold."""

from __future__ import annotations

from typing import Any, Final

import orjson

MESSAGE_LIMIT: Final = 2_000
"""Characters of an error's message."""
TRACEBACK_LIMIT: Final = 16_000
"""Characters of a traceback; its end tells the most."""
VALUE_LIMIT: Final = 4_096
"""Bytes of a step's result, or of what news brings."""
NAME_LIMIT: Final = 500
"""Characters of a name: PostgreSQL's indices hold values of up to 2,704 bytes."""


def clean(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return text that both databases hold: PostgreSQL knows no NUL."""
    return text[:limit].replace("\x00", "\ufffd")


def plain(text: object, limit: int = NAME_LIMIT) -> str | None:
    """Return a name as text that both databases hold and can index, None where there is none."""
    return None if text is None else clean(str(text), limit)


def tail(text: str, limit: int = TRACEBACK_LIMIT) -> str:
    """Return the end of a text."""
    return text[-limit:].replace("\x00", "\ufffd")


def value(given: Any) -> Any:
    """Return a JSON value, or the beginning of its text where it is long."""
    if given is None or isinstance(given, bool | int | float):
        return given
    text = orjson.dumps(given)
    if len(text) <= VALUE_LIMIT:
        return given
    return {"bytes": len(text), "beginning": text[:VALUE_LIMIT].decode("utf-8", "ignore")}


def dumps(facts: dict[str, Any]) -> str:
    """Return facts as JSON, without those that have no value."""
    return orjson.dumps({name: given for name, given in facts.items() if given is not None}).decode()
