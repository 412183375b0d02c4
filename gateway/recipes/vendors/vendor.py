"""What every vendor's verifier does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from gateway.keys.wanted import Wanted
    from gateway.recipes.draft import Draft
    from gateway.recipes.message import Message
    from gateway.recipes.verified import Verified
    from gateway.verdict import Refused

Tokens = Callable[[], Sequence[Secret]]


class VendorVerifier(Protocol):
    """Verifies and signs as one vendor does."""

    def verify(self, message: Message, secrets: Sequence[Secret]) -> Verified | Refused | Wanted | None:
        """Verify a request; None where it carries no signature of this kind. Never raises."""

    def sign(self, draft: Draft, secret: Secret) -> None:
        """Write what proves a request into it.

        Raises:
            SettingsError: the secret isn't of its form, or the body isn't such a body.
        """
