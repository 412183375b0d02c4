"""Tokens of an identity provider, and the public keys that they are signed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from joserfc import jwt
from joserfc.errors import JoseError

from gateway.keys.judging import with_keys
from gateway.keys.places import KeySetPlace
from gateway.keys.store import KeysAwayError
from gateway.keys.token import compact, unverified, verified
from gateway.keys.wanted import Wanted
from tidemill.kernel.errors import ProviderError

if TYPE_CHECKING:
    from gateway.keys.store import KeyStore
    from gateway.keys.token import Claims, Unverified

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a private key; a secret's (HS) or none would let others sign."""
SKEW: Final = 60
"""Seconds by which two machines' clocks may differ."""
_INDEX: Final = 0
_LONGEST: Final = 16 * 1024
_PROBLEMS: Final = (JoseError, ValueError, TypeError, KeyError, AttributeError)


class KeySource:
    """The keys under an address of the operator's.

    Args:
        url: the address of the set (RFC 7517).
        store: where keys are kept, and fetched anew when others sign.
    """

    def __init__(self, url: str, store: KeyStore) -> None:
        self._place = KeySetPlace(url, public=False, plain=True)
        self._store = store

    async def claims(self, token: str) -> dict[str, Any]:
        """Return what a token says that one of the keys has signed; times and names aren't checked yet.

        Raises:
            ProviderError: it isn't, or the keys can't be fetched.
        """
        text = compact(token.encode("utf-8", "surrogatepass"))
        read = unverified(text, ALGORITHMS) if text is not None else None
        if read is None:
            raise ProviderError(
                "the identity provider's token isn't one that is signed with a key of its own"
            )
        outcome = self._claims(read)
        if isinstance(outcome, Wanted):
            try:
                outcome = await with_keys(self._store, outcome, lambda: self._claims(read))
            except KeysAwayError as error:
                raise ProviderError(
                    f"the keys of {self._place.host} can't be fetched just now",
                    hint=f"try again in {error.retry_after} s; the log says what is wrong",
                ) from error
        if outcome is None:
            raise ProviderError("the identity provider's token isn't signed with one of its keys")
        return outcome

    def _claims(self, token: Unverified) -> Claims | Wanted | None:
        """Return a token's claims, None where no key has signed it, or what has to be fetched first."""
        keys = self._store.find(self._place, token.kid)
        if isinstance(keys, Wanted):
            return keys
        found = verified(token, [(_INDEX, key) for key in keys or ()])
        if found is None:
            return self._store.again(self._place) if token.kid is None else None
        return found[1]


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
