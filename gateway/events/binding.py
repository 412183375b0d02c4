"""CloudEvents' HTTP binding: from a request to the events that it carries, in any of the three modes.

The mode follows from the Content-Type alone (HTTP protocol binding 1.0.2, section 3): batched where it
begins with `application/cloudevents-batch`, structured with `application/cloudevents`, binary otherwise.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from gateway import strictjson
from gateway.events.attributes import UnsoundEventError, check, decode_header, is_json
from gateway.mediatype import media_type

if TYPE_CHECKING:
    from gateway.inbound import Inbound

BATCH: Final = "application/cloudevents-batch"
STRUCTURED: Final = "application/cloudevents"
MAX_EVENTS: Final = 1000
_PREFIX: Final = b"ce-"
_JSON: Final = "application/json"


class UnreadableError(Exception):
    """The request is in a format that isn't taken."""


class CloudEvent(NamedTuple):
    """One event of a request.

    Attributes:
        attributes: its context attributes, `datacontenttype` included.
        raw: its data as bytes.
        value: its data where that isn't simply the JSON of `raw`, else None.
    """

    attributes: dict[str, Any]
    raw: bytes
    value: Any = None


class Carried(NamedTuple):
    """What a request carries, and whether as a batch."""

    events: list[CloudEvent]
    batch: bool = False


def read(inbound: Inbound) -> Carried:
    """Return the events of a request.

    Raises:
        UnreadableError: its format isn't taken.
        UnsoundEventError: an event isn't sound.
    """
    media = media_type(inbound.header(b"content-type"))
    if not media.name.startswith(STRUCTURED):
        return Carried([_binary(inbound)])
    if media.reads_as != "json":
        raise UnreadableError
    document = _document(inbound.body)
    if not media.name.startswith(BATCH):
        return Carried([_structured(document)])
    if not isinstance(document, list):
        raise UnsoundEventError("a batch is a JSON array")
    if len(document) > MAX_EVENTS:
        raise UnsoundEventError(f"a batch has at most {MAX_EVENTS} events")
    return Carried([_of_batch(item, index) for index, item in enumerate(document)], batch=True)


def _document(body: bytes) -> Any:
    try:
        return strictjson.loads(body)
    except strictjson.UnsoundJsonError as error:
        raise UnsoundEventError(error.reason.detail) from error


def _of_batch(item: Any, index: int) -> CloudEvent:
    try:
        return _structured(item)
    except UnsoundEventError as error:
        raise UnsoundEventError(f"event {index}: {error}") from error


def _binary(inbound: Inbound) -> CloudEvent:
    attributes: dict[str, Any] = {}
    for name, value in inbound.headers:
        if name.startswith(_PREFIX):
            key = name[len(_PREFIX) :].decode("latin-1")
            if key in attributes:
                raise UnsoundEventError(f"the header ce-{key[:40]} stands more than once")
            attributes[key] = decode_header(value)
    if "datacontenttype" in attributes:
        raise UnsoundEventError("Content-Type is the datacontenttype: there must be no header of that name")
    content_type = inbound.header(b"content-type")
    if content_type:
        attributes["datacontenttype"] = content_type.decode("latin-1")
    check(attributes)
    return _with_bytes(attributes, inbound.body)


def _structured(document: Any) -> CloudEvent:
    if not isinstance(document, dict):
        raise UnsoundEventError("an event is a JSON object")
    attributes = {name: value for name, value in document.items() if value is not None}
    data, encoded = attributes.pop("data", None), attributes.pop("data_base64", None)
    check(attributes)
    if data is not None and encoded is not None:
        raise UnsoundEventError("an event has data or data_base64, never both")
    if encoded is not None:
        return _with_bytes(attributes, _decoded(encoded))
    if data is None:
        return CloudEvent(attributes, b"")
    if isinstance(data, str) and not is_json(attributes.get("datacontenttype", _JSON)):
        return CloudEvent(attributes, data.encode(), data)
    return CloudEvent(attributes, orjson.dumps(data))


def _decoded(encoded: object) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else _no_base64()
    except binascii.Error:
        return _no_base64()


def _no_base64() -> bytes:
    raise UnsoundEventError("data_base64 isn't base64")


def _with_bytes(attributes: dict[str, Any], raw: bytes) -> CloudEvent:
    """Return an event whose data came as bytes: JSON must be sound, other bytes are text or base64."""
    if not raw:
        return CloudEvent(attributes, b"")
    if is_json(attributes.get("datacontenttype", _JSON)):
        _document(raw)
        return CloudEvent(attributes, raw)
    try:
        return CloudEvent(attributes, raw, raw.decode("utf-8"))
    except UnicodeDecodeError:
        return CloudEvent(attributes, raw, base64.b64encode(raw).decode())
