"""Candidates: what a request offers as signatures, and what stands beside them."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.recipes import selector
from gateway.recipes.refusal import refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.recipes.message import Message
    from gateway.recipes.proofs import Signature
    from gateway.verdict import Refused

MAX_CANDIDATES: Final = 16
_ANY_KEY: Final = b"*"


class Offer(NamedTuple):
    """What a request offers: candidate signatures, and the items that stand beside them."""

    candidates: Sequence[bytes]
    beside: Mapping[str, bytes]


_NONE_BESIDE: Final[Mapping[str, bytes]] = MappingProxyType({})
ABSENT: Final = Offer((), _NONE_BESIDE)


class SignatureReader:
    """Finds the candidate signatures of a request at one place."""

    def __init__(self, recipe: Signature) -> None:
        self._at = selector.parse(recipe.at)
        plain = self._at.place == "header" and not self._at.name.endswith("*")
        self._header = self._at.key if plain else None
        self._prefix = recipe.prefix.encode()
        self._item_sep = recipe.item_sep.encode() if recipe.item_sep else None
        self._kv_sep = recipe.kv_sep.encode() if recipe.kv_sep else None
        self._key = (recipe.key or "").encode()
        self._encode = _ENCODERS[recipe.encoding]
        self._decode = _DECODERS[recipe.encoding]
        self._lower = recipe.case_insensitive and recipe.encoding == "hex"
        self._unpadded = recipe.unpadded
        self._as_is = not (self._lower or self._unpadded)
        self._whole = not (self._item_sep or self._kv_sep)

    def read(self, message: Message) -> Offer:
        """Collect the candidates of every value that stands there; `ABSENT` where nothing does."""
        if self._header is not None:
            values = message.inbound.values(self._header)
        else:
            values = message.values(self._at)
        if not values:
            return ABSENT
        if self._whole:
            return Offer(self._stripped(values), _NONE_BESIDE)
        beside: dict[str, bytes] = {}
        return Offer([text for value in values for text in self._candidates(value, beside)], beside)

    def _stripped(self, values: list[bytes]) -> list[bytes]:
        prefix = self._prefix
        texts = [value.strip() for value in values]
        return [text[len(prefix) :] for text in texts if text.startswith(prefix)] if prefix else texts

    def _candidates(self, value: bytes, beside: dict[str, bytes]) -> Iterator[bytes]:
        for item in value.split(self._item_sep) if self._item_sep else (value,):
            text = item.strip()
            if self._kv_sep:
                key, _, text = text.partition(self._kv_sep)
                if self._key not in (key, _ANY_KEY):
                    beside.setdefault(key.decode("latin-1"), text)
                    continue
            if text.startswith(self._prefix):
                yield text[len(self._prefix) :]

    def written(self, digest: bytes) -> bytes:
        """Return a signature's bytes as they are compared: in the recipe's encoding."""
        text = self._encode(digest)
        return text.rstrip(b"=") if self._unpadded else text

    def spelt(self, candidate: bytes) -> bytes:
        """Return a candidate as it is compared, in the one spelling of what the recipe lets pass."""
        if self._unpadded:
            candidate = candidate.rstrip(b"=")
        return candidate.lower() if self._lower else candidate

    def offers(self, digest: bytes, candidates: Sequence[bytes]) -> bool:
        """Compare all candidates with the digest that one of them should be, in constant time."""
        expected = self.written(digest)
        for one in candidates:
            if hmac.compare_digest(one if self._as_is else self.spelt(one), expected):
                return True
        return False

    def decoded(self, candidate: bytes) -> bytes | None:
        """Return the bytes of a candidate, None where it isn't written as the recipe says."""
        text = self.spelt(candidate)
        try:
            digest = self._decode(text + b"=" * (-len(text) % 4) if self._unpadded else text)
        except (ValueError, binascii.Error):
            return None
        return digest if self.written(digest) == text else None


def count_problem(found: Sequence[Offer]) -> Refused | None:
    """Say why the number of candidates is wrong, None where it isn't."""
    candidates = len(found[0].candidates) if len(found) == 1 else sum(len(one.candidates) for one in found)
    if not candidates:
        return refused("algorithm_unknown", "No signature is of the kind that this source accepts.")
    if candidates > MAX_CANDIDATES:
        return refused("signature_excess", f"More than {MAX_CANDIDATES} signatures were sent.")
    return None


def encode(digest: bytes, encoding: str) -> bytes:
    """Write a digest as a recipe's `encoding` says."""
    return _ENCODERS[encoding](digest)


_ENCODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "hex": binascii.hexlify,
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "hex_in_base64": lambda digest: base64.b64encode(digest.hex().encode()),
}
_DECODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "hex": binascii.unhexlify,
    "base64": lambda text: base64.b64decode(text, validate=True),
    "base64url": lambda text: base64.b64decode(text, altchars=b"-_", validate=True),
    "hex_in_base64": lambda text: binascii.unhexlify(base64.b64decode(text, validate=True)),
}
