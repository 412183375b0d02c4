"""Identities that a reverse proxy vouches for: it signs a JSON Web Token into each request.

A bare header (`X-Forwarded-User`) is never believed: whoever gets past the proxy can write it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from joserfc.jwk import OctKey

from gateway.access.claims import identity_from
from gateway.access.keysets import KeySource, check_claims, read_token
from gateway.keys.store import KeyStore
from tidemill.kernel.errors import ProviderError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.access.identity import Identity
    from tidemill.kernel.settings.control import ProxySettings
    from tidemill.kernel.settings.secrets import Secret

SHARED: Final = ("HS256", "HS384", "HS512")
_LEAST_BYTES: Final = 32
_BEARER: Final = "bearer "


class Proxy:
    """Reads the tokens of one proxy.

    Args:
        settings: which header, whose tokens, and what its claims mean here.
        secret: of tokens that are signed with HMAC; None where keys are fetched.
        now: the time of day.
        store: where fetched keys are kept; by default a store of its own.

    Raises:
        SettingsError: the secret is too short to protect anything.
    """

    def __init__(
        self,
        settings: ProxySettings,
        secret: Secret | None = None,
        now: Callable[[], float] = time.time,
        store: KeyStore | None = None,
    ) -> None:
        self._settings = settings
        self._header = settings.header.lower().encode()
        self._now = now
        self._shared = _key_of(secret) if secret is not None else None
        self._keys = (
            KeySource(settings.jwks_url, store or KeyStore()) if settings.jwks_url is not None else None
        )

    async def identify(self, headers: Sequence[tuple[bytes, bytes]]) -> Identity | None:
        """Return who makes a request, None where it carries no token.

        Raises:
            ProviderError: the token isn't the proxy's, or not for here, or has ended.
            NotAllowedError: who it names has no role here.
        """
        found = [value for name, value in headers if name == self._header]
        if not found:
            return None
        if len(found) > 1:
            raise ProviderError(f"{self._settings.header} stands in the request twice")
        text = found[0].decode("latin-1")
        token = text[len(_BEARER) :].strip() if text.lower().startswith(_BEARER) else text.strip()
        if self._keys is not None:
            claims = await self._keys.claims(token)
        else:
            claims = read_token(token, self._shared, SHARED)
        settings = self._settings
        check_claims(claims, issuer=settings.issuer, audience=settings.audience, now=self._now())
        return identity_from(claims, settings, "proxy")


def _key_of(secret: Secret) -> OctKey:
    text = secret.reveal()
    if len(text.encode()) < _LEAST_BYTES:
        raise SettingsError(
            f"control.proxy.secret is shorter than {_LEAST_BYTES} bytes",
            hint="`openssl rand -hex 32` makes one; the proxy signs with the same",
        )
    return OctKey.import_key(text)
