"""Verification: is a request from who it says, by the recipe, over the raw bytes, before anything is parsed.

Total over its input: whatever the bytes, the outcome is a value. Signatures are compared as text in
constant time, so that of several spellings of one signature only the recipe's own passes.
"""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.recipes import selector
from gateway.recipes.moment import parse_moment
from gateway.recipes.signed import SignedContent, parameters, value_of
from gateway.recipes.signing_key import key_of
from gateway.verdict import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.inbound import Inbound
    from gateway.recipes.recipe import Hmac, Recipe, Signature, SignedTimestamp
    from tidemill.kernel.settings.secrets import Secret

MAX_CANDIDATES: Final = 8
UNAUTHORIZED: Final = 401


class Verified(NamedTuple):
    """A request whose signature matched.

    Attributes:
        secret: index of the secret that matched.
        timestamp: when it was signed, as it was written; None where that isn't signed.
        id: the delivery id that is signed; None where none is.
    """

    secret: int
    timestamp: str | None = None
    id: str | None = None


class Offer(NamedTuple):
    """What a request offers: candidate signatures, and the items that stand beside them."""

    present: bool
    candidates: tuple[bytes, ...]
    beside: dict[str, bytes]


class SignatureReader:
    """Finds the candidate signatures of a request at one place."""

    def __init__(self, recipe: Signature) -> None:
        self._at = selector.parse(recipe.at)
        self._name = self._at.key
        self._prefix = recipe.prefix.encode()
        self._item_sep = recipe.item_sep.encode() if recipe.item_sep else None
        self._kv_sep = recipe.kv_sep.encode() if recipe.kv_sep else None
        self._key = (recipe.key or "").encode()
        self.recipe = recipe

    def read(self, inbound: Inbound) -> Offer:
        """Collect the candidates of every header or parameter of the name."""
        header = self._at.place == "header"
        values = inbound.values(self._name) if header else parameters(inbound, self._name)
        beside: dict[str, bytes] = {}
        candidates = [text for value in values for text in self._candidates(value, beside)]
        return Offer(bool(values), tuple(candidates), beside)

    def _candidates(self, value: bytes, beside: dict[str, bytes]) -> Iterator[bytes]:
        for item in value.split(self._item_sep) if self._item_sep else (value,):
            text = item.strip()
            if self._kv_sep:
                key, _, text = text.partition(self._kv_sep)
                if key != self._key:
                    beside.setdefault(key.decode("latin-1"), text)
                    continue
            if text.startswith(self._prefix):
                yield text[len(self._prefix) :]

    def matches(self, candidate: bytes, digest: bytes) -> bool:
        """Compare a candidate with the digest that it should be, in constant time."""
        expected = encode(digest, self.recipe.encoding)
        if self.recipe.unpadded:
            expected, candidate = expected.rstrip(b"="), candidate.rstrip(b"=")
        if self.recipe.case_insensitive and self.recipe.encoding == "hex":
            candidate = candidate.lower()
        return hmac.compare_digest(candidate, expected)


