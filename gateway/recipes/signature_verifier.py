"""Verifying a signature: candidates, what is signed, time and secrets come together here."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from gateway.recipes import selector, template
from gateway.recipes.candidates import ABSENT, Offer, SignatureReader, count_problem
from gateway.recipes.listed_headers import ListedHeaders
from gateway.recipes.proofs import EcdsaP256, Ed25519, Hmac, PlainHash, Rsa
from gateway.recipes.refusal import MISMATCH, refused
from gateway.recipes.schemes.digest import HashScheme, HmacScheme
from gateway.recipes.schemes.public_key import EcdsaScheme, Ed25519Scheme, RsaScheme
from gateway.recipes.signed import Given, SignedContent
from gateway.recipes.stamp import StampReader
from gateway.recipes.verified import Verified
from gateway.verdict import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.recipes.message import Message
    from gateway.recipes.proofs import SignedProof
    from gateway.recipes.schemes.scheme import Scheme
    from tidemill.kernel.settings.secrets import Secret

_NOTHING = Given()


class SignatureVerifier:
    """One way of verifying that has a signature; the scheme says how that is computed."""

    def __init__(
        self, recipe: SignedProof, scheme: Scheme, tolerance: float | None, public_url: str | None
    ) -> None:
        self._scheme = scheme
        self._readers = tuple(SignatureReader(one) for one in recipe.signature)
        self._signed = signed_content(recipe, public_url)
        self._id = selector.parse(recipe.id) if recipe.id else None
        self._stamp = StampReader(recipe.timestamp, tolerance) if recipe.timestamp else None
        self._body_hash = selector.parse(recipe.body_hash) if recipe.body_hash else None
        self._simple = not (recipe.timestamp or recipe.id or recipe.require or recipe.signed_headers)
        self._fields = _only_fields(recipe)
        self._require = [(selector.parse(at), text.encode()) for at, text in recipe.require.items()]

    def verify(self, message: Message, secrets: Sequence[Secret]) -> Verified | Refused | None:
        """Verify a request; None where it carries no signature of this kind at all."""
        if self._body_hash is not None and message.value(self._body_hash) is None:
            return None
        found = [reader.read(message) for reader in self._readers]
        if all(offer is ABSENT for offer in found):
            return None
        problem = count_problem(found) or self._content_problem(message)
        if problem is not None:
            return problem
        if self._simple:
            match = self._match(message, _NOTHING, found, secrets)
            return match if isinstance(match, Refused) else Verified(match)
        return self._verify_offers(message, found, secrets)

    def _content_problem(self, message: Message) -> Refused | None:
        """Say whether the body holds something that isn't covered, where it isn't signed as a whole."""
        if self._body_hash is not None and not _hashes(message, self._body_hash):
            return _OTHER_BODY
        if self._fields is not None and any(name not in self._fields for name, _ in message.form):
            return _UNSIGNED_FIELD
        return None

    def _verify_offers(
        self, message: Message, found: list[Offer], secrets: Sequence[Secret]
    ) -> Verified | Refused:
        if self._require and any(message.value(at) != text for at, text in self._require):
            return _OTHER_VERSION
        timestamp = self._stamp.read(message, found) if self._stamp else None
        if isinstance(timestamp, Refused):
            return timestamp
        raw_id = message.value(self._id) if self._id else None
        given = self._given(message, found, timestamp, raw_id)
        if given is None:
            return _PART_MISSING
        match = self._match(message, given, found, secrets)
        if isinstance(match, Refused):
            return match
        if self._stamp is not None and timestamp is not None:
            late = self._stamp.window_problem(timestamp, message.inbound.received_at)
            if late is not None:
                return late
        return Verified(match, timestamp, None if raw_id is None else raw_id.decode("latin-1"))

    def _given(
        self, message: Message, found: list[Offer], timestamp: str | None, identity: bytes | None
    ) -> Given | None:
        stamp = timestamp.encode("latin-1") if timestamp else None
        if self._signed.listed is None:
            return Given(stamp, identity)
        listed = self._signed.listed.read(message, found)
        return None if listed is None else Given(stamp, identity, *listed)

    def _match(
        self, message: Message, given: Given, found: list[Offer], secrets: Sequence[Secret]
    ) -> int | Refused:
        """Return the index of the secret that one of the candidates was made with."""
        offers = tuple(zip(self._readers, found, strict=True))
        scheme, content = self._scheme, self._signed
        signed = None if content.has_secret else content.render(message, given)
        usable = False
        for index, secret in enumerate(secrets):
            key = scheme.key(secret)
            if key is None:
                continue
            usable = True
            if content.has_secret:
                signed = content.render(message, given._replace(secret=scheme.shown(key)))
            if signed is None:
                return _PART_MISSING
            if scheme.accepts(key, signed, offers):
                return index
        return MISMATCH if usable else _NO_SECRET


def _only_fields(recipe: SignedProof) -> frozenset[bytes] | None:
    """Return the only fields that a form may have, None where all of it is signed, or none."""
    holes = template.selectors(template.parse(recipe.signed))
    if recipe.body_unsigned or any(hole.kind in ("body", "sha256_hex_body", "sorted_form") for hole in holes):
        return None
    signed = [hole.key for hole in holes if hole.place == "form"]
    return frozenset((*signed, *(selector.parse(one.at).key for one in recipe.signature))) if signed else None


def _hashes(message: Message, at: selector.Selector) -> bool:
    expected = hashlib.sha256(message.inbound.body).hexdigest().encode()
    return hmac.compare_digest(message.value(at) or b"", expected)


def signed_content(recipe: SignedProof, public_url: str | None) -> SignedContent:
    """Compile what a proof signs."""
    must = recipe.timestamp.at if recipe.timestamp else None
    listed = ListedHeaders(recipe.signed_headers, must) if recipe.signed_headers else None
    return SignedContent(recipe.signed, public_url, listed)


def scheme_of(recipe: SignedProof) -> Scheme:
    """Return the scheme of a proof that has a signature.

    Raises:
        SettingsError: a hash that it needs can't be computed on this system.
    """
    match recipe:
        case Hmac():
            return HmacScheme(recipe)
        case PlainHash():
            return HashScheme(recipe)
        case Ed25519():
            return Ed25519Scheme(recipe)
        case EcdsaP256():
            return EcdsaScheme(recipe)
        case Rsa():
            return RsaScheme(recipe)
    raise TypeError(f"{type(recipe).__name__} has no scheme")


_OTHER_VERSION = refused("version_unknown", "The signature is of a version that this source doesn't accept.")
_OTHER_BODY = refused("signature_mismatch", "The hash of the body that is signed isn't that of the body.")
_UNSIGNED_FIELD = refused("unsigned_part", "The form has a field that isn't signed.")
_PART_MISSING = refused("signed_part_missing", "Something that is a part of what is signed is missing.")
_NO_SECRET = refused("secret_missing", "This source has no active secret to verify with.")
