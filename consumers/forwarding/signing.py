"""Signatures of Standard Webhooks: https://github.com/standard-webhooks/standard-webhooks, version 1.0."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import Final

from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.secrets import Secret

PREFIX: Final = "whsec_"
_SHORTEST, _LONGEST = 24, 64  # bytes, by the specification


def key_of(secret: Secret) -> bytes:
    """Return the bytes of a secret.

    Raises:
        SettingsError: it is none of Standard Webhooks; the sentence doesn't show it.
    """
    try:
        key = base64.b64decode(secret.reveal().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise SettingsError(
            "a signing secret is no secret of Standard Webhooks",
            hint=f"{PREFIX} and base64 of {_SHORTEST} to {_LONGEST} random bytes",
        )
    return key


def signature_headers(message_id: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """Return what a request is sent with; each key signs, so that a receiver may change its own any time."""
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    if keys:
        content = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
        signed = (base64.b64encode(hmac.digest(key, content, "sha256")).decode() for key in keys)
        headers["webhook-signature"] = " ".join(f"v1,{signature}" for signature in signed)
    return headers
