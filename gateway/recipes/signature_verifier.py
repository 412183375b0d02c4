"""Verifying a signature: candidates, what is signed, time and secrets come together here."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

from gateway.keys.wanted import Wanted
from gateway.recipes import selector, template
from gateway.recipes.candidates import ABSENT, Offer, SignatureReader, count_problem
from gateway.recipes.listed_headers import ListedHeaders
from gateway.recipes.proofs import EcdsaP256, Ed25519, Hmac, PlainHash, PublicKeyProof, Rsa
from gateway.recipes.published import KeyFinder, kid_text
from gateway.recipes.refusal import MISMATCH, refused
from gateway.recipes.schemes.digest import HashScheme, HmacScheme
from gateway.recipes.schemes.public_key import EcdsaScheme, Ed25519Scheme, PublicKeyScheme, RsaScheme
from gateway.recipes.signed import Given, SignedContent
from gateway.recipes.stamp import StampReader
from gateway.recipes.verified import Verified
from gateway.verdict import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.recipes.message import Message
    from gateway.recipes.proofs import SignedProof
    from gateway.recipes.published import KeyAccess
    from gateway.recipes.schemes.scheme import Offers, Scheme
    from tidemill.kernel.settings.secrets import Secret

_NOTHING = Given()


class SignatureVerifier:
    """One way of verifying that has a signature; the scheme says how that is computed."""

    def __init__(
        self,
        recipe: SignedProof,
        scheme: Scheme,
        tolerance: float | None,
        public_url: str | None,
        access: KeyAccess | None = None,
    ) -> None:
        self._scheme = scheme
        self._published = _published(recipe, scheme, access)
        self._readers = tuple(SignatureReader(one) for one in recipe.signature)
        self._signed = signed_content(recipe, public_url)
        self._id = selector.parse(recipe.id) if recipe.id else None
        self._stamp = StampReader(recipe.timestamp, tolerance) if recipe.timestamp else None
        self._body_hash = selector.parse(recipe.body_hash) if recipe.body_hash else None
        self._simple = not (recipe.timestamp or recipe.id or recipe.require or recipe.signed_headers)
        self._fields = _only_fields(recipe)
        self._require = [(selector.parse(at), text.encode()) for at, text in recipe.require.items()]

    def verify(self, message: Message, secrets: Sequence[Secret]) -> Verified | Refused | Wanted | None:
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
            return Verified(match) if isinstance(match, int) else match
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
    ) -> Verified | Refused | Wanted:
        if self._require and any(message.value(at) != text for at, text in self._require):
            return _OTHER_VERSION
        timestamp = self._stamp.read(message, found) if self._stamp else None
        if isinstance(timestamp, Refused):
            return timestamp
        raw_id = message.value(self._id) if self._id else None
        given = self._given(message, found, timestamp, raw_id)
        match = _PART_MISSING if given is None else self._match(message, given, found, secrets)
        if isinstance(match, Refused):
            return match
        late = self._late(timestamp, message)  # also before anything is fetched
        if late is not None:
            return late
        if isinstance(match, Wanted):
            return match
        return Verified(match, timestamp, None if raw_id is None else raw_id.decode("latin-1"))

    def _late(self, timestamp: str | None, message: Message) -> Refused | None:
        if self._stamp is None or timestamp is None:
            return None
        return self._stamp.window_problem(timestamp, message.inbound.received_at)

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
    ) -> int | Refused | Wanted:
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
        if self._published is not None:
            published = self._published.match(message, signed, offers, secrets)
            if published is not None:
                return published
        return MISMATCH if usable else _NO_SECRET


class _PublishedMatch:
    """Verifies with keys that the provider publishes."""

    def __init__(self, proof: PublicKeyProof, scheme: PublicKeyScheme[Any], finder: KeyFinder) -> None:
        self._scheme, self._finder = scheme, finder
        at = proof.keys.kid if proof.keys is not None else None
        self._kid = selector.parse(at) if at else None

    def match(
        self, message: Message, signed: bytes | None, offers: Offers, secrets: Sequence[Secret]
    ) -> int | Refused | Wanted | None:
        """Return what a published key says; None where none comes into question."""
        credentials = [(index, one) for index, one in enumerate(secrets) if self._scheme.key(one) is None]
        if self._finder.wants_credentials != bool(credentials) or (secrets and not credentials):
            return None
        kid = kid_text(message.value(self._kid)) if self._kid is not None else None
        if signed is None or (self._kid is not None and kid is None):
            return _PART_MISSING
        if not any(reader.decoded(one) for reader, offer in offers for one in offer.candidates):
            return MISMATCH
        found = self._finder.find(kid, credentials)
        if found is None or isinstance(found, Wanted):
            return found
        for index, key in found:
            fitting = self._scheme.fit(key.raw)
            if fitting is not None and self._scheme.accepts(fitting, signed, offers):
                return index
        return (self._finder.again() if kid is None else None) or MISMATCH


def _published(recipe: SignedProof, scheme: Scheme, access: KeyAccess | None) -> _PublishedMatch | None:
    if not isinstance(recipe, PublicKeyProof) or recipe.keys is None:
        return None
    if not isinstance(scheme, PublicKeyScheme):
        raise TypeError(f"{type(scheme).__name__} has no public keys")
    return _PublishedMatch(recipe, scheme, KeyFinder(recipe.keys, access))


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
