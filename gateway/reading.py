"""Reading: from a verified body to what it holds, for JSON, forms and texts.

What a form holds is its fields: text, or a list of texts where a field was sent repeatedly. Of a file in
a multipart form the fields have its name, type and size; its bytes stay in the raw body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl

from gateway import multipart, strictjson
from gateway.reason import Reason
from gateway.recipes import selector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.mediatype import Kind, MediaType

_MAX_FIELDS: Final = 1000
_FORMS: Final = ("form", "multipart")


class Content(NamedTuple):
    """What a body holds.

    Attributes:
        document: its JSON or its fields, in which `body:` selectors look.
        value: the event's data where that isn't simply the JSON of the raw body, else None.
        form: the fields of a form that were sent once.
    """

    document: Any
    value: Any = None
    form: dict[str, str] | None = None

    @property
    def data(self) -> Any:
        """The event's data: what handlers get and schemas describe."""
        return self.document if self.value is None else self.value


NOTHING: Final = Content(selector.MISSING)


class BodyReader:
    """Reads bodies as a recipe says.

    Args:
        data: the recipe's `data` selectors.
        reads: how bodies of some media types are read, where that isn't the usual way.
    """

    def __init__(self, data: Sequence[str], reads: Mapping[str, Kind] | None = None) -> None:
        found = [selector.parse(text) for text in data]
        self._fields = [one.name for one in found if one.kind == "form:"]
        self._whole_form = any(one.kind == "form" for one in found)
        self._paths = [selector.path_of(one.name) if one.name else () for one in found if one.place == "body"]
        self._reads = reads or {}
        kinds: list[tuple[Kind, object]] = [
            ("json", self._paths),
            ("form", self._fields or self._whole_form),
            ("multipart", self._fields or self._whole_form),
            ("text", any(one.kind == "text" for one in found)),
        ]
        self._kinds = frozenset(kind for kind, wanted in kinds if wanted)

    def kind_of(self, media: MediaType) -> Kind | None:
        """Return how a body of a media type is read, None where it can't be."""
        kind = media.reads_as
        if self._reads and media.utf8:
            kind = self._reads.get(media.name, kind)
        return kind if kind in self._kinds else None

    def read(self, body: bytes, kind: Kind, media: MediaType) -> Content | Reason:
        """Read a body, or say why its content isn't sound."""
        try:
            if kind == "json":
                return self._read_json(body)
            return _read_text(body) if kind == "text" else self._read_form(body, kind, media)
        except strictjson.UnsoundJsonError as error:
            return error.reason

    def _read_json(self, body: bytes) -> Content | Reason:
        document = strictjson.loads(body)
        for path in self._paths:
            if not path:
                return Content(document)
            value = selector.find(document, path)
            if value is not selector.MISSING:
                return Content(document, value)
        wanted = " or ".join(selector.json_path(path) for path in self._paths)
        return Reason("data_missing", f"The data should stand at {wanted}, where nothing is.")

    def _read_form(self, body: bytes, kind: Kind, media: MediaType) -> Content | Reason:
        pairs = _pairs(body) if kind == "form" else _parts(body, media.boundary)
        if isinstance(pairs, Reason):
            return pairs
        fields = _gathered(pairs)
        single = {name: value for name, value in fields.items() if type(value) is str}
        for name in self._fields:
            if name in single:
                document = strictjson.loads(single[name].encode("utf-8"))
                return Content(document, document, single)
            if name in fields:
                return Reason("duplicate_key", f"The field {name} stands more than once in the form.")
        if self._whole_form:
            return Content(fields, fields, single)
        return Reason("data_missing", f"The form has no field {' or '.join(self._fields)}.")


def _read_text(body: bytes) -> Content | Reason:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        return Reason("bad_encoding", f"The text isn't UTF-8: invalid byte at offset {error.start}.")
    return Content(selector.MISSING, text)


def form_fields(body: bytes) -> dict[str, str] | Reason:
    """Return the fields of a URL-encoded form that were sent once."""
    pairs = _pairs(body)
    if isinstance(pairs, Reason):
        return pairs
    return {name: value for name, value in _gathered(pairs).items() if type(value) is str}


def _gathered(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    every: dict[str, list[Any]] = {}
    for name, value in pairs:
        every.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in every.items()}


def _pairs(body: bytes) -> list[tuple[str, Any]] | Reason:
    try:
        return list(
            parse_qsl(
                body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS
            )
        )
    except UnicodeDecodeError:
        return Reason("bad_encoding", "The form isn't UTF-8.")
    except ValueError:
        return Reason("not_form", f"The form has more than {_MAX_FIELDS} fields.")


def _parts(body: bytes, boundary: bytes) -> list[tuple[str, Any]] | Reason:
    parts = multipart.parse(body, boundary)
    if isinstance(parts, Reason):
        return parts
    try:
        return [(part.name, _value(part)) for part in parts]
    except UnicodeDecodeError:
        return Reason("bad_encoding", "A field of the form isn't UTF-8.")


def _value(part: multipart.Part) -> Any:
    if part.filename is None:
        return part.content.decode("utf-8")
    return {"filename": part.filename, "content_type": part.content_type, "size": len(part.content)}
