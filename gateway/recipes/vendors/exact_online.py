"""Exact Online: an HMAC over the text of one member of the body, beside which it stands in another.

A body is `{"Content":{…},"HashCode":"…"}` and nothing else; what is signed are the bytes of the first value
as they were sent. Source: Picqer's library exact-php-client, its trait for webhooks.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Final

import orjson

from gateway.recipes.proofs import SecretForm
from gateway.recipes.refusal import refused
from gateway.recipes.schemes.digest import signing_key
from gateway.recipes.signing_key import key_reader
from gateway.recipes.verified import Verified
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.recipes.draft import Draft
    from gateway.recipes.message import Message
    from gateway.verdict import Refused
    from tidemill.kernel.settings.secrets import Secret

_BODY: Final = re.compile(
    rb'\s*\{\s*"Content"\s*:\s*(?P<content>\{.*\})\s*,\s*"HashCode"\s*:\s*"(?P<hash>[^"\\]*)"\s*\}\s*',
    re.DOTALL,
)
_MEMBERS: Final = frozenset({"Content", "HashCode"})


class ExactOnlineVerifier:
    """Verifies webhooks of Exact Online's."""

    def __init__(self) -> None:
        self._key = key_reader(SecretForm())

    def verify(self, message: Message, secrets: Sequence[Secret]) -> Verified | Refused | None:
        """Verify a request; None where its body carries no hash."""
        document = message.document
        if not isinstance(document, dict) or "HashCode" not in document:
            return None
        found = _BODY.fullmatch(message.inbound.body)
        if found is None or document.keys() != _MEMBERS:
            return refused("signed_part_missing", "The body isn't made of Content and HashCode alone.")
        keys = [(index, key) for index, one in enumerate(secrets) if (key := self._key(one.reveal()))]
        for index, key in keys:
            if hmac.compare_digest(_digest(key, found["content"]), found["hash"]):
                return Verified(index)
        if keys:
            return refused("signature_mismatch", "No signature matches the body with an active secret.")
        return refused("secret_missing", "This source has no active secret to verify with.")

    def sign(self, draft: Draft, secret: Secret) -> None:
        """Make the body the signed one of its `Content`, or of itself.

        Raises:
            SettingsError: the secret is empty, or the body is no JSON object.
        """
        document = draft.message().document
        if not isinstance(document, dict):
            raise SettingsError("the body is no content of Exact Online's", hint="give a JSON object")
        content = orjson.dumps(document.get("Content", document))
        digest = _digest(signing_key(self._key(secret.reveal())), content)
        draft.body = b'{"Content":' + content + b',"HashCode":"' + digest + b'"}'


def _digest(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, "sha256").hex().upper().encode()
