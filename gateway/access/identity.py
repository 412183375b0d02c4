"""Who makes a request, and what that lets them do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from starlette.requests import HTTPConnection

    from tidemill.kernel.settings.control import AccessRole, ApiKey

Kind = Literal["local", "key", "oidc", "proxy"]
_VISIT: Final = "tidemill.visit"


class Right(StrEnum):
    """What somebody may do; `OPEN` takes no login at all."""

    OPEN = "open"
    READ = "read"
    OPERATE = "operate"
    APPROVE = "approve"
    ADMINISTER = "administer"


RIGHTS: Final[Mapping[AccessRole, frozenset[Right]]] = {
    "viewer": frozenset({Right.OPEN, Right.READ}),
    "operator": frozenset({Right.OPEN, Right.READ, Right.OPERATE}),
    "approver": frozenset({Right.OPEN, Right.READ, Right.APPROVE}),
    "admin": frozenset(Right),
}
"""The rights of each role: to approve and to operate are apart, so that nobody decides on their own runs."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody whose name is known, and not because they said so.

    Attributes:
        name: who it is: an API key's name, a claim of the identity provider, or `local`.
        kind: how they came in.
        roles: what they are here.
        on_behalf: whether they may act in other people's names.
    """

    name: str
    kind: Kind
    roles: frozenset[AccessRole]
    on_behalf: bool = False

    def may(self, right: Right) -> bool:
        """Say whether one of the roles has a right."""
        return right is Right.OPEN or any(right in RIGHTS[role] for role in self.roles)


LOCAL: Final = Identity("local", "local", frozenset({"admin"}), on_behalf=True)
"""Whoever is on this machine, where no login is set up."""


def identity_of(key: ApiKey) -> Identity:
    """Return who an API key's user is."""
    return Identity(key.name, "key", frozenset({key.role}), on_behalf=key.on_behalf)


@dataclass(frozen=True, slots=True)
class Visit:
    """One request's identity, with what a browser has to prove.

    Attributes:
        identity: who it is.
        client: the address that the request came from.
        csrf: the token that forms carry, so that no other site's page can send them.
        session: the login's id; empty where every request brings its own proof.
    """

    identity: Identity
    client: str
    csrf: str
    session: str = ""


def welcome(scope: MutableMapping[str, Any], visit: Visit) -> None:
    """Note on a request who makes it."""
    scope[_VISIT] = visit


def visit_of(request: HTTPConnection) -> Visit | None:
    """Return who makes a request, None for a stranger, who sees open routes only."""
    visit: Visit | None = request.scope.get(_VISIT)
    return visit


def name_of(request: HTTPConnection) -> str:
    """Return the name of who makes a request, empty for a stranger."""
    visit = visit_of(request)
    return visit.identity.name if visit is not None else ""
