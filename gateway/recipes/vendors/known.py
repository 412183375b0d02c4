"""Which vendors have a verifier of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.recipes.vendors.adyen import AdyenVerifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.recipes.proofs import Vendor
    from gateway.recipes.vendors.vendor import VendorVerifier

_VENDORS: Final[dict[str, Callable[[], VendorVerifier]]] = {"adyen": AdyenVerifier}


def vendor_verifier(recipe: Vendor) -> VendorVerifier:
    """Return the verifier that a recipe names."""
    return _VENDORS[recipe.name]()
