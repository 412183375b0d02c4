"""The refusal of a request that isn't proven to be genuine."""

from __future__ import annotations

from typing import Final

from gateway.verdict import Refused

UNAUTHORIZED: Final = 401


def refused(check: str, detail: str) -> Refused:
    """Return the refusal of a request that isn't proven to be genuine."""
    return Refused(UNAUTHORIZED, check, detail)


NO_SECRET: Final = "secret_missing"
MISMATCH: Final = refused("signature_mismatch", "No signature matches the body with an active secret.")
