"""Reading: from a verified body to the JSON that it holds, for JSON and form-encoded bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl

from gateway import strictjson
from gateway.recipes import selector
from gateway.verdict import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_FIELDS: Final = 1000


class Content(NamedTuple):
    """What a body holds.

    Attributes:
        document: its JSON, in which `body:` selectors look.
        value: the event's data where that isn't simply the JSON of the raw body, else None.
        form: the fields of a form-encoded body.
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
    """Reads bodies as a recipe's `data` selectors say."""

    def __init__(self, data: Sequence[str]) -> None:
        found = [selector.parse(text) for text in data]
        self._fields = [one.name for one in found if one.place == "form"]
        self._paths = [selector.path_of(one.name) if one.name else () for one in found if one.place == "body"]

    def accepts(self, reads_as: str | None) -> bool:
        """Say whether bodies of a kind (`json`, `form`) can be read."""
        return bool(self._fields if reads_as == "form" else self._paths if reads_as == "json" else False)

    def read(self, body: bytes, reads_as: str | None) -> Content | Reason:
        """Read a body, or say why its content isn't sound."""
        try:
            return self._read_form(body) if reads_as == "form" else self._read_json(body)
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

    def _read_form(self, body: bytes) -> Content | Reason:
        fields = _fields(body)
        if isinstance(fields, Reason):
            return fields
        for name in self._fields:
            if name in fields:
                document = strictjson.loads(fields[name].encode("utf-8"))
                return Content(document, document, fields)
        return Reason("data_missing", f"The form has no field {' or '.join(self._fields)}.")


def _fields(body: bytes) -> dict[str, str] | Reason:
    try:
        pairs = parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS
        )
    except UnicodeDecodeError:
        return Reason("bad_encoding", "The form isn't UTF-8.")
    except ValueError:
        return Reason("not_form", f"The form has more than {_MAX_FIELDS} fields.")
    fields = dict(pairs)
    if len(fields) < len(pairs):
        return Reason("duplicate_key", "A field stands more than once in the form.")
    return fields
