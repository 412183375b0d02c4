"""A request as selectors read it: what has to be parsed is parsed once, and only when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from gateway import multipart, strictjson
from gateway.mediatype import media_type
from gateway.reason import Reason
from gateway.recipes import selector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.inbound import Inbound
    from gateway.mediatype import MediaType

_MAX_FIELDS: Final = 1000
Fields = list[tuple[bytes, bytes]]


class Message:
    """One request, read by selectors. Total: what can't be parsed holds nothing.

    Attributes:
        inbound: the request.
    """

    __slots__ = ("_document", "_fields", "_form", "_query", "inbound")

    def __init__(self, inbound: Inbound, fields: Sequence[bytes] = ()) -> None:
        """Wrap a request.

        Args:
            inbound: the request.
            fields: those of a form that may hold the JSON in which `body:` selects.
        """
        self.inbound = inbound
        self._fields = fields
        self._document: Any = None
        self._form: Fields | None = None
        self._query: Fields | None = None

    @property
    def document(self) -> Any:
        """The body's JSON, `selector.MISSING` where it isn't sound JSON."""
        if self._document is None:
            held = next((value for name, value in self.form if name in self._fields), None)
            self._document = _loaded(self.inbound.body if held is None else held)
        return self._document

    @property
    def form(self) -> Fields:
        """The fields of a form, decoded, in their order; a body that is no form has none."""
        if self._form is None:
            media = media_type(self.inbound.header(b"content-type"))
            self._form = _form_fields(self.inbound.body, media)
        return self._form

    @property
    def query(self) -> Fields:
        """The parameters of the query string, percent-decoded, in their order."""
        if self._query is None:
            self._query = fields_of(self.inbound.query.encode("utf-8", "surrogatepass"))
        return self._query

    def values(self, found: selector.Selector) -> list[bytes]:
        """Return all that a selector finds: a header or parameter may stand there repeatedly."""
        if found.place == "header":
            return self._headers(found.key)
        if found.place == "query":
            return [value for name, value in self.query if name == found.key]
        if found.place == "form":
            return [value for name, value in self.form if name == found.key]
        text = self.text(found.name)
        return [] if text is None else [text]

    def value(self, found: selector.Selector) -> bytes | None:
        """Return what a selector finds, None where that is empty, nothing, or a field that is repeated."""
        if found.place == "header":
            return self.inbound.header(found.key) or None
        values = self.values(found)
        return (values[0] or None) if len(values) == 1 else None

    def text(self, path: str) -> bytes | None:
        """Return the text at a path of the body's JSON."""
        if self.document is selector.MISSING:
            return None
        text = selector.text_of(selector.find(self.document, selector.path_of(path)))
        return None if text is None else text.encode("utf-8", "surrogatepass")

    def _headers(self, name: bytes) -> list[bytes]:
        if not name.endswith(b"*"):
            return self.inbound.values(name)
        stem = name[:-1]
        return [value for key, value in self.inbound.headers if key.startswith(stem)]


def fields_of(text: bytes) -> Fields:
    """Split form-encoded text (WHATWG URL, 5.1); one with too many fields has none."""
    if text.count(b"&") >= _MAX_FIELDS:
        return []
    pairs = (pair.partition(b"=") for pair in text.split(b"&") if pair)
    return [(_decoded(name), _decoded(value)) for name, _, value in pairs]


def _form_fields(body: bytes, media: MediaType) -> Fields:
    if media.reads_as == "form":
        return fields_of(body)
    if media.reads_as != "multipart":
        return []
    parts = multipart.parse(body, media.boundary)
    if isinstance(parts, Reason):
        return []
    return [(part.name.encode(), part.content) for part in parts if part.filename is None]


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _loaded(body: bytes) -> Any:
    try:
        return strictjson.loads(body)
    except strictjson.UnsoundJsonError:
        return selector.MISSING
