"""The record of one tenant: its secrets as they stand on the broker, encrypted one by one.

What is said of a secret (when it was made, until when it counts) isn't encrypted, so that one whose key is
lost can be listed and revoked.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel.clock import now, rfc3339
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.subjects import escape, unescape

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME: Final = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,64}")
"""What a tenant's name looks like."""
_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class TenantSecret:
    """One secret of a tenant; `box` holds it encrypted."""

    id: str
    created: str
    until: datetime | None
    box: dict[str, Any]

    def active(self, moment: datetime) -> bool:
        """Say whether it counts at an instant."""
        return self.until is None or moment < self.until

    def shown(self) -> dict[str, Any]:
        """Return what is said of it; never what it is."""
        return {
            "id": self.id,
            "created": self.created,
            "until": rfc3339(self.until) if self.until else None,
            "state": "active" if self.active(now()) else "expired",
            "key": str(self.box.get("key", "")),
        }


Entries = tuple[TenantSecret, ...]


def new_id() -> str:
    """Return the id of a new secret."""
    return f"sec_{secrets.token_hex(_ID_BYTES)}"


def record_key(source: str, tenant: str) -> str:
    """Return where a tenant's record stands in the bucket."""
    return f"{escape(source)}.{escape(tenant)}"


def owner_of(key: str) -> tuple[str, str]:
    """Return the source and the tenant whose record stands there."""
    source, _, tenant = key.partition(".")
    return unescape(source), unescape(tenant)


def box_name(source: str, tenant: str, secret_id: str) -> str:
    """Return the name that an encrypted secret is bound to."""
    return f"tenants/{record_key(source, tenant)}/{secret_id}"


def encode(entries: Sequence[TenantSecret]) -> bytes:
    """Return a record as it is kept."""
    rows = [
        {"id": one.id, "created": one.created, "until": one.until and rfc3339(one.until), "box": one.box}
        for one in entries
    ]
    return orjson.dumps({"v": 1, "secrets": rows})


def decode(key: str, stored: bytes) -> Entries:
    """Read what `encode` wrote.

    Raises:
        PayloadError: it isn't that.
    """
    try:
        return tuple(_entry(row) for row in orjson.loads(stored)["secrets"])
    except (ValueError, KeyError, TypeError) as error:
        source, tenant = owner_of(key)
        raise PayloadError(
            f"the record of the tenant {source}/{tenant} can't be read: {error}",
            hint=f"`tidemill tenants revoke {source} {tenant} --all`, and give it a secret again",
        ) from error


def _entry(row: dict[str, Any]) -> TenantSecret:
    until = datetime.fromisoformat(row["until"]) if row["until"] else None
    if not isinstance(row["id"], str) or not isinstance(row["box"], dict):
        raise TypeError("a secret lacks its id or its box")
    return TenantSecret(row["id"], str(row["created"]), until, row["box"])
