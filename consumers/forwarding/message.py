"""An event as the body and headers of a request: CloudEvents' HTTP binding 1.0.2, binary or structured."""

from __future__ import annotations

import base64
import re
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote

import orjson

from tidemill.kernel.envelope import EDITED_BY, Envelope, edited_data

BodyKind = Literal["raw", "cloudevent"]
_JSON: Final = "application/json"
_STRUCTURED: Final = "application/cloudevents+json"
_NAME: Final = re.compile(r"[a-z0-9]+")
_OURS: Final = frozenset({EDITED_BY})
"""Names of people stay here."""
_TRACE: Final = ("traceparent", "tracestate")
_PLAIN: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


class Message(NamedTuple):
    """What is posted, without what each attempt adds."""

    headers: dict[str, str]
    body: bytes


def message_of(envelope: Envelope, kind: BodyKind) -> Message:
    """Return an event as it is posted."""
    attributes = _attributes(envelope)
    trace = {name: attributes[name] for name in _TRACE if _is_field(attributes.get(name, ""))}
    if kind == "raw":
        named = {f"ce-{name}": quote(value, safe=_PLAIN) for name, value in attributes.items()}
        body = edited_data({"extensions": envelope.extensions, "value": envelope.value})
        media_type = _content_type(envelope) if body is None else _JSON
        return Message(trace | named | {"content-type": media_type}, envelope.raw if body is None else body)
    document = attributes | _data(envelope)
    return Message(trace | {"content-type": _STRUCTURED}, orjson.dumps(document))


def _attributes(envelope: Envelope) -> dict[str, str]:
    """Return the context attributes that are set, as text."""
    given: dict[str, Any] = {
        "specversion": envelope.specversion,
        "id": envelope.id,
        "source": envelope.source,
        "type": envelope.type,
        "time": envelope.time.isoformat(),
        "subject": envelope.subject,
        "dataschema": envelope.dataschema,
        "traceparent": envelope.traceparent,
        "tracestate": envelope.tracestate,
        "replayof": envelope.replayof,
        **envelope.extensions,
    }
    return {
        name: _text(value)
        for name, value in given.items()
        if value is not None and name not in _OURS and _NAME.fullmatch(name)
    }


def _data(envelope: Envelope) -> dict[str, Any]:
    """Return the data of a structured event: what its parser has read, else JSON as it came, else bytes."""
    if envelope.value is not None:
        return {"datacontenttype": _JSON, "data": envelope.value}
    media_type = envelope.datacontenttype
    if not envelope.raw:
        return {}
    essence = media_type.partition(";")[0].strip().lower()
    if essence.endswith(("/json", "+json")) and _is_json(envelope.raw):
        return {"datacontenttype": media_type, "data": orjson.Fragment(envelope.raw)}
    return {"datacontenttype": media_type, "data_base64": base64.b64encode(envelope.raw).decode()}


def _is_json(raw: bytes) -> bool:
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return True


def _text(value: str | int) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.encode("utf-8", "replace").decode()


def _content_type(envelope: Envelope) -> str:
    """Return the media type of a raw body, with the parameters that it came with."""
    given = envelope.headers.get("content-type", "")
    same = given.partition(";")[0].strip().lower() == envelope.datacontenttype.lower()
    media_type = given if same else envelope.datacontenttype
    return media_type.strip() if _is_field(media_type.strip()) else "application/octet-stream"


def _is_field(value: str) -> bool:
    """Say whether a text that may come from a stranger can stand in a header."""
    return bool(value) and value == value.strip() and value.isascii() and value.isprintable()
