"""Opening what a provider has encrypted, so that handlers and schemas see what is inside.

The raw body stays as it came. Without a key among the source's secrets the box stays closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from gateway import strictjson
from gateway.keys.apis import wechat_credentials
from gateway.keys.sealed import KEY_BYTES, is_sealed, unsealed
from gateway.reason import Reason
from gateway.recipes import selector
from gateway.recipes.parts import Part, checked_selector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.reading import Content
    from tidemill.kernel.settings.secrets import Secret

CODE: Final = "not_decrypted"


class Encrypted(Part):
    """A value of the body that is encrypted: JSON, under a key that is one of the source's secrets."""

    at: Annotated[str, AfterValidator(checked_selector("body:"))] = Field(
        description="body:KEY of the object that holds ciphertext, nonce and associated_data"
    )
    scheme: Literal["aes_256_gcm"] = Field(
        default="aes_256_gcm",
        description="AEAD_AES_256_GCM; the key is a secret of 32 bytes, or the api_v3_key of a merchant's "
        "credentials",
    )


class Opener:
    """Opens the boxes of one source."""

    def __init__(self, recipe: Encrypted) -> None:
        self._path = selector.path_of(selector.parse(recipe.at).name)

    def open(self, content: Content, secrets: Sequence[Secret]) -> Content | Reason:
        """Return a content with what was in its box, or why that can't be opened."""
        box = selector.find(content.document, self._path)
        keys = [key for secret in secrets if (key := _key_of(secret)) is not None]
        if not is_sealed(box) or not keys:
            return content
        plain = next((found for key in keys if (found := unsealed(box, key)) is not None), None)
        where = selector.json_path(self._path)
        if plain is None:
            return Reason(CODE, "It can't be decrypted with a key of this source.", where)
        try:
            document = _replaced(content.document, self._path, strictjson.loads(plain))
        except strictjson.UnsoundJsonError:
            return Reason(CODE, "What was encrypted isn't sound JSON.", where)
        return content._replace(document=document, value=document)


def _key_of(secret: Secret) -> bytes | None:
    """Return the key that a secret holds, None where it holds none."""
    credentials = wechat_credentials(secret)
    text = credentials["api_v3_key"] if credentials is not None else secret.reveal()
    key = text.encode("utf-8", "surrogatepass")
    return key if len(key) == KEY_BYTES else None


def _replaced(document: Any, path: selector.Path, value: Any) -> Any:
    """Return a copy of a document with another value at a path that it has."""
    if not path:
        return value
    first, *rest = path
    if isinstance(document, list) and isinstance(first, int):
        copy = list(document)
        copy[first] = _replaced(document[first], tuple(rest), value)
        return copy
    return {**document, str(first): _replaced(document[str(first)], tuple(rest), value)}
