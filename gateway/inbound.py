"""One HTTP request as the intake sees it: bytes, before anything is decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


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

    __slots__ = ("_every", "_single", "body", "headers", "method", "named", "path", "query", "received_at")

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
        self._single = dict(headers)
        self._every: dict[bytes, list[bytes]] | None = None
        if len(self._single) < len(headers):
            self._every = {name: [] for name in self._single}
            for name, value in headers:
                self._every[name].append(value)

    def fields(self) -> Sequence[tuple[bytes, bytes]]:
        """Return its headers, each name once: repeated values are joined as by `header`."""
        if self._every is None:
            return self.headers
        return [(name, b", ".join(values)) for name, values in self._every.items()]

    def values(self, name: bytes) -> list[bytes]:
        """Return a header's values, one for each time it was sent."""
        if self._every is not None:
            return self._every.get(name, [])
        value = self._single.get(name)
        return [] if value is None else [value]

    def header(self, name: bytes) -> bytes | None:
        """Return a header's value; one that was sent repeatedly is joined by a comma (RFC 9110, 5.3)."""
        if self._every is None:
            return self._single.get(name)
        values = self._every.get(name)
        return b", ".join(values) if values else None
