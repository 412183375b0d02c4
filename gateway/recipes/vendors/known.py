"""Which vendors have a verifier of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.recipes.vendors.adyen import AdyenVerifier
from gateway.recipes.vendors.sns import SnsVerifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.recipes.proofs import Vendor
    from gateway.recipes.vendors.vendor import Tokens, VendorVerifier

_VENDORS: Final[dict[str, Callable[[Tokens], VendorVerifier]]] = {
    "adyen": lambda _: AdyenVerifier(),
    "sns": SnsVerifier,
}


def vendor_verifier(recipe: Vendor, tokens: Tokens = tuple) -> VendorVerifier:
    """Return the verifier that a recipe names.

    Args:
        recipe: the proof.
        tokens: returns the source's active verify tokens, for vendors whose signature doesn't say enough.
    """
    return _VENDORS[recipe.name](tokens)
