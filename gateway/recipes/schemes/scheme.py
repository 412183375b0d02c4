"""What every scheme does: it makes a key of a secret, checks candidates with it, and signs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from gateway.recipes.candidates import Offer, SignatureReader

if TYPE_CHECKING:
    from tidemill.kernel.settings.secrets import Secret

Offers = Sequence[tuple[SignatureReader, Offer]]


class Scheme(Protocol):
    """One way of computing signatures."""

    def key(self, secret: Secret) -> Any:
        """Return the key that a secret's text is; None where it isn't of the recipe's form."""

    def shown(self, key: Any) -> bytes:
        """Return what stands for {secret} in the template; empty where a scheme has no such thing."""

    def accepts(self, key: Any, signed: bytes, offers: Offers) -> bool:
        """Say whether a candidate is the signature of the signed bytes by a key; never raises."""

    def signature(self, secret: Secret, signed: bytes) -> bytes:
        """Sign.

        Raises:
            SettingsError: nobody can sign with that secret.
        """
