"""Secrets of an installation, through its broker."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tidemill.cli.remote_secrets import Row, SecretsRemote
from tidemill.kernel.services.learned import LearnedSecrets
from tidemill.kernel.services.rewrap import Rewrapping
from tidemill.kernel.services.tenants import Tenants
from tidemill.kernel.services.vault import Vault

if TYPE_CHECKING:
    from gateway.tenant_secrets import TenantDesk
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.settings.model import Settings


class DirectSecrets(SecretsRemote):
    """Speaks to the broker itself, with the keys of the settings."""

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings

    @cached_property
    def _vault(self) -> Vault:
        # A broker elsewhere has its gateways elsewhere, which couldn't read what a key of here encrypts.
        return Vault.of(self._settings, self._broker.secrets, makes=self._settings.nats.embedded)

    @cached_property
    def _learned(self) -> LearnedSecrets:
        return LearnedSecrets(self._broker.secrets, self._vault)

    @cached_property
    def _tenants(self) -> Tenants:
        return Tenants(self._broker.tenants, self._vault)

    @cached_property
    def _desk(self) -> TenantDesk:
        from gateway.sources import tenant_recipes  # noqa: PLC0415 - the recipes' models delay --help
        from gateway.tenant_secrets import TenantDesk  # noqa: PLC0415 - the same

        return TenantDesk(self._tenants, tenant_recipes(self._settings), frozenset(self._settings.sources))

    async def learned_secret(self, source: str) -> Row:
        """Return the secret that a source has learned."""
        return (await self._learned.find(source)).revealed()

    async def forget_secret(self, source: str) -> Row:
        """Forget it."""
        await self._learned.forget(source)
        return {"forgotten": source}

    async def tenants(self, source: str, *, after: str, limit: int) -> list[Row]:
        """Return the tenants of a source."""
        return await self._desk.list(source, after, limit)

    async def tenant_secrets(self, source: str, tenant: str) -> list[Row]:
        """Return what is said of a tenant's secrets."""
        return await self._desk.show(source, tenant)

    async def add_tenant_secret(self, source: str, tenant: str, order: Mapping[str, Any]) -> Row:
        """Give a tenant a secret."""
        return await self._desk.add(source, tenant, order)

    async def rotate_tenant_secret(self, source: str, tenant: str, order: Mapping[str, Any]) -> Row:
        """Give a tenant a new secret."""
        return await self._desk.rotate(source, tenant, order)

    async def revoke_tenant_secret(self, source: str, tenant: str, secret: str | None) -> Row:
        """Take a secret away."""
        return await self._desk.revoke(source, tenant, secret)

    async def rewrap(self) -> Row:
        """Encrypt all secrets anew."""
        return await Rewrapping(self._tenants, self._broker.tenants, self._learned, self._vault).run()
