"""The event envelope: CloudEvents 1.0 context attributes, the raw body, and the headers it came with.

Attribute names and rules follow the CloudEvents specification 1.0.2, sections "Context Attributes" and
"Type System". On the broker an event is one frame: its attributes as the line, its body as the bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from operator import itemgetter
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from tidemill.kernel.frames import pack, unpack

SPEC_VERSION: Final = "1.0"
EDITED_BY: Final = "editedby"
"""The extension attribute of an event whose data were edited before it left the quarantine: by whom."""
EDITED_AT: Final = "editedat"
"""When that was, as RFC 3339."""
_set: Final = object.__setattr__
_Text = Annotated[str, StringConstraints(min_length=1)]


class Envelope(BaseModel):
    """An event as it travels: context attributes, `headers` as received, and the `raw` body.

    Extension attributes: `deliverykey` (the message id under which duplicates are found), `traceparent`
    and `tracestate` (W3C Trace Context), `replayof` (the event that this one repeats), `tenant` (of the
    source, as the path named it). Others that a sender set stand in `extensions`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: _Text
    source: _Text
    type: _Text
    specversion: Literal["1.0"] = SPEC_VERSION
    subject: str | None = None
    time: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    datacontenttype: str = "application/json"
    dataschema: str | None = None
    deliverykey: str = ""
    traceparent: str | None = None
    tracestate: str | None = None
    replayof: str | None = None
    tenant: str | None = None
    extensions: dict[str, str | int | bool] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    blob: str | None = Field(default=None, description="where a large body lies; `raw` is empty then")
    value: Any = Field(default=None, description="the data where it isn't simply the JSON of `raw`")
    raw: bytes = Field(default=b"", exclude=True)

    @classmethod
    def sound(cls, attributes: Mapping[str, Any]) -> Envelope:
        """Build an event of attributes that are sound already: an id, a source, a type and a time at least.

        What judges a delivery has given each attribute its type; to validate them again costs as much as
        looking all of them up in the body.
        """
        event = cls.__new__(cls)
        _set(event, "__dict__", {**_EVERY, "extensions": {}, "headers": {}, **attributes})
        _set(event, "__pydantic_fields_set__", set(attributes))
        _set(event, "__pydantic_extra__", None)
        _set(event, "__pydantic_private__", None)
        return event

    @property
    def data(self) -> Any:
        """The event's data: its `value`, else its raw body read as JSON, None where there is no body."""
        if self.value is not None:
            return self.value
        return orjson.loads(self.raw) if self.raw else None

    def to_frame(self) -> bytes:
        """Return the event as it is stored on the broker."""
        return pack(self.facts(), self.raw)

    def facts(self) -> dict[str, Any]:
        """Return the attributes that are set, ready for JSON."""
        facts: dict[str, Any] = {
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "specversion": self.specversion,
            "time": self.time.isoformat(),
        }
        # By hand: three times as fast as pydantic's dump, and every event passes here.
        values = zip(_OPTIONAL, _DEFAULTS, _VALUES(self.__dict__), strict=False)
        return facts | {name: value for name, default, value in values if value != default}

    @classmethod
    def from_frame(cls, frame: bytes) -> Envelope:
        """Read an event back from its frame.

        Raises:
            PayloadError: the bytes are no frame.
            pydantic.ValidationError: the line isn't an event's.
        """
        facts, raw = unpack(frame)
        return cls.from_facts(facts, raw)

    def to_json(self) -> dict[str, Any]:
        """Return the event as JSON, its body included: as text, or as base64 in `raw64` where it is none."""
        try:
            return self.facts() | {"raw": self.raw.decode()}
        except UnicodeDecodeError:
            return self.facts() | {"raw64": base64.b64encode(self.raw).decode()}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Envelope:
        """Read what `to_json` wrote.

        Raises:
            pydantic.ValidationError: it isn't an event's.
        """
        raw64 = document.get("raw64")
        if raw64 is None:
            return cls.model_validate(document)
        facts = {name: value for name, value in document.items() if name != "raw64"}
        return cls.from_facts(facts, base64.b64decode(raw64))

    @classmethod
    def from_facts(cls, facts: dict[str, Any], raw: bytes) -> Envelope:
        """Build an event from its attributes and its body."""
        return cls.model_validate({**facts, "raw": raw})


def edited_data(facts: Mapping[str, Any]) -> bytes | None:
    """Return the JSON that an event's data were edited into; None where nobody edited them."""
    edited = EDITED_BY in (facts.get("extensions") or {}) and facts.get("value") is not None
    return orjson.dumps(facts["value"]) if edited else None


_REQUIRED: Final = ("id", "source", "type", "specversion", "time", "raw")
_OPTIONAL: Final = tuple(name for name in Envelope.model_fields if name not in _REQUIRED)
_DEFAULTS: Final[tuple[Any, ...]] = tuple(
    Envelope.model_fields[name].get_default(call_default_factory=True) for name in _OPTIONAL
)
_VALUES: Final = itemgetter(*_OPTIONAL)
_EVERY: Final = dict(zip(_OPTIONAL, _DEFAULTS, strict=True)) | {"specversion": SPEC_VERSION, "raw": b""}
