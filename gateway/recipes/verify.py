"""Verification: is a request from who it says, by the recipe, over the raw bytes, before anything is parsed.

Total over its input: whatever the bytes, the outcome is a value. Signatures are compared as text in
constant time, so that of several spellings of one signature only the recipe's own passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.recipes import selector
from gateway.recipes.message import Message
from gateway.recipes.proofs import Jwt, SharedSecret, Vendor
from gateway.recipes.refusal import UNAUTHORIZED, refused
from gateway.recipes.schemes.shared_secret import SharedSecretVerifier
from gateway.recipes.signature_verifier import SignatureVerifier, scheme_of
from gateway.recipes.tokens import TokenVerifier
from gateway.recipes.vendors.known import vendor_verifier
from gateway.recipes.verified import Verified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.inbound import Inbound
    from gateway.keys.wanted import Wanted
    from gateway.recipes.proofs import Proof
    from gateway.recipes.published import KeyAccess
    from gateway.recipes.recipe import Recipe
    from gateway.recipes.vendors.vendor import Tokens, VendorVerifier
    from gateway.verdict import Refused
    from tidemill.kernel.settings.secrets import Secret

__all__ = ["UNAUTHORIZED", "Verification", "Verified", "refused", "secret_headers"]


class Verification:
    """All the ways in which a recipe verifies; the first whose signature the request carries decides."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        tolerance: float | None = None,
        public_url: str | None = None,
        tokens: Tokens = tuple,
        access: KeyAccess | None = None,
    ) -> None:
        """Compile a recipe.

        Args:
            recipe: the provider's.
            tolerance: seconds that a signed timestamp may be off, both ways, instead of the recipe's.
            public_url: under which the sender knows the gateway, for recipes that sign `{url}`.
            tokens: returns the source's active verify tokens, where a signature alone doesn't say enough.
            access: how keys are got at that the provider publishes.

        Raises:
            SettingsError: a hash that the recipe needs can't be computed on this system.
        """
        data = [selector.parse(text) for text in recipe.event.data]
        self._fields = tuple(one.key for one in data if one.kind == "form:")
        means = _Means(tolerance, public_url, tokens, access)
        self._ways = tuple(_verifier(one, means) for one in recipe.verify)

    def verify(self, inbound: Inbound, secrets: Sequence[Secret]) -> Verified | Refused | Wanted | None:
        """Verify a request; None where it carries no signature that the recipe knows.

        `Wanted` says which published keys have to be fetched before anybody can tell.
        """
        message = Message(inbound, self._fields)
        for way in self._ways:
            outcome = way.verify(message, secrets)
            if outcome is not None:
                return outcome
        return None


class _Means(NamedTuple):
    """What a source has beside its recipe and its secrets."""

    tolerance: float | None
    public_url: str | None
    tokens: Tokens
    access: KeyAccess | None


def _verifier(
    recipe: Proof, means: _Means
) -> SignatureVerifier | SharedSecretVerifier | TokenVerifier | VendorVerifier:
    if isinstance(recipe, SharedSecret):
        return SharedSecretVerifier(recipe)
    if isinstance(recipe, Jwt):
        return TokenVerifier(recipe, means.public_url, means.tokens, means.access)
    if isinstance(recipe, Vendor):
        return vendor_verifier(recipe, means.tokens, means.access)
    return SignatureVerifier(recipe, scheme_of(recipe), means.tolerance, means.public_url, means.access)


def secret_headers(recipe: Recipe) -> frozenset[bytes]:
    """Return the headers, in lower case, in which a request carries a secret or a token itself."""
    shown = [one.at for one in recipe.verify if isinstance(one, SharedSecret | Jwt)]
    learned = [handshake.learn for handshake in recipe.handshake if handshake.learn]
    found = (selector.parse(at) for at in (*shown, *learned))
    return frozenset(one.key for one in found if one.place == "header")
