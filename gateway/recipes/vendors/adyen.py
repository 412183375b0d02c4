"""Adyen's standard notifications: every item of a notification carries an HMAC over some of its fields.

The fields are joined by colons; one that is missing is empty. Everything else in an item, and the rest of
the body, isn't covered. Source: Adyen's Python library, util.generate_notification_sig.
"""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, Any, Final

from gateway.recipes import selector
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

MAX_ITEMS: Final = 1000
_FIELDS: Final[tuple[selector.Path, ...]] = (
    ("pspReference",),
    ("originalReference",),
    ("merchantAccountCode",),
    ("merchantReference",),
    ("amount", "value"),
    ("amount", "currency"),
    ("eventCode",),
    ("success",),
)
_ITEM: Final = "NotificationRequestItem"
_SIGNATURE: Final[selector.Path] = ("additionalData", "hmacSignature")


class AdyenVerifier:
    """Verifies all items of a notification with one secret."""

    def __init__(self) -> None:
        self._key = key_reader(SecretForm(encoding="hex"))

    def verify(self, message: Message, secrets: Sequence[Secret]) -> Verified | Refused | None:
        """Verify a request; None where no item carries a signature."""
        items = _items(message.document)
        signatures = [selector.text_of(selector.find(item, _SIGNATURE)) for item in items]
        if not any(signatures):
            return None
        if not all(signatures) or len(items) > MAX_ITEMS:
            return refused("signed_part_missing", "An item of the notification carries no signature.")
        shown = [(text or "").encode("utf-8", "surrogatepass") for text in signatures]
        keys = [(index, key) for index, secret in enumerate(secrets) if (key := self._key(secret.reveal()))]
        for index, key in keys:
            if all(
                hmac.compare_digest(_digest(key, item), text) for item, text in zip(items, shown, strict=True)
            ):
                return Verified(index)
        if keys:
            return refused("signature_mismatch", "The items aren't all signed with one active secret.")
        return refused("secret_missing", "This source has no active secret to verify with.")

    def sign(self, draft: Draft, secret: Secret) -> None:
        """Write a signature into every item.

        Raises:
            SettingsError: the secret isn't a key in hex, or the body is no notification.
        """
        items = _items(draft.message().document)
        if not items:
            raise SettingsError(
                "the body is no notification of Adyen's",
                hint=f'give JSON with {{"notificationItems": [{{"{_ITEM}": {{…}}}}]}}',
            )
        key = signing_key(self._key(secret.reveal()))
        for index, item in enumerate(items):
            path: selector.Path = ("notificationItems", index, _ITEM, *_SIGNATURE)
            draft.put_value(path, _digest(key, item).decode())


def _items(document: Any) -> list[Any]:
    found = selector.find(document, ("notificationItems",))
    return [selector.find(item, (_ITEM,)) for item in found] if isinstance(found, list) else []


def _digest(key: bytes, item: Any) -> bytes:
    texts = [selector.text_of(selector.find(item, path)) or "" for path in _FIELDS]
    signed = ":".join(texts).encode("utf-8", "surrogatepass")
    return base64.b64encode(hmac.digest(key, signed, "sha256"))