class HmacVerifier:
    """One way of verifying: `scheme: hmac`."""

    def __init__(
        self, recipe: Hmac, *, tolerance: float | None = None, public_url: str | None = None
    ) -> None:
        self.recipe = recipe
        self._readers = tuple(SignatureReader(one) for one in recipe.signature)
        self._signed = SignedContent(recipe.signed, public_url)
        self._id = selector.parse(recipe.id) if recipe.id else None
        self._stamp = StampReader(recipe.timestamp, tolerance) if recipe.timestamp else None

    def verify(self, inbound: Inbound, secrets: Sequence[Secret]) -> Verified | Refused | None:
        """Verify a request; None where it carries no signature of this kind at all."""
        found = [reader.read(inbound) for reader in self._readers]
        if not any(offer.present for offer in found):
            return None
        return _count_problem(found) or self._verify_offers(inbound, found, secrets)

    def _verify_offers(
        self, inbound: Inbound, found: list[Offer], secrets: Sequence[Secret]
    ) -> Verified | Refused:
        timestamp = self._stamp.read(inbound, found) if self._stamp else None
        if isinstance(timestamp, Refused):
            return timestamp
        raw_id = value_of(self._id, inbound) if self._id else None
        identity = None if raw_id is None else raw_id.decode("latin-1")
        signed = self._signed.render(inbound, timestamp, identity)
        if signed is None:
            return refused("signed_part_missing", "Something that is a part of what is signed is missing.")
        match = self._match(found, signed, secrets)
        if isinstance(match, Refused):
            return match
        late = (
            self._stamp.window_problem(timestamp, inbound.received_at) if self._stamp and timestamp else None
        )
        return late or Verified(match, timestamp, identity)

    def _match(self, found: list[Offer], signed: bytes, secrets: Sequence[Secret]) -> int | Refused:
        usable = False
        for index, secret in enumerate(secrets):
            key = key_of(secret, self.recipe.secret)
            if not key:
                continue
            usable = True
            digest = hmac.digest(key, signed, self.recipe.algorithm)
            for reader, offer in zip(self._readers, found, strict=True):
                if any(reader.matches(candidate, digest) for candidate in offer.candidates):
                    return index
        if usable:
            return refused("signature_mismatch", "No signature matches the body with an active secret.")
        return refused("secret_missing", "This source has no active secret to verify with.")


class StampReader:
    """Finds the timestamp that is signed and holds it against the clock."""

    def __init__(self, recipe: SignedTimestamp, tolerance: float | None) -> None:
        self._at = selector.parse(recipe.at)
        self._unit = recipe.unit
        self._past = recipe.tolerance_past if tolerance is None else tolerance
        self._future = recipe.tolerance_future if tolerance is None else tolerance

    def read(self, inbound: Inbound, found: list[Offer]) -> str | Refused:
        """Return the timestamp as it was written."""
        value = self._value(inbound, found)
        if value is None:
            return refused("timestamp_missing", "The timestamp that is a part of what is signed is missing.")
        text = value.decode("latin-1")
        if parse_moment(text, self._unit) is None:
            return refused("timestamp_malformed", "The timestamp isn't written as this source writes it.")
        return text

    def _value(self, inbound: Inbound, found: list[Offer]) -> bytes | None:
        if self._at.place == "signature":
            return next(
                (offer.beside[self._at.name] for offer in found if self._at.name in offer.beside), None
            )
        return value_of(self._at, inbound)

    def window_problem(self, text: str, now: float) -> Refused | None:
        """Say whether a timestamp is too far from now, either way."""
        signed_at = parse_moment(text, self._unit)
        if signed_at is None or now - signed_at > self._past:
            return refused("timestamp_stale", "The timestamp is older than this source tolerates.")
        if signed_at - now > self._future:
            return refused("timestamp_future", "The timestamp is further ahead than this source tolerates.")
        return None


def _count_problem(found: list[Offer]) -> Refused | None:
    candidates = sum(len(offer.candidates) for offer in found)
    if not candidates:
        return refused("algorithm_unknown", "No signature is of the kind that this source accepts.")
    if candidates > MAX_CANDIDATES:
        return refused("signature_excess", f"More than {MAX_CANDIDATES} signatures were sent.")
    return None


class Verification:
    """All the ways in which a recipe verifies; the first whose signature the request carries decides."""

    def __init__(
        self, recipe: Recipe, *, tolerance: float | None = None, public_url: str | None = None
    ) -> None:
        self._ways = tuple(
            HmacVerifier(one, tolerance=tolerance, public_url=public_url) for one in recipe.verify
        )

    def verify(self, inbound: Inbound, secrets: Sequence[Secret]) -> Verified | Refused | None:
        """Verify a request; None where it carries no signature that the recipe knows."""
        for way in self._ways:
            outcome = way.verify(inbound, secrets)
            if outcome is not None:
                return outcome
        return None


def encode(digest: bytes, encoding: str) -> bytes:
    """Write a digest as a recipe's `encoding` says."""
    if encoding == "hex":
        return digest.hex().encode()
    return base64.b64encode(digest) if encoding == "base64" else base64.urlsafe_b64encode(digest)


def refused(check: str, detail: str) -> Refused:
    """Return the refusal of a request that isn't proven to be genuine."""
    return Refused(UNAUTHORIZED, check, detail)
