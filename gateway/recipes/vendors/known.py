"""Which vendors have a verifier of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.recipes.vendors.adyen import AdyenVerifier
from gateway.recipes.vendors.ebay import EbayVerifier
from gateway.recipes.vendors.exact_online import ExactOnlineVerifier
from gateway.recipes.vendors.neon import NeonVerifier
from gateway.recipes.vendors.paypal import PaypalVerifier
from gateway.recipes.vendors.sns import SnsVerifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.recipes.proofs import Vendor
    from gateway.recipes.published import KeyAccess
    from gateway.recipes.vendors.vendor import Tokens, VendorVerifier

_VENDORS: Final[dict[str, Callable[[Tokens, KeyAccess | None], VendorVerifier]]] = {
    "adyen": lambda _tokens, _access: AdyenVerifier(),
    "ebay": lambda _tokens, access: EbayVerifier(access),
    "exact-online": lambda _tokens, _access: ExactOnlineVerifier(),
    "neon": lambda _tokens, access: NeonVerifier(access),
    "paypal": PaypalVerifier,
    "sns": SnsVerifier,
}


def vendor_verifier(
    recipe: Vendor, tokens: Tokens = tuple, access: KeyAccess | None = None
) -> VendorVerifier:
    """Return the verifier that a recipe names.

    Args:
        recipe: the proof.
        tokens: returns the source's active verify tokens, for vendors whose signature doesn't say enough.
        access: how keys are got at that the vendor publishes.
    """
    return _VENDORS[recipe.name](tokens, access)
