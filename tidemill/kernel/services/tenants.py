"""Tenants: secrets of their own for each tenant of a source, changed while gateways run.

A tenant is one record of the bucket `TENANTS`, found by its name. A tenant without secrets doesn't exist.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from tidemill.kernel.clock import now, rfc3339
from tidemill.kernel.errors import ConflictError, NotFoundError, PayloadError, WrongSequenceError
from tidemill.kernel.services.tenant_record import (
    NAME,
    Entries,
    TenantSecret,
    box_name,
    decode,
    encode,
    new_id,
    owner_of,
    record_key,
)
from tidemill.kernel.subjects import escape

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.buckets import Bucket
    from tidemill.kernel.services.vault import Vault
    from tidemill.kernel.settings.secrets import Secret

MOST: Final = 8
"""Secrets that one tenant may have at the same time: each may cost a verification."""
MAX_SECRET: Final = 16 * 1024
_ATTEMPTS: Final = 10
_MARKER_SECONDS: Final = 3600.0
Facts = dict[str, Any]
_Rows = list[Facts]


class Tenants:
    """The tenants of all sources."""

    def __init__(self, bucket: Bucket, vault: Vault) -> None:
        self._bucket = bucket
        self._vault = vault

    async def find(self, source: str, tenant: str, *, timeout: float = 5.0) -> Entries:
        """Return a tenant's secrets, none where there is no such tenant.

        Raises:
            PayloadError: what is kept can't be read.
            BrokerError: the broker can't be asked.
        """
        key = record_key(source, tenant)
        stored = await self._bucket.get(key, timeout=timeout)
        return decode(key, stored.value) if stored is not None else ()

    def reveal(self, source: str, tenant: str, entry: TenantSecret) -> Secret:
        """Decrypt a secret.

        Raises:
            SettingsError: its key isn't at hand.
            PayloadError: it is damaged.
        """
        return self._vault.open(box_name(source, tenant, entry.id), entry.box)

    async def show(self, source: str, tenant: str) -> _Rows:
        """Return what is said of a tenant's secrets, the newest first.

        Raises:
            NotFoundError: there is no such tenant.
            PayloadError: what is kept can't be read.
            BrokerError: the broker can't be asked.
        """
        found = await self.find(source, tenant)
        if not found:
            raise _unknown(source, tenant)
        return [entry.shown() for entry in reversed(found)]

    async def list(self, source: str, *, after: str = "", limit: int = 50) -> _Rows:
        """Return the tenants of a source by name, those behind `after`.

        Raises:
            BrokerError: the broker can't be asked.
        """
        stored = await self._bucket.values(escape(source))
        names = sorted((owner_of(key)[1], key) for key in stored)
        behind = [(name, key) for name, key in names if name > after]
        return [_row(name, key, stored[key].value) for name, key in behind[:limit]]

    async def add(self, source: str, tenant: str, secret: Secret, until: datetime | None = None) -> Facts:
        """Give a tenant one more secret, which makes a tenant that there wasn't; return what is said of it.

        Raises:
            PayloadError: tenant or secret can't be used.
            ConflictError: the tenant has as many secrets as it may have, or others write all the time.
            SettingsError: there is no key to encrypt with.
            BrokerError: it wasn't kept, or nobody knows.
        """
        new = await self._sealed(source, tenant, secret, until)

        def added(entries: Entries) -> Entries:
            return (*_with_room(entries, source, tenant), new)

        await self._change(source, tenant, added)
        return new.shown()

    async def rotate(self, source: str, tenant: str, secret: Secret, until: datetime) -> Facts:
        """Give a tenant a new secret, and let those that it has count until an instant at most.

        Raises:
            NotFoundError: there is no such tenant.
            PayloadError: as for `add`; ConflictError, SettingsError and BrokerError too.
        """
        new = await self._sealed(source, tenant, secret, None)

        def rotated(entries: Entries) -> Entries:
            if not entries:
                raise _unknown(source, tenant)
            ending = tuple(replace(one, until=until) if one.active(until) else one for one in entries)
            return (*_with_room(ending, source, tenant), new)

        await self._change(source, tenant, rotated)
        return new.shown()

    async def revoke(self, source: str, tenant: str, secret_id: str | None = None) -> int:
        """Take a secret away from a tenant, or all of them; return how many are left.

        Raises:
            NotFoundError: there is no such tenant or secret.
            BrokerError: it is still there, or nobody knows.
        """
        key = record_key(source, tenant)
        if secret_id is None:
            if await self._bucket.get(key) is None:
                raise _unknown(source, tenant)
            await self._bucket.delete(key, keep=_MARKER_SECONDS)
            return 0

        def without(entries: Entries) -> Entries:
            kept = tuple(one for one in entries if one.id != secret_id)
            if len(kept) == len(entries):
                raise NotFoundError(f"{source}/{tenant} has no secret {secret_id}", hint="list its secrets")
            return kept

        return len(await self._change(source, tenant, without))

    async def rewrap(self, source: str, tenant: str) -> bool:
        """Encrypt a tenant's secrets with the first key; say whether that was needed.

        Raises:
            SettingsError: a key isn't at hand.
            PayloadError: a secret is damaged.
            BrokerError: it isn't done, or nobody knows.
        """
        current = await self._vault.current()
        stale = [one for one in await self.find(source, tenant) if one.box.get("key") != current]
        boxes = {
            one.id: await self._vault.seal(box_name(source, tenant, one.id), self.reveal(source, tenant, one))
            for one in stale
        }
        if stale:
            await self._change(source, tenant, lambda entries: _reboxed(entries, boxes))
        return bool(stale)

    async def _sealed(self, source: str, tenant: str, secret: Secret, until: datetime | None) -> TenantSecret:
        if not NAME.fullmatch(tenant):
            raise PayloadError(f"{tenant!r} can't be a tenant", hint=NAME_HINT)
        if not 0 < len(secret.reveal()) <= MAX_SECRET:
            raise PayloadError("the secret is empty or too long", hint=f"at most {MAX_SECRET} characters")
        if until is not None and until <= now():
            raise PayloadError("the secret would count until a moment that has passed")
        identity = new_id()
        box = await self._vault.seal(box_name(source, tenant, identity), secret)
        return TenantSecret(identity, rfc3339(now()), until, box)

    async def _change(self, source: str, tenant: str, change: Callable[[Entries], Entries]) -> Entries:
        """Read, change and write a record, again where somebody else wrote in between."""
        key = record_key(source, tenant)
        for _ in range(_ATTEMPTS):
            stored = await self._bucket.get(key)
            changed = change(decode(key, stored.value) if stored else ())
            try:
                await self._bucket.put(key, encode(changed), revision=stored.revision if stored else 0)
            except WrongSequenceError:
                continue
            return changed
        raise ConflictError(f"others write the tenant {source}/{tenant} all the time", hint="try again")


NAME_HINT: Final = "1 to 64 letters, digits, dots, hyphens and underscores, and neither '.' nor '..'"


def _with_room(entries: Entries, source: str, tenant: str) -> Entries:
    """Return the secrets that still count.

    Raises:
        ConflictError: there is no room for one more.
    """
    active = tuple(one for one in entries if one.active(now()))
    if len(active) >= MOST:
        raise ConflictError(
            f"{source}/{tenant} has {MOST} secrets already", hint="revoke one that isn't used"
        )
    return active


def _reboxed(entries: Entries, boxes: dict[str, dict[str, Any]]) -> Entries:
    return tuple(replace(one, box=boxes.get(one.id, one.box)) for one in entries)


def _row(name: str, key: str, stored: bytes) -> Facts:
    try:
        entries = decode(key, stored)
    except PayloadError as error:
        return {"tenant": name, "active": 0, "until": None, "problem": error.sentence}
    active = [one for one in entries if one.active(now())]
    ends = [one.until for one in active if one.until is not None]
    last = max(ends) if ends and len(ends) == len(active) else None
    return {"tenant": name, "active": len(active), "until": last and rfc3339(last), "problem": None}


def _unknown(source: str, tenant: str) -> NotFoundError:
    return NotFoundError(
        f"{source} has no tenant {tenant!r}",
        hint=f"`tidemill tenants list {source}` shows those that there are",
    )
