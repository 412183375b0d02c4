"""Public keys of an identity provider (RFC 7517), fetched, kept, and fetched anew when others sign."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway.access.fetch import fetch_json
from tidemill.kernel.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a private key; a secret's (HS) or none would let others sign."""
SKEW: Final = 60
"""Seconds by which two machines' clocks may differ."""
_FRESH: Final = 3600.0
_PAUSE: Final = 10.0
_LONGEST: Final = 16 * 1024
_PROBLEMS: Final = (JoseError, ValueError, TypeError, KeyError, AttributeError)


class KeySource:
    """The keys under an address; asks for them at most once in ten seconds."""

    def __init__(self, url: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._monotonic = monotonic
        self._keys: KeySet | None = None
        self._at = self._tried = float("-inf")
        self._failure: ProviderError | None = None
        self._fetching = asyncio.Lock()

    async def claims(self, token: str) -> dict[str, Any]:
        """Return what a token says that one of the keys has signed; times and names aren't checked yet.

        Raises:
            ProviderError: it isn't, or the keys can't be fetched.
        """
        keys = await self._fresh(_FRESH)
        try:
            return read_token(token, keys, ALGORITHMS)
        except ProviderError:
            again = await self._fresh(_PAUSE)
            if again is keys:
                raise
            return read_token(token, again, ALGORITHMS)

    async def _fresh(self, age: float) -> KeySet:
        """Return keys that were fetched at most so many seconds ago, older ones where there are no others.

        Raises:
            ProviderError: there are none at all.
        """
        async with self._fetching:
            now = self._monotonic()
            if self._failure is not None and now - self._tried <= _PAUSE:
                return self._older(self._failure)
            if self._keys is None or now - self._at > age:
                self._tried, self._failure = now, None
                try:
                    self._keys, self._at = await self._fetch(), now
                except ProviderError as error:
                    self._failure = error
                    return self._older(error)
            return self._keys

    def _older(self, error: ProviderError) -> KeySet:
        if self._keys is None:
            raise error
        return self._keys

    async def _fetch(self) -> KeySet:
        document = await fetch_json(self._url)
        try:
            return KeySet.import_key_set(document)  # type: ignore[arg-type] # checked there
        except _PROBLEMS as error:
            raise ProviderError(f"{self._url} holds no keys: {error}") from error


def read_token(token: str, key: Any, algorithms: tuple[str, ...]) -> dict[str, Any]:
    """Return the claims of a token that a key has signed.

    Raises:
        ProviderError: it hasn't.
    """
    if len(token) > _LONGEST:
        raise ProviderError("the identity provider's token is too long")
    try:
        claims = jwt.decode(token, key, algorithms=list(algorithms)).claims
    except _PROBLEMS as error:
        raise ProviderError("the identity provider's token isn't signed with one of its keys") from error
    if not isinstance(claims, dict):
        raise ProviderError("the identity provider's token holds no claims")
    return claims


def check_claims(claims: dict[str, Any], *, issuer: str | None, audience: str, now: float) -> None:
    """Hold a token's claims against who it must be from and for, and the time (RFC 7519, 4.1).

    Raises:
        ProviderError: they don't fit.
    """
    audiences = claims.get("aud")
    if issuer is not None and claims.get("iss") != issuer:
        raise ProviderError(f"the token is of another issuer than {issuer}")
    if audience not in (audiences if isinstance(audiences, list) else [audiences]):
        raise ProviderError(f"the token isn't for {audience}")
    moments = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    if "exp" not in moments or not all(_is_number(moment) for moment in moments.values()):
        raise ProviderError("the token doesn't say how long it counts")
    if moments["exp"] < now - SKEW:
        raise ProviderError("the token has ended", hint="log in again; are both clocks right?")
    if max(moments.get("nbf", now), moments.get("iat", now)) > now + SKEW:
        raise ProviderError("the token doesn't count yet", hint="are the clocks of both machines right?")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
