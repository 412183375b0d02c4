"""Inputs, results and errors as pages show them: clipped text, and bytes that are no text."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from gateway.masking import Mask
    from tidemill.history.rows import Body

TEXT_LIMIT: Final = 16_000
"""Characters of one text."""
VALUE_LIMIT: Final = 2_000
_CONTROLS: Final = {number: "\ufffd" for number in range(32) if chr(number) not in "\n\t"} | {127: "\ufffd"}
_MASKED: Final = "Fields that its schema marks as secret aren't shown to viewers."
_HEAD: Final = 256


@dataclass(frozen=True, slots=True)
class Shown:
    """A body as a page shows it.

    Attributes:
        text: what it says, as much as is shown.
        note: what isn't shown of it and why; empty where it is all there.
        empty: whether there is none.
    """

    text: str = ""
    note: str = ""
    empty: bool = False


def show_body(body: Body) -> Shown:
    """Return a body as text: JSON set in lines, other text as it is, the first bytes of anything else."""
    if body.data is None:
        if body.blob is not None:
            return Shown(note="It is large, and kept apart.")
        return (
            Shown(empty=True) if not body.size else Shown(note=f"Its {body.size} bytes aren't kept any more.")
        )
    text = _text(body.data)
    if text is None:
        head = " ".join(f"{byte:02x}" for byte in body.data[:_HEAD])
        return Shown(head, f"These are the first of {body.size} bytes, which are no text.")
    if body.whole:
        return clip(_set(body.data, text))
    return Shown(text[:TEXT_LIMIT].translate(_CONTROLS), f"This is the beginning of {body.size} bytes.")


HIDDEN: Final = Shown(note="It may hold what is secret in the input, which viewers don't see.")
"""A result that isn't shown."""


def show_masked(body: Body, mask: Mask) -> Shown:
    """Return a body as text, as far as whoever looks at it may see what it says."""
    seen = mask.body(body)
    if seen is None:
        return Shown(note=f"Its {body.size} bytes may hold fields that viewers don't see.")
    shown = show_body(seen)
    return replace(shown, note=f"{shown.note} {_MASKED}".strip()) if mask.active and shown.text else shown


def show_value(value: Any, limit: int = VALUE_LIMIT) -> Shown:
    """Return a JSON value as text."""
    if value is None:
        return Shown(empty=True)
    if isinstance(value, dict) and value.keys() == {"bytes", "beginning"}:
        return Shown(str(value["beginning"])[:limit], f"This is the beginning of {value['bytes']} bytes.")
    return clip(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode(), limit)


def clip(text: str, limit: int = TEXT_LIMIT) -> Shown:
    """Return the beginning of a text."""
    if len(text) <= limit:
        return Shown(text.translate(_CONTROLS))
    return Shown(text[:limit].translate(_CONTROLS), f"These are the first {limit} of {len(text)} characters.")


def editable(body: Body) -> str | None:
    """Return a body for an editor; None where it isn't whole, or is no text."""
    text = _text(body.data) if body.data is not None and body.whole else None
    return _set(body.data or b"", text) if text is not None else None


def _text(data: bytes) -> str | None:
    """Return bytes as text; a character that was cut off at the end is left out."""
    if b"\x00" in data:
        return None
    for cut in range(4):
        try:
            return data[: len(data) - cut].decode()
        except UnicodeDecodeError as error:
            if error.start < len(data) - 4:
                return None
    return None


def _set(data: bytes, text: str) -> str:
    """Return JSON in lines; anything else, and what would change by that, as it is."""
    try:
        lines = json.dumps(json.loads(data), indent=2, ensure_ascii=False, allow_nan=False)
        lines.encode()
    except (ValueError, RecursionError):
        return text
    return lines
