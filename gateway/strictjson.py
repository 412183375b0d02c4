"""Strict JSON, after RFC 8259 and I-JSON (RFC 7493): what two readers could read in two ways is refused.

Refused are NaN and infinities, numbers too large for a double, names that stand twice in an object,
nesting over 64, a byte order mark, invalid UTF-8 and lone surrogates. Integers beyond 64 bits are read
as the nearest double, as most languages do; their digits stay in the raw body.

The common case costs little more than the parse. Only a document that failed, or that can't be proven
to be sound cheaply, is read again by the standard library to find out what is wrong and where; of one
over 1 MiB only that it is wrong, since a hostile one could hold up the process for seconds.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import orjson

from gateway.reason import Reason
from gateway.recipes.selector import json_path

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH: Final = 64
EXAMINED: Final = 1024 * 1024
_BRACKETS: Final = bytes.maketrans(b"[]", b"{}")
_NO_OPENINGS: Final = bytes(set(range(256)) - set(b"[{"))
_OTHERS: Final = bytes(set(range(256)) - set(b'[]{}"'))
_BOM: Final = b"\xef\xbb\xbf"
_DUPLICATE: Final = "A name stands more than once in an object."


class UnsoundJsonError(Exception):
    """The document isn't sound JSON; `reason` says why and, where that is cheap, where."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.detail)
        self.reason = reason


def loads(raw: bytes) -> Any:
    """Parse a document.

    Raises:
        UnsoundJsonError: it isn't sound.
    """
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise UnsoundJsonError(_explain(raw, str(error))) from error
    if _too_deep(raw):
        raise UnsoundJsonError(_nesting(document if len(raw) <= EXAMINED else None))
    if (reason := ambiguity(raw, document)) is not None:
        raise UnsoundJsonError(reason)
    return document


def ambiguity(raw: bytes, document: object) -> Reason | None:
    """Say how a document, which was parsed, can be read in two ways: a name stands twice in an object."""
    return None if _surely_unique(raw, document) else _find_duplicate(raw)


def _surely_unique(raw: bytes, document: object) -> bool:
    """Say whether no name was dropped while parsing; False only means that it isn't proven.

    Writing the document again gives a colon for every member that is left and every colon within a
    string. A member that was dropped took at least its own colon with it, and nothing adds one, unless
    the source spells a colon as an escape. So equal counts prove that nothing was dropped.
    """
    written = orjson.dumps(document)
    if written == raw:
        return True
    if b"\\" in raw and b"\\u003" in raw and (b"\\u003a" in raw or b"\\u003A" in raw):
        return False
    return written.count(b":") == raw.count(b":")


def _too_deep(raw: bytes) -> bool:
    """Say whether a document that was parsed nests too deep, by its brackets alone: no loop over values.

    Escaped quotes are taken out, then everything but brackets and quotes; what stands between two quotes is
    text. Of the brackets that are left, each round removes the innermost pairs: one level of nesting.
    """
    if len(raw.translate(None, _NO_OPENINGS)) <= MAX_DEPTH:
        return False  # so few brackets can't nest deep, wherever they stand
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(raw.translate(_BRACKETS, _OTHERS).split(b'"')[::2])
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        brackets = brackets.replace(b"{}", b"")
    return bool(brackets)


def _containers(document: Any) -> Iterator[tuple[list[str | int], Any]]:
    """Yield every object and array with the path to it, depth first, in memory bounded by the depth."""
    steps: list[str | int] = []
    pending = [_children(document)]
    yield steps, document
    while pending:
        found = next(pending[-1], None)
        if found is None:
            pending.pop()
            del steps[-1:]
            continue
        step, child = found
        steps.append(step)
        pending.append(_children(child))
        yield steps, child


def _children(container: Any) -> Iterator[tuple[str | int, Any]]:
    members = container.items() if isinstance(container, dict) else enumerate(container)
    return ((step, child) for step, child in members if isinstance(child, dict | list))


def _nesting(document: Any = None) -> Reason:
    """Return the reason for a document that nests too deep, with the place where one is given to look in."""
    place = None
    if document is not None:
        # None where the deep value stood under a name that stands twice: the parser dropped it.
        deep = (json_path(steps) for steps, _ in _containers(document) if len(steps) == MAX_DEPTH)
        place = next(deep, None)
    return Reason("too_deep", f"The JSON nests more than {MAX_DEPTH} levels deep.", place)


class _NotFiniteError(ValueError):
    """A number of the document is no finite double."""


class _DuplicateError(ValueError):
    """A name stands twice in an object."""


class _Duplicates(dict[str, Any]):
    """An object in which a name stands twice; it remembers the first such name."""

    name: str = ""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    marked = _Duplicates(members)
    marked.name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return marked


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise _DuplicateError


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _NotFiniteError(text)
    return number


def _constant(text: str) -> float:
    raise _NotFiniteError(text)


def _reread(raw: bytes) -> None:
    """Read a document with the standard library, which lets us look at every number."""
    text = raw.decode("utf-8")
    if len(raw) <= EXAMINED:
        json.loads(text, parse_float=_finite, parse_int=_finite, parse_constant=_constant)


def _find_duplicate(raw: bytes) -> Reason | None:
    """Find a name that stands twice in a document that is sound otherwise."""
    try:
        if len(raw) > EXAMINED:
            json.loads(raw, object_pairs_hook=_unique)
            return None
        return _first_duplicate(json.loads(raw, object_pairs_hook=_members))
    except _DuplicateError:
        return Reason("duplicate_key", _DUPLICATE)
    except RecursionError:
        # The deep value itself was dropped by the parser: its name stood twice.
        return _nesting()


def _first_duplicate(document: Any) -> Reason | None:
    if not isinstance(document, dict | list):
        return None
    for steps, container in _containers(document):
        if isinstance(container, _Duplicates):
            place = json_path([*steps, container.name])
            return Reason("duplicate_key", _DUPLICATE, place)
    return None


def _explain(raw: bytes, message: str) -> Reason:
    """Say why a document that the parser refused isn't sound."""
    if not raw.strip():
        return Reason("not_json", "The body is empty.")
    if raw.startswith(_BOM):
        return Reason("bad_encoding", "The JSON begins with a byte order mark.")
    try:
        _reread(raw)
    except RecursionError:
        return _nesting()
    except ValueError as error:
        return _explain_error(error, message)
    return _nesting() if "depth limit" in message else _unexplained(raw, message)


def _unexplained(raw: bytes, message: str) -> Reason:
    """Return the reason for a document in which the standard library found nothing wrong."""
    if len(raw) > EXAMINED:
        return Reason("not_json", f"The body is no JSON: {message}.")
    return Reason("bad_encoding", "A string holds a lone surrogate, which no UTF-8 text can.")


def _explain_error(error: ValueError, message: str) -> Reason:
    if isinstance(error, UnicodeDecodeError):
        return Reason("bad_encoding", f"The body isn't UTF-8: invalid byte at offset {error.start}.")
    if isinstance(error, _NotFiniteError):
        return Reason("not_finite", "A number isn't finite: NaN, an infinity, or too large for a double.")
    return Reason("not_json", f"The body is no JSON: {message}.")
