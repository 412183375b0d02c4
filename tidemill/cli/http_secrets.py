"""Secrets of an installation, over its control API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from tidemill.cli.remote_secrets import Row, SecretsRemote
from tidemill.http_transport import HttpTransport
from tidemill.kernel.errors import ControlError


class HttpSecrets(HttpTransport, SecretsRemote):
    """Speaks to a control listener."""

    async def learned_secret(self, source: str) -> Row:
        """Return the secret that a source has learned."""
        return await self._request("POST", _path(source, "secret", "reveal"))

    async def forget_secret(self, source: str) -> Row:
        """Forget it."""
        return await self._request("DELETE", _path(source, "secret"))

    async def tenants(self, source: str, *, after: str, limit: int) -> list[Row]:
        """Return the tenants of a source."""
        query = urlencode({"after": after, "limit": limit})
        return await self._rows(f"{_path(source, 'tenants')}?{query}", "tenants")

    async def tenant_secrets(self, source: str, tenant: str) -> list[Row]:
        """Return what is said of a tenant's secrets."""
        return await self._rows(_path(source, "tenants", tenant, "secrets"), "secrets")

    async def add_tenant_secret(self, source: str, tenant: str, order: Mapping[str, Any]) -> Row:
        """Give a tenant a secret."""
        return await self._request("POST", _path(source, "tenants", tenant, "secrets"), orjson.dumps(order))

    async def rotate_tenant_secret(self, source: str, tenant: str, order: Mapping[str, Any]) -> Row:
        """Give a tenant a new secret."""
        path = _path(source, "tenants", tenant, "secrets", "rotate")
        return await self._request("POST", path, orjson.dumps(order))

    async def revoke_tenant_secret(self, source: str, tenant: str, secret: str | None) -> Row:
        """Take a secret away."""
        names = ("tenants", tenant, *(("secrets", secret) if secret is not None else ()))
        return await self._request("DELETE", _path(source, *names))

    async def rewrap(self) -> Row:
        """Encrypt all secrets anew."""
        return await self._request("POST", "secrets/rewrap")

    async def _rows(self, path: str, member: str) -> list[Row]:
        rows = self._member(await self._request("GET", path), member)
        if not isinstance(rows, list):
            raise ControlError(f"the answer of {self.url} has no list of {member}")
        return rows


def _path(*names: str) -> str:
    return "/".join(quote(name, safe="") for name in ("sources", *names))
