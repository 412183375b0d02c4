"""`scheme: shared_secret`: the request carries the secret itself."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Any, Final

from gateway.recipes import selector
from gateway.recipes.candidates import MAX_CANDIDATES
from gateway.recipes.proofs import SecretForm
from gateway.recipes.refusal import refused
from gateway.recipes.signing_key import key_reader
from gateway.recipes.verified import Verified
from gateway.verdict import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.recipes.message import Message
    from gateway.recipes.proofs import SharedSecret
    from tidemill.kernel.settings.secrets import Secret

_KEY: Final = key_reader(SecretForm())
_WORDS: Final = {"bearer": b"bearer ", "basic": b"basic "}


class SharedSecretVerifier:
    """Compares what stands somewhere in the request with the secrets."""

    def __init__(self, recipe: SharedSecret) -> None:
        self.recipe = recipe
        self._at = selector.parse(recipe.at)
        self._each = selector.path_of(recipe.each) if recipe.each else None
        self._path = selector.path_of(self._at.name)
        self._prefix = recipe.prefix.encode()

    def verify(self, message: Message, secrets: Sequence[Secret]) -> Verified | Refused | None:
        """Verify a request; None where it carries nothing at all in that place."""
        if self._each is not None:
            return self._verify_items(message, secrets)
        values = [value for value in message.values(self._at) if value]
        if not values:
            return None
        shown = [text for value in values if (text := self._shown(value)) is not None]
        if not shown:
            return refused("algorithm_unknown", "The credentials are of another kind than this source's.")
        if len(shown) > MAX_CANDIDATES:
            return refused("signature_excess", f"More than {MAX_CANDIDATES} credentials were sent.")
        return self._match([shown], secrets)

    def _verify_items(self, message: Message, secrets: Sequence[Secret]) -> Verified | Refused | None:
        items = selector.find(message.document, self._each or ())
        if not isinstance(items, list) or not items:
            return None
        texts = [selector.text_of(selector.find(item, self._path)) for item in items]
        if any(text is None for text in texts):
            return refused("signed_part_missing", "An item of the batch carries no secret.")
        distinct = {text.encode("utf-8", "surrogatepass") for text in texts if text is not None}
        return self._match([[text] for text in distinct], secrets)

    def _match(self, wanted: list[list[bytes]], secrets: Sequence[Secret]) -> Verified | Refused:
        """Find the secret that every one of the wanted shows."""
        keys = [_KEY(secret.reveal()) for secret in secrets]
        usable = [(index, key) for index, key in enumerate(keys) if key]
        for index, key in usable:
            if all(any(hmac.compare_digest(text, key) for text in shown) for shown in wanted):
                return Verified(index)
        if usable:
            return refused("signature_mismatch", "What was sent isn't an active secret of this source.")
        return refused("secret_missing", "This source has no active secret to verify with.")

    def _shown(self, value: bytes) -> bytes | None:
        """Return the secret that a value shows, None where it is of another kind."""
        word = _WORDS.get(self.recipe.presented)
        if word is not None:
            if value[: len(word)].lower() != word:
                return None
            value = value[len(word) :].strip()
        if not value.startswith(self._prefix):
            return None
        text = value[len(self._prefix) :]
        return _decoded(text) if self.recipe.presented == "basic" else text

    def shows(self, secret: Secret) -> str:
        """Return how the secret stands in a request."""
        text = secret.reveal()
        if self.recipe.presented == "basic":
            return f"Basic {self.recipe.prefix}{base64.b64encode(text.encode()).decode()}"
        return f"{'Bearer ' if self.recipe.presented == 'bearer' else ''}{self.recipe.prefix}{text}"


def _decoded(text: bytes) -> bytes | None:
    try:
        decoded = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return decoded if base64.b64encode(decoded) == text else None


def item_holders(document: Any, each: str | None) -> list[Any]:
    """Return the objects of a body that carry the secret: the items of the array, or the body."""
    if each is None:
        return [document]
    items = selector.find(document, selector.path_of(each))
    return items if isinstance(items, list) else []
