"""Bearer tokens for the event API: JSON Web Tokens of configured issuers (RFC 6750, RFC 7519, RFC 8725).

The algorithm is one of the issuer's, never what a token says alone, and only with a public key that the
issuer publishes. What can't be right, whoever signed it, is refused without asking anybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.keys.places import IssuerPlace, KeySetPlace
from gateway.keys.store import KeyStore
from gateway.keys.token import Unverified, is_for, time_problem, unverified, verified
from gateway.keys.wanted import Wanted
from gateway.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.keys.places import KeyPlace
    from gateway.keys.token import Claims
    from tidemill.kernel.settings.events import TokenIssuer, TokenScope

_CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="tidemill", error="invalid_token"'),)
_INDEX: Final = 0


class BearerTokens:
    """Verifies tokens.

    Args:
        store: where issuers' keys are kept; by default a store of its own.
    """

    def __init__(self, store: KeyStore | None = None) -> None:
        self._store = store or KeyStore()

    def grants(
        self, text: str, issuers: Sequence[TokenIssuer], now: float
    ) -> tuple[TokenScope, ...] | Problem | Wanted:
        """Return what a token allows, why it counts for nothing, or which keys have to be fetched first.

        Args:
            text: the token in its one spelling.
            issuers: whose tokens count.
            now: seconds since the epoch.
        """
        known = [(issuer, token) for issuer in issuers if (token := _of_issuer(text, issuer)) is not None]
        if not known:
            return _refused("The token is of no issuer that counts here, or signed in another way.")
        outcome: tuple[TokenScope, ...] | Problem | Wanted = _MISMATCH
        for issuer, token in known:
            outcome = self._granted(issuer, token, now)
            if not isinstance(outcome, Problem):
                return outcome
        return outcome

    def _granted(
        self, issuer: TokenIssuer, token: Unverified, now: float
    ) -> tuple[TokenScope, ...] | Problem | Wanted:
        problem = _claims_problem(token.claims, issuer, now)
        if problem is not None:
            return problem
        place = place_of(issuer)
        keys = self._store.find(place, token.kid)
        if isinstance(keys, Wanted):
            return keys
        found = verified(token, [(_INDEX, key) for key in keys or ()])
        if found is None:
            return (self._store.again(place) if token.kid is None else None) or _MISMATCH
        _, claims = found
        problem = _claims_problem(claims, issuer, now)
        return problem if problem is not None else _scopes(claims, issuer)


def place_of(issuer: TokenIssuer) -> KeyPlace:
    """Return where an issuer's keys are: an address of the operator's, wherever that is."""
    if issuer.keys is not None:
        return KeySetPlace(issuer.keys, public=False)
    return IssuerPlace(issuer.issuer, public=False)


def _of_issuer(text: str, issuer: TokenIssuer) -> Unverified | None:
    """Read a token as one of an issuer's, None where it can't be."""
    token = unverified(text, issuer.algorithms)
    return token if token is not None and token.claims.get("iss") == issuer.issuer else None


def _claims_problem(claims: Claims, issuer: TokenIssuer, now: float) -> Problem | None:
    if claims.get("iss") != issuer.issuer:
        return _MISMATCH
    late = time_problem(claims, now, issuer.leeway, require=("exp",))
    if late is not None:
        return _refused(late[1])
    return None if is_for(claims, issuer.audience) else _refused("The token is for another audience.")


def _scopes(claims: Claims, issuer: TokenIssuer) -> tuple[TokenScope, ...]:
    """Return what the scopes of a token allow."""
    value: Any = claims.get(issuer.claim)
    if value is None:
        value = claims
        for part in issuer.claim.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    names = value.split(" ") if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(scope for scope in issuer.scopes if scope.name in names)


def _refused(detail: str) -> Problem:
    return Problem(401, "token", detail, "get a fresh token for this audience", headers=_CHALLENGE)


_MISMATCH: Final = _refused("The token isn't signed with a key of its issuer.")
