"""Logins of browsers: a signed cookie that says who, and until when.

The gateway keeps nothing of it, so that any of several gateways serves it. It ends by itself, by a logout,
and with the API key that it was opened with: what a key may do is looked up with every request.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from starlette.requests import cookie_parser

from gateway.access.identity import Identity, identity_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from starlette.responses import Response

    from gateway.access.revocations import Revocations
    from gateway.access.seal import Seal
    from tidemill.kernel.settings.control import ApiKey, ControlSettings

_PURPOSE: Final = "session"
_COOKIE: Final = "tidemill-session"


class Session(NamedTuple):
    """A login that counts: whose it is, its id, and when it ends.

    Without an id the request itself proves whose it is: by an API key, a proxy's token, or by coming from
    this machine.
    """

    identity: Identity
    id: str = ""
    until: float = inf

    @property
    def by_key(self) -> bool:
        """Whether an API key came with the request, which no browser sends by itself."""
        return self.identity.kind == "key" and not self.id


@dataclass(frozen=True, slots=True)
class Sessions:
    """Opens, recognises and ends logins.

    Attributes:
        seal: signs the cookies.
        control: the settings of the listener.
        keys: the present API keys.
        revoked: the logins that ended early.
        now: the time, in seconds since the epoch.
    """

    seal: Seal
    control: ControlSettings
    keys: Callable[[], Sequence[ApiKey]]
    revoked: Revocations
    now: Callable[[], float] = time.time

    @property
    def https(self) -> bool:
        """Whether browsers reach the listener with TLS."""
        return (self.control.public_url or "").startswith("https:")

    def cookie(self, name: str = _COOKIE) -> str:
        """Return a cookie's name; with the prefix browsers take it from this host and over TLS alone."""
        return f"__Host-{name}" if self.https else name

    def open(self, response: Response, identity: Identity, key: ApiKey | None = None) -> None:
        """Log somebody in with an answer; `key` is the API key that they showed."""
        document = {
            "id": secrets.token_hex(16),
            "kind": identity.kind,
            "name": identity.name,
            "roles": sorted(identity.roles),
            "key": key.hash if key is not None else "",
            "issuer": self._issuer if key is None else "",
            "from": self.now(),
            "until": self.now() + self.control.session,
        }
        self.keep(response, _COOKIE, self.seal.sign(_PURPOSE, document), self.control.session)

    def keep(self, response: Response, name: str, value: str, seconds: float) -> None:
        """Set a cookie that no script can read and no other site's request carries along."""
        response.set_cookie(
            self.cookie(name), value, max_age=int(seconds), httponly=True, samesite="lax", secure=self.https
        )

    def drop(self, response: Response, name: str = _COOKIE) -> None:
        """Take a cookie back."""
        response.delete_cookie(self.cookie(name), httponly=True, samesite="lax", secure=self.https)

    def read(self, headers: Iterable[tuple[bytes, bytes]]) -> Session | None:
        """Return the login that a request's cookie proves, None where there is none or it has ended."""
        found = self.seal.read(_PURPOSE, self.value(headers))
        if found is None or found["until"] <= self.now():
            return None
        identity = self._identity(found)
        if identity is None or self.revoked.has_ended(found["id"], identity.name, found["from"]):
            return None
        return Session(identity, found["id"], found["until"])

    def value(self, headers: Iterable[tuple[bytes, bytes]], name: str = _COOKIE) -> str:
        """Return a cookie's value, empty where the request brings none."""
        wanted = self.cookie(name)
        for key, value in headers:
            if key == b"cookie" and (found := cookie_parser(value.decode("latin-1")).get(wanted)):
                return found
        return ""

    @property
    def _issuer(self) -> str:
        return self.control.oidc.issuer if self.control.oidc is not None else ""

    def _identity(self, document: dict[str, str]) -> Identity | None:
        if document["kind"] == "key":
            key = next((one for one in self.keys() if one.hash == document["key"]), None)
            return identity_of(key) if key is not None else None
        if not self._issuer or document["issuer"] != self._issuer:
            return None
        return Identity(document["name"], "oidc", frozenset(document["roles"]))  # type: ignore[arg-type] # signed here
