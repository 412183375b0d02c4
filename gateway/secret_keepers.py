"""All that a gateway has to do with secrets on the broker: the vault, learned secrets, tenants'."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.api.secrets import SecretsApi
from gateway.api.tenants import TenantsApi
from gateway.introductions import Introductions, Visitor
from gateway.keys.https import HttpsFetch
from gateway.sources import tenant_recipes
from gateway.tenant_secrets import TenantDesk
from gateway.tenants import TenantRings
from tidemill.kernel.services.learned import LearnedSecrets
from tidemill.kernel.services.rewrap import Rewrapping
from tidemill.kernel.services.tenants import Tenants
from tidemill.kernel.services.vault import Vault

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from starlette.routing import Route

    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.settings.live import LiveSettings
    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.settings.secrets import Secret


class SecretKeepers:
    """Keeps secrets that aren't in the settings.

    Raises:
        SettingsError: a data key can't be resolved, or is none.
    """

    def __init__(self, settings: Settings, broker: Broker) -> None:
        self._broker = broker
        self._settings = settings
        self._vault = Vault.of(settings, broker.secrets)
        self._tenants = Tenants(broker.tenants, self._vault)
        self.learned = LearnedSecrets(broker.secrets, self._vault)
        self.introductions = Introductions(self.learned, Visitor(HttpsFetch(egress=settings.way_out())))
        self.rings = TenantRings(self._tenants, self._vault)

    def secrets_of(self, live: LiveSettings) -> Callable[[str], Sequence[Secret]]:
        """Return what finds a source's secrets that count now: the settings', then what it has learned."""
        return lambda source: (*live.secrets(source), *self.learned.secrets(source))

    def routes(self) -> list[Route]:
        """Return the routes of the control API.

        Raises:
            SettingsError: a preset or recipe is wrong.
        """
        desk = TenantDesk(self._tenants, tenant_recipes(self._settings), frozenset(self._settings.sources))
        rewrapping = Rewrapping(self._tenants, self._broker.tenants, self.learned, self._vault)
        return [*SecretsApi(self.learned).routes(), *TenantsApi(desk, rewrapping).routes()]

    def follow(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Start to listen for changes."""
        following = self.rings.follow(self._broker.tenants, self._broker.bus)
        return [
            group.create_task(self.learned.follow(), name="learned-secrets"),
            group.create_task(following, name="tenants-secrets"),
        ]
