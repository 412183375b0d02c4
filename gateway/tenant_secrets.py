"""What an operator asks for about the secrets of tenants, as the control API and the command line take it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from gateway.recipes.new_secret import new_secret
from tidemill.kernel.clock import now, seconds
from tidemill.kernel.errors import ConflictError, NotFoundError, PayloadError, SettingsError
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.recipes.recipe import Recipe
    from tidemill.kernel.services.tenants import Tenants

Document = dict[str, Any]
Documents = list[Document]
OVERLAP: Final = "24h"
"""For how long the secrets before a rotation count on, by default."""
_PEM: Final = "-----BEGIN"


class TenantDesk:
    """Takes orders about tenants' secrets.

    Args:
        tenants: where they are kept.
        recipes: of the sources whose tenants have secrets of their own.
        sources: all configured sources.
    """

    def __init__(self, tenants: Tenants, recipes: Mapping[str, Recipe], sources: frozenset[str]) -> None:
        self._tenants = tenants
        self._recipes = recipes
        self._sources = sources

    async def list(self, source: str, after: str, limit: int) -> Documents:
        """Return the tenants of a source by name.

        Raises:
            NotFoundError: there is no such source.
            ConflictError: its tenants have no secrets of their own.
            BrokerError: the broker can't be asked.
        """
        self._recipe(source)
        return await self._tenants.list(source, after=after, limit=limit)

    async def show(self, source: str, tenant: str) -> Documents:
        """Return what is said of a tenant's secrets.

        Raises:
            NotFoundError: there is no such source or tenant.
            ConflictError: as for `list`; BrokerError too.
        """
        self._recipe(source)
        return await self._tenants.show(source, tenant)

    async def add(self, source: str, tenant: str, order: Mapping[str, Any]) -> Document:
        """Give a tenant a secret: the one of the order, or a fresh one, which is in the answer.

        Raises:
            PayloadError: the order can't be used.
            NotFoundError: there is no such source.
            ConflictError: its tenants have no secrets of their own, or the tenant has too many.
            SettingsError: there is no key to encrypt with.
            BrokerError: it wasn't kept, or nobody knows.
        """
        secret, shown = self._secret(source, order)
        until = _moment(order.get("until"))
        return {"tenant": tenant, **await self._tenants.add(source, tenant, secret, until), **shown}

    async def rotate(self, source: str, tenant: str, order: Mapping[str, Any]) -> Document:
        """Give a tenant a new secret, and end those that it has after `overlap`, or at `until`.

        Raises:
            PayloadError: as for `add`; NotFoundError, ConflictError, SettingsError and BrokerError too.
        """
        secret, shown = self._secret(source, order)
        until = _moment(order.get("until")) or _after(order.get("overlap", OVERLAP))
        made = await self._tenants.rotate(source, tenant, secret, until)
        return {"tenant": tenant, **made, **shown}

    async def revoke(self, source: str, tenant: str, secret_id: str | None) -> Document:
        """Take one secret away from a tenant, or all.

        Raises:
            NotFoundError: there is no such source, tenant or secret.
            ConflictError: as for `list`; BrokerError too.
        """
        self._recipe(source)
        left = await self._tenants.revoke(source, tenant, secret_id)
        return {"tenant": tenant, "revoked": secret_id or "all", "left": left}

    def _recipe(self, source: str) -> Recipe:
        if source not in self._sources:
            raise NotFoundError(
                f"there is no source {source!r}", hint=f"add [sources.{source}] to the settings"
            )
        if source not in self._recipes:
            raise ConflictError(
                f"tenants of {source} have no secrets of their own",
                hint=f"set tenants = true in [sources.{source}] and restart the gateways",
            )
        return self._recipes[source]

    def _secret(self, source: str, order: Mapping[str, Any]) -> tuple[Secret, Document]:
        """Return the secret of an order, and what its answer says of it: a fresh one is shown, once."""
        recipe, given = self._recipe(source), order.get("secret")
        if given is not None:
            if not isinstance(given, str):
                raise PayloadError("secret: not a text")
            return Secret(given), {}
        fresh = new_secret(recipe.verify[0])
        if fresh.reveal().startswith(_PEM):
            raise PayloadError(
                f"{source} verifies with the provider's public key", hint="give that key as the secret"
            )
        return fresh, {"secret": fresh.reveal()}


def _moment(text: object) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise PayloadError(f"until: {text!r} is no instant", hint="write it like 2026-12-01T00:00:00Z")
    if moment <= now():
        raise PayloadError(f"until: {text} has passed", hint="revoke a secret to end it at once")
    return moment


def _after(overlap: object) -> datetime:
    if isinstance(overlap, bool) or not isinstance(overlap, str | int | float):
        raise PayloadError(f"overlap: {overlap!r} is no duration", hint="write seconds, or text like '24h'")
    try:
        return now() + timedelta(seconds=seconds(overlap))
    except (SettingsError, OverflowError) as error:
        raise PayloadError(f"overlap: {overlap!r} is no duration", hint="write text like '24h'") from error
