"""What commands ask an installation about its secrets, whichever way they reach it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

Row = dict[str, Any]


class SecretsRemote(Protocol):
    """The part of a remote that is about secrets. Documents are the control API's.

    All raise `NotFoundError` for what doesn't exist, `ConflictError` where the state of things is against
    it, `PayloadError` for input that can't be used, and `BrokerError` or `ControlError` on the way.
    """

    async def learned_secret(self, source: str) -> Row:
        """Return the secret that a source has learned, when and from which address."""

    async def forget_secret(self, source: str) -> Row:
        """Forget it; return the source as `forgotten`."""

    async def tenants(self, source: str, *, after: str, limit: int) -> list[Row]:
        """Return the tenants of a source by name, those behind `after`."""

    async def tenant_secrets(self, source: str, tenant: str) -> list[Row]:
        """Return what is said of a tenant's secrets."""

    async def add_tenant_secret(self, source: str, tenant: str, order: Mapping[str, Any]) -> Row:
        """Give a tenant a secret."""

    async def rotate_tenant_secret(self, source: str, tenant: str, order: Mapping[str, Any]) -> Row:
        """Give a tenant a new secret, and end its others after a while."""

    async def revoke_tenant_secret(self, source: str, tenant: str, secret: str | None) -> Row:
        """Take a secret away from a tenant, or all."""

    async def rewrap(self) -> Row:
        """Encrypt all secrets on the broker anew with the first key."""
