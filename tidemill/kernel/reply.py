"""What a run answers the sender of its event with: status, media type and body, and how that travels.

A reply becomes an HTTP answer of the gateway, so that nothing in it may end a header or begin another.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson

from tidemill.kernel.codec import Codec
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.frames import pack, unpack
from tidemill.kernel.protocol.records import Step

HEADER: Final = "Tidemill-Reply"
"""On an event's message: its sender may wait for an answer. The value says nothing."""
TAKEN: Final = b"+OK"
"""What a gateway says to a reply that it hands to its sender."""
MAX_BODY: Final = 64 * 1024
"""Bytes: the most that Twilio takes of TwiML, and more than any other provider that waits."""
KEEP_SECONDS: Final = 86400.0
"""How long an answer is kept for senders that come again, as long as deliveries are recognised by default."""
STEP: Final = "reply:sender"
"""By which a run remembers what it has answered."""
_BODY: Final = "body"
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE: Final = re.compile(rf'{_TOKEN}/{_TOKEN}( ?; ?{_TOKEN}=({_TOKEN}|"[ !#-\[\]-~]*"))*')
_MAX_MEDIA_TYPE: Final = 200
_JSON: Final = re.compile(r"application/(?:[^;]+\+)?json", re.IGNORECASE)
_WITHOUT_BODY: Final = (204, 205)
_ANYTHING: Final[Codec[Any]] = Codec(Any, "reply")
_HINT: Final = "the sender gets the source's static answer instead, unless another reply follows in time"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, which is sound: `made` and `decode` let no other pass."""

    status: int
    media_type: str
    body: bytes

    @classmethod
    def made(cls, body: object, status: object, media_type: object) -> Self:
        """Return what a handler wants to answer.

        Bytes are the body as they are. For a JSON media type anything else is written as JSON, text too; for
        others text is encoded as UTF-8, and `text/…` says so.

        Raises:
            PayloadError: it can't be an answer.
        """
        sound = _sound_media_type(media_type)
        if isinstance(body, bytes | bytearray | memoryview):
            raw = bytes(body)
        elif _JSON.fullmatch(sound.partition(";")[0].strip()):
            raw = _ANYTHING.encode(body)
        elif isinstance(body, str):
            raw = _utf8(body)
            if sound.lower().startswith("text/") and "charset" not in sound.lower():
                sound = f"{sound}; charset=utf-8"
        elif body is None:
            raw = b""
        else:
            raise PayloadError(
                f"a reply of type {sound} is text or bytes, not {type(body).__name__}", hint=_HINT
            )
        return cls(_sound_status(status, raw), sound, _sound_body(raw))

    def to_json(self) -> dict[str, Any]:
        """Return it as a run remembers it."""
        body = base64.b64encode(self.body).decode()
        return {"status": self.status, "media_type": self.media_type, _BODY: body}

    def encode(self) -> bytes:
        """Return it as it travels to the gateway."""
        return pack({"status": self.status, "media_type": self.media_type}, self.body)

    @classmethod
    def decode(cls, frame: bytes) -> Self:
        """Read a reply that came over the broker.

        Raises:
            PayloadError: it is none.
        """
        facts, body = unpack(frame)
        media_type = _sound_media_type(facts.get("media_type"))
        return cls(_sound_status(facts.get("status"), body), media_type, _sound_body(body))


def replied(steps: Iterable[Step]) -> Reply | None:
    """Return what a run has answered, whether it found somebody or not; None as long as it hasn't."""
    for step in steps:
        if step.key.rpartition("/")[2].partition("#")[0] != STEP:
            continue
        known = orjson.loads(orjson.dumps(step.result))  # what was written down just now is JSON text yet
        if isinstance(known, dict) and _BODY in known:
            return Reply(known["status"], known["media_type"], base64.b64decode(known[_BODY]))
    return None


def _sound_status(status: object, body: bytes) -> int:
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:  # noqa: PLR2004 - RFC 9110
        raise PayloadError(f"{status!r} is no status of a reply: write 200 to 299 or 400 to 599", hint=_HINT)
    if 300 <= status < 400:  # noqa: PLR2004 - RFC 9110, 15.4
        raise PayloadError(f"a reply can't redirect: status {status}", hint=_HINT)
    if body and status in _WITHOUT_BODY:
        raise PayloadError(f"a reply with status {status} has no body: give it None", hint=_HINT)
    return int(status)


def _sound_media_type(media_type: object) -> str:
    if (
        not isinstance(media_type, str)
        or len(media_type) > _MAX_MEDIA_TYPE
        or not _MEDIA_TYPE.fullmatch(media_type)
    ):
        raise PayloadError(
            f"{str(media_type)[:_MAX_MEDIA_TYPE]!r} is no media type: write one like 'text/xml'", hint=_HINT
        )
    return media_type


def _sound_body(body: bytes) -> bytes:
    if len(body) > MAX_BODY:
        raise PayloadError(f"a reply of {len(body)} bytes is longer than {MAX_BODY}", hint=_HINT)
    return body


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise PayloadError(f"a reply can't be encoded as UTF-8: {error.reason}", hint=_HINT) from None
