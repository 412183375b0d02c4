"""One HTTP request as the intake sees it: bytes, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Inbound:
    """A request whose body has been read.

    Attributes:
        method: upper-case HTTP method.
        path: the path as the client sent it, percent-encoding included.
        query: the query string without its question mark, as sent.
        headers: names in lower case and values, in the order of arrival, duplicates kept (ASGI).
        body: the raw bytes.
        received_at: seconds since the epoch.
    """

    method: str
    path: str
    query: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    received_at: float
    _by_name: dict[bytes, list[bytes]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name: dict[bytes, list[bytes]] = {}
        for name, value in self.headers:
            by_name.setdefault(name, []).append(value)
        object.__setattr__(self, "_by_name", by_name)

    def values(self, name: bytes) -> list[bytes]:
        """Return a header's values, one for each time it was sent."""
        return self._by_name.get(name, [])

    def header(self, name: bytes) -> bytes | None:
        """Return a header's value; one that was sent repeatedly is joined by a comma (RFC 9110, 5.3)."""
        values = self.values(name)
        return (values[0] if len(values) == 1 else b", ".join(values)) if values else None
