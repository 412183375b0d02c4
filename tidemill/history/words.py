"""Words of a text, found the same way for both databases: how payloads and errors are searched."""

from __future__ import annotations

import re
from typing import Final

from tidemill.kernel.errors import PayloadError

_WORD: Final = re.compile(r"\w+")
_ESCAPES: Final = re.compile(rb"\\(?:[nrtbf/\\\"]|u[0-9A-Fa-f]{4})")
_LONGEST: Final = 64
_MOST_WANTED: Final = 12
TEXT_LIMIT: Final = 4096
"""Bytes of a payload, and of an error, whose words can be searched for."""
MOST_WORDS: Final = 400


def words_of(*texts: bytes | str) -> list[str]:
    """Return the different words of texts in lower case, as many as are indexed, in their order."""
    found: dict[str, None] = {}
    for text in texts:
        plain = _plain(text[:TEXT_LIMIT]) if isinstance(text, bytes) else text[:TEXT_LIMIT]
        for word in _WORD.findall(plain.lower()):
            found[word[:_LONGEST]] = None
    return list(found)[:MOST_WORDS]


def wanted_words(search: str) -> list[tuple[str, bool]]:
    """Return the words that a search asks for, and whether each is a beginning only (`deplo*`).

    Raises:
        PayloadError: there is no word in it, or there are too many.
    """
    found = [
        (match.group().lower()[:_LONGEST], search[match.end() : match.end() + 1] == "*")
        for match in _WORD.finditer(search)
    ]
    if not found:
        raise PayloadError(f"there is no word in {search[:_LONGEST]!r}", hint="search for words of the text")
    if len(found) > _MOST_WANTED:
        raise PayloadError(f"{len(found)} words are too many", hint=f"search for {_MOST_WANTED} at most")
    return found


def _plain(raw: bytes) -> str:
    """Return JSON's bytes as text, escapes of characters resolved."""
    if b"\\" in raw:
        raw = _ESCAPES.sub(_resolved, raw)
    return raw.decode("utf-8", "replace")


def _resolved(match: re.Match[bytes]) -> bytes:
    escape = match.group()
    if escape[1:2] != b"u":
        return b" "
    return chr(int(escape[2:].decode(), base=16)).encode("utf-8", "replace")
