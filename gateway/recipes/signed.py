"""What is signed: a recipe's template, rendered over the raw bytes of a request."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.recipes import selector, template
from gateway.recipes.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.inbound import Inbound
    from gateway.recipes.listed_headers import ListedHeaders


class Given(NamedTuple):
    """What a template's variables stand for beside the request's own parts.

    Attributes:
        timestamp: the timestamp as it was written.
        id: the delivery's id.
        names: the list of signed headers, as it was sent.
        headers: what they hold.
        secret: the secret's key.
    """

    timestamp: bytes | None = None
    id: bytes | None = None
    names: bytes | None = None
    headers: bytes | None = None
    secret: bytes | None = None


class SignedContent:
    """The template of what is signed, rendered to bytes; the body is never decoded or encoded again."""

    def __init__(self, text: str, public_url: str | None = None, listed: ListedHeaders | None = None) -> None:
        self._parts = template.parse(text)
        self._bare = self._parts == (selector.Selector("body"),)
        self._public_url = public_url.rstrip("/").encode() if public_url else None
        self.listed = listed
        self.has_secret = selector.Selector("secret") in self._parts

    def render(self, message: Message, given: Given) -> bytes | None:
        """Return the signed bytes, None where a variable is missing."""
        if self._bare:
            return message.inbound.body
        rendered: list[bytes] = []
        for part in self._parts:
            piece = part.encode() if isinstance(part, str) else self._variable(part, message, given)
            if piece is None:
                return None
            rendered.append(piece)
        return b"".join(rendered)

    def _variable(self, part: selector.Selector, message: Message, given: Given) -> bytes | None:
        if part.name:
            return message.value(part)
        if part.place in _GIVEN:
            return _GIVEN[part.place](given) or None
        if part.place == "url":
            return url_of(message, self._public_url)
        return _REQUEST_PARTS[part.place](message)


def url_of(message: Message, public_url: bytes | None) -> bytes | None:
    """Return the address that a request was sent to, None where it isn't known how the world writes it."""
    return public_url + _path_query(message) if public_url else None


def value_of(found: selector.Selector, inbound: Inbound) -> bytes | None:
    """Return what a selector finds in a request, None where that is empty or nothing."""
    return Message(inbound).value(found)


def _path_query(message: Message) -> bytes:
    inbound = message.inbound
    text = f"{inbound.path}?{inbound.query}" if inbound.query else inbound.path
    return text.encode("utf-8", "surrogatepass")


def _sorted_form(message: Message) -> bytes:
    """Join the fields of a form as Twilio and Mandrill do: equal ones once, by name and then by value."""
    return b"".join(name + value for name, value in sorted(set(message.form)))


_GIVEN: Final[dict[str, Callable[[Given], bytes | None]]] = {
    "timestamp": lambda given: given.timestamp,
    "id": lambda given: given.id,
    "signed_header_names": lambda given: given.names,
    "signed_headers": lambda given: given.headers,
    "secret": lambda given: given.secret,
}
_REQUEST_PARTS: Final[dict[str, Callable[[Message], bytes]]] = {
    "body": lambda message: message.inbound.body,
    "sha256_hex_body": lambda message: hashlib.sha256(message.inbound.body).hexdigest().encode(),
    "sorted_form": _sorted_form,
    "method": lambda message: message.inbound.method.encode("utf-8", "surrogatepass"),
    "path": lambda message: message.inbound.path.encode("utf-8", "surrogatepass"),
    "path_query": _path_query,
}
