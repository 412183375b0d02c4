"""What browsers keep for the gateway, signed with the installation's own key: nobody else can make it."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_LONGEST: Final = 4096
_CSRF: Final = "csrf"


class Seal:
    """Signs with a key that is loaded once, before the first use.

    A signature is an HMAC-SHA256 over the purpose and the content: what was signed for one thing proves
    nothing elsewhere.
    """

    def __init__(self, load: Callable[[], Awaitable[bytes]]) -> None:
        self._load = load
        self._key = b""

    async def ready(self) -> None:
        """Load the key where that hasn't been done.

        Raises:
            BrokerError: it can't be loaded now.
        """
        if not self._key:
            self._key = await self._load()

    def sign(self, purpose: str, document: Any) -> str:
        """Return a document as text that `read` takes for the same purpose."""
        content = orjson.dumps(document)
        return f"{_encoded(content)}.{_encoded(self._mac(purpose, content))}"

    def read(self, purpose: str, text: str) -> Any:
        """Return the document that was signed for a purpose, None where it wasn't."""
        said, _, given = text.partition(".")
        if len(text) > _LONGEST:
            return None
        try:
            content, signature = _decoded(said), _decoded(given)
        except (binascii.Error, ValueError):
            return None
        if not hmac.compare_digest(self._mac(purpose, content), signature):
            return None
        return orjson.loads(content)

    def csrf(self, visitor: str) -> str:
        """Return the token that a visitor's forms carry."""
        return _encoded(self._mac(_CSRF, visitor.encode("utf-8", "surrogatepass")))

    def _mac(self, purpose: str, content: bytes) -> bytes:
        if not self._key:
            raise RuntimeError("the seal has no key yet")
        return hmac.digest(self._key, b"tidemill %b 1\n%b" % (purpose.encode(), content), "sha256")


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
