"""Where a browser's request comes from: a page of ours, or a page of somebody else's.

Browsers say so themselves, in headers that no page can set: `Sec-Fetch-Site` (W3C Fetch Metadata), and
`Origin` with every request that isn't a plain GET (RFC 6454). What isn't a browser sends neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from gateway.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES: Final = (b"same-origin", b"none")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_FOREIGN: Final = Problem(
    403,
    "foreign-origin",
    "This request was sent by a page of another site.",
    "Do it on a page of Tidemill; a proxy in between has to leave Host as it is, or control.public_url "
    "has to say where browsers reach it.",
)


def origin_problem(headers: Iterable[tuple[bytes, bytes]], public_url: str | None = None) -> Problem | None:
    """Say whether a request that changes something comes from another site's page.

    Args:
        headers: the request's.
        public_url: where browsers reach this listener, if not under the request's own Host.
    """
    given = dict(headers)
    site = given.get(b"sec-fetch-site")
    if site is not None:
        return None if site in _OWN_SITES else _FOREIGN
    origin = given.get(b"origin")
    if origin is None:
        return None
    scheme, separator, authority = origin.decode("latin-1").lower().partition("://")
    host = given.get(b"host", b"").decode("latin-1").lower()
    if separator and _place(scheme, authority) in (_place(scheme, host), _place_of(public_url)):
        return None
    return _FOREIGN


def _place_of(url: str | None) -> tuple[str, int | None] | None:
    if url is None:
        return None
    parts = urlsplit(url.lower())
    return _place(parts.scheme, parts.netloc)


def _place(scheme: str, authority: str) -> tuple[str, int | None] | None:
    """Return host and port, None where the text names none."""
    try:
        parts = urlsplit(f"//{authority}")
        return (parts.hostname or authority, parts.port or _DEFAULT_PORTS.get(scheme))
    except ValueError:
        return None
