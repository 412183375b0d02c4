"""Rewrapping: everything that is encrypted on the broker is encrypted anew with the first data key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidemill.kernel.errors import PayloadError, SettingsError
from tidemill.kernel.services.tenant_record import owner_of
from tidemill.kernel.subjects import unescape

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.buckets import Bucket
    from tidemill.kernel.services.learned import LearnedSecrets
    from tidemill.kernel.services.tenants import Tenants
    from tidemill.kernel.services.vault import Vault


class Rewrapping:
    """Goes through all records."""

    def __init__(
        self, tenants: Tenants, tenants_bucket: Bucket, learned: LearnedSecrets, vault: Vault
    ) -> None:
        self._tenants = tenants
        self._bucket = tenants_bucket
        self._learned = learned
        self._vault = vault

    async def run(self) -> dict[str, Any]:
        """Encrypt anew what isn't encrypted with the first key; say what was, and what can't be read.

        Raises:
            SettingsError: there is no key to encrypt with.
            BrokerError: the broker can't be asked; beginning again is safe.
        """
        key, rewrapped, unreadable = await self._vault.current(), 0, []
        for record in await self._bucket.keys():
            source, tenant = owner_of(record)
            try:
                rewrapped += await self._tenants.rewrap(source, tenant)
            except (SettingsError, PayloadError) as error:
                unreadable.append({"record": f"{source}/{tenant}", "why": error.sentence})
        for record in await self._learned.records():
            source = unescape(record)
            try:
                rewrapped += await self._learned.rewrap(source)
            except (SettingsError, PayloadError) as error:
                unreadable.append({"record": source, "why": error.sentence})
        return {"key": key, "rewrapped": rewrapped, "unreadable": unreadable}
