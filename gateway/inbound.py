"""One HTTP request as the intake sees it: bytes, before anything is decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import KeysView


class Inbound:
    """A request whose body has been read.

    Attributes:
        method: upper-case HTTP method.
        path: the path as the client sent it, percent-encoding included.
        query: the query string without its question mark, as sent.
        headers: names in lower case and values, in the order of arrival, duplicates kept (ASGI).
        body: the raw bytes.
        received_at: seconds since the epoch.
        named: the delivery's id, where nothing that it says tells it from others; empty for a fresh one.
    """

    __slots__ = ("_by_name", "body", "headers", "method", "named", "path", "query", "received_at")

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a request
        self,
        method: str,
        path: str,
        query: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        received_at: float,
        *,
        named: str = "",
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.received_at = received_at
        self.named = named
        by_name = {name: [value] for name, value in headers}
        if len(by_name) < len(headers):
            by_name = {name: [] for name in by_name}
            for name, value in headers:
                by_name[name].append(value)
        self._by_name = by_name

    @property
    def repeats(self) -> bool:
        """Whether a header was sent more than once."""
        return len(self._by_name) < len(self.headers)

    @property
    def names(self) -> KeysView[bytes]:
        """The names of its headers."""
        return self._by_name.keys()

    def values(self, name: bytes) -> list[bytes]:
        """Return a header's values, one for each time it was sent."""
        return self._by_name.get(name, [])

    def header(self, name: bytes) -> bytes | None:
        """Return a header's value; one that was sent repeatedly is joined by a comma (RFC 9110, 5.3)."""
        values = self.values(name)
        return (values[0] if len(values) == 1 else b", ".join(values)) if values else None
