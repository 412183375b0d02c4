"""What is signed: a recipe's template, rendered over the raw bytes of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from gateway.recipes import selector, template

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.inbound import Inbound

_MAX_PARAMETERS: Final = 1000


class SignedContent:
    """The template of what is signed, rendered to bytes; the body is never decoded or encoded again."""

    def __init__(self, text: str, public_url: str | None = None) -> None:
        self._parts = template.parse(text)
        self._bare = self._parts == (selector.Selector("body"),)
        self._public_url = public_url

    def render(self, inbound: Inbound, timestamp: str | None, identity: str | None = None) -> bytes | None:
        """Return the signed bytes, None where a variable is missing.

        Args:
            inbound: the request.
            timestamp: what stands for `{timestamp}`, as it was written.
            identity: what stands for `{id}`.
        """
        if self._bare:
            return inbound.body
        given = {"timestamp": timestamp, "id": identity}
        rendered: list[bytes] = []
        for part in self._parts:
            piece = part.encode() if isinstance(part, str) else self._variable(part, inbound, given)
            if piece is None:
                return None
            rendered.append(piece)
        return b"".join(rendered)

    def _variable(
        self, part: selector.Selector, inbound: Inbound, given: dict[str, str | None]
    ) -> bytes | None:
        if part.name:
            return value_of(part, inbound)
        if part.place in given:
            text = given[part.place]
            return text.encode("latin-1") if text else None
        if part.place == "url":
            return self._public_url.rstrip("/").encode() + _path_query(inbound) if self._public_url else None
        return _REQUEST_PARTS[part.place](inbound)


def value_of(found: selector.Selector, inbound: Inbound) -> bytes | None:
    """Return what a `header:` or `query:` selector finds, None where that is empty or nothing."""
    if found.place == "header":
        return inbound.header(found.key) or None
    return next((value for value in parameters(inbound, found.key) if value), None)


def _path_query(inbound: Inbound) -> bytes:
    text = f"{inbound.path}?{inbound.query}" if inbound.query else inbound.path
    return text.encode("utf-8", "surrogatepass")


_REQUEST_PARTS: Final[dict[str, Callable[[Inbound], bytes]]] = {
    "body": lambda inbound: inbound.body,
    "method": lambda inbound: inbound.method.encode("utf-8", "surrogatepass"),
    "path": lambda inbound: inbound.path.encode("utf-8", "surrogatepass"),
    "path_query": _path_query,
}


def parameters(inbound: Inbound, name: bytes) -> list[bytes]:
    """Return a query parameter's values; a query that can't be read has none."""
    try:
        pairs = parse_qsl(
            inbound.query.encode("utf-8", "surrogatepass"),
            keep_blank_values=True,
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError:
        return []
    return [value for key, value in pairs if key == name]
