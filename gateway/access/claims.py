"""From an identity provider's claims to an identity: who somebody is there, and what they are here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.access.identity import Identity, Kind
from tidemill.kernel.errors import NotAllowedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidemill.kernel.settings.control import OidcSettings, ProxySettings

EVERYBODY: Final = "*"
_LONGEST: Final = 255
_FALSE: Final = (False, "false")


def identity_from(claims: Mapping[str, Any], settings: OidcSettings | ProxySettings, kind: Kind) -> Identity:
    """Return who the claims are about.

    Raises:
        NotAllowedError: they don't say who, or nobody gave them a role here.
    """
    name = claim(claims, settings.name_claim)
    if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST or not name.isprintable():
        raise NotAllowedError(
            f"the identity provider doesn't say who you are: there is no claim {settings.name_claim}",
            hint=f"let it send one, or let control.{kind}.name_claim name another",
        )
    if settings.name_claim == "email" and claims.get("email_verified") in _FALSE:
        raise NotAllowedError(
            f"the identity provider hasn't verified the address {name}",
            hint="verify it there first",
        )
    values = claim(claims, settings.roles_claim)
    listed = values if isinstance(values, list) else [values]
    keys = [EVERYBODY, *(value for value in listed if isinstance(value, str))]
    roles = frozenset(settings.roles[key] for key in keys if key in settings.roles)
    if not roles:
        raise NotAllowedError(
            f"{name} has no role here",
            hint=f"an administrator maps a value of {settings.roles_claim} in control.{kind}.roles",
        )
    return Identity(name, kind, roles)


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim's value, None where there is none; `a.b` is `b` inside of `a`, unless it is a name."""
    if name in claims:
        return claims[name]
    first, dot, rest = name.partition(".")
    inner = claims.get(first)
    return claim(inner, rest) if dot and isinstance(inner, dict) else None
