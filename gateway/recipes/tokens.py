"""`scheme: jwt`: the request carries a signed JSON Web Token (RFC 7519), whose claims cover the request.

Keys are secrets of the source: the shared secret for HS, a public key in PEM or a key set (RFC 7517) in
JSON for the others. A recipe's `keys` says where they are published: they are fetched for a source that has
none itself.
"""

from __future__ import annotations

import hashlib
import hmac
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from joserfc import jwk, jwt
from joserfc.errors import SecurityWarning

from gateway.keys.token import PROBLEMS, Claims, compact, is_for, time_problem, unverified, verified
from gateway.keys.wanted import Wanted
from gateway.recipes import selector
from gateway.recipes.published import KID, KeyFinder
from gateway.recipes.refusal import refused
from gateway.recipes.schemes.digest import signing_key
from gateway.recipes.signed import url_of
from gateway.recipes.signing_key import key_reader
from gateway.recipes.verified import Verified
from gateway.verdict import Refused
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.recipes.draft import Draft
    from gateway.recipes.message import Message
    from gateway.recipes.proofs import Jwt
    from gateway.recipes.published import KeyAccess
    from gateway.recipes.vendors.vendor import Tokens
    from tidemill.kernel.settings.secrets import Secret

_BEARER: Final = b"bearer "
_LIFETIME: Final = 300
_ENDPOINT: Final = "{endpoint}"
_MISMATCH: Final = refused("signature_mismatch", "The token isn't signed with an active key.")
_NO_SECRET: Final = refused("secret_missing", "This source has no active secret to verify with.")


class _Signed(NamedTuple):
    """A token whose signature matched, and the index of the secret."""

    secret: int
    claims: Claims


class TokenVerifier:
    """Verifies a token and holds its claims against the request."""

    def __init__(
        self,
        recipe: Jwt,
        public_url: str | None = None,
        tokens: Tokens = tuple,
        access: KeyAccess | None = None,
    ) -> None:
        """Compile a recipe's proof.

        Args:
            recipe: the proof.
            public_url: under which the sender knows the gateway.
            tokens: returns the source's active verify tokens, for a `token_claim`.
            access: how published keys are got at.
        """
        self.recipe = recipe
        self._tokens = tokens
        self._finder = KeyFinder(recipe.keys, access) if recipe.keys is not None else None
        self._at = selector.parse(recipe.at)
        self._public_url = public_url.rstrip("/").encode() if public_url else None
        self._read_secret = key_reader(recipe.secret)
        self._shared = recipe.algorithms[0].startswith("HS")
        self._key = lru_cache(maxsize=1024)(self._key_of)

    def verify(self, message: Message, secrets: Sequence[Secret]) -> Verified | Refused | Wanted | None:
        """Verify a request; None where it carries no token at all."""
        value = message.value(self._at)
        if value is None:
            return None
        token = self._token(value)
        if token is None:
            return refused(
                "algorithm_unknown", "What stands there is no token of the kind that this source takes."
            )
        found: _Signed | Refused | Wanted = self._claims(token, secrets)
        if isinstance(found, Refused) and self._finder is not None:
            found = self._published(message, token, secrets, self._finder) or found
        if isinstance(found, _Signed):
            return self._problem(message, found.claims) or Verified(found.secret, id=self._id(found.claims))
        return found

    def _published(
        self, message: Message, token: str, secrets: Sequence[Secret], finder: KeyFinder
    ) -> _Signed | Refused | Wanted | None:
        """Verify with a key that the provider publishes, and fetch none for what can't be right anyway.

        None where the source has keys itself, or lacks the credentials.
        """
        credentials = [(index, one) for index, one in enumerate(secrets) if self._key(one.reveal()) is None]
        if bool(credentials) != finder.wants_credentials or (secrets and not credentials):
            return None
        shown = unverified(token, self.recipe.algorithms)
        if shown is None or (shown.kid is None and finder.wants_credentials):
            return _MISMATCH
        problem = self._problem(message, shown.claims)
        if problem is not None:
            return problem
        keys = finder.find(shown.kid, credentials)
        if keys is None or isinstance(keys, Wanted):
            return keys
        found = verified(shown, keys)
        if found is not None:
            return _Signed(*found)
        return (finder.again() if shown.kid is None else None) or _MISMATCH

    def _token(self, value: bytes) -> str | None:
        """Return the token in its one spelling; None where it isn't written as one."""
        if self.recipe.presented == "bearer":
            if value[: len(_BEARER)].lower() != _BEARER:
                return None
            value = value[len(_BEARER) :].strip()
        return compact(value)

    def _claims(self, token: str, secrets: Sequence[Secret]) -> _Signed | Refused:
        usable = False
        for index, secret in enumerate(secrets):
            key = self._key(secret.reveal())
            if key is None:
                continue
            usable = True
            try:
                claims = jwt.decode(token, key, algorithms=list(self.recipe.algorithms)).claims
            except PROBLEMS:
                continue
            if isinstance(claims, dict):
                return _Signed(index, claims)
        return _MISMATCH if usable else _NO_SECRET

    def _problem(self, message: Message, claims: Claims) -> Refused | None:
        return (
            self._name_problem(claims, message)
            or self._time_problem(claims, message)
            or self._hash_problem(claims, message)
        )

    def _name_problem(self, claims: Claims, message: Message) -> Refused | None:
        recipe = self.recipe
        if recipe.issuer is not None and claims.get("iss") != recipe.issuer:
            return refused("issuer_mismatch", "The token is of another issuer.")
        audience = self._audience(message)
        if audience is not None and not is_for(claims, audience):
            return refused("audience_mismatch", "The token is for another audience.")
        if any(
            type(claims.get(name)) is not type(value) or claims[name] != value
            for name, value in recipe.claims.items()
        ):
            return refused("claim_mismatch", "The token lacks a claim that this source asks for.")
        return None if recipe.token_claim is None else self._identity_problem(claims.get(recipe.token_claim))

    def _audience(self, message: Message) -> str | None:
        if self.recipe.audience != _ENDPOINT:
            return self.recipe.audience
        if self._public_url is None:
            return ""  # nobody knows the address, so no token is for it
        return self._public_url.decode() + message.inbound.path

    def _identity_problem(self, claimed: Any) -> Refused | None:
        shown = claimed.encode("utf-8", "surrogatepass") if isinstance(claimed, str) else b""
        known = [one.reveal().encode("utf-8", "surrogatepass") for one in self._tokens()]
        if any([hmac.compare_digest(shown, one) for one in known]):  # noqa: C419 - all are compared
            return None
        return refused("identity_unknown", "The token is of somebody who isn't among the verify tokens.")

    def _time_problem(self, claims: Claims, message: Message) -> Refused | None:
        recipe, now = self.recipe, message.inbound.received_at
        problem = time_problem(claims, now, recipe.tolerance, require=recipe.require, max_age=recipe.max_age)
        return refused(*problem) if problem else None

    def _hash_problem(self, claims: Claims, message: Message) -> Refused | None:
        recipe, body = self.recipe, message.inbound.body
        claim = recipe.body_claim
        if claim is not None and (body or claim in claims) and not _is_hash(claims.get(claim), body):
            return refused("signature_mismatch", "The token is of another body.")
        if recipe.url_claim is not None:
            url = url_of(message, self._public_url)
            if url is None or not _is_hash(claims.get(recipe.url_claim), url):
                return refused("signature_mismatch", "The token is of another address.")
        return None

    def _id(self, claims: Claims) -> str | None:
        return selector.text_of(claims.get(self.recipe.id_claim)) if self.recipe.id_claim else None

    def _key_of(self, text: str) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # short secrets are the provider's choice
                return self._imported(text)
        except PROBLEMS:
            return None

    def _imported(self, text: str) -> Any:
        if self._shared:
            key = self._read_secret(text)
            return jwk.OctKey.import_key(key) if key else None
        if text.lstrip().startswith("{"):
            found = orjson.loads(text)
            return jwk.KeySet.import_key_set(found) if "keys" in found else jwk.import_key(found)
        return jwk.import_key(
            text.replace("\\n", "\n"), "EC" if self.recipe.algorithms[0].startswith("ES") else "RSA"
        )

    def sign(self, draft: Draft, secret: Secret, event_id: str, timestamp: float) -> None:
        """Write a token into a request.

        Raises:
            SettingsError: nobody can sign with that secret.
        """
        recipe, now = self.recipe, int(timestamp)
        claims: Claims = {"iat": now, "nbf": now, "exp": now + _LIFETIME, recipe.id_claim or "jti": event_id}
        claims |= {"iss": recipe.issuer} if recipe.issuer else {}
        if recipe.audience:
            claims["aud"] = draft.url.partition("?")[0] if recipe.audience == _ENDPOINT else recipe.audience
        claims |= recipe.claims
        if recipe.token_claim is not None:
            claims[recipe.token_claim] = next((one.reveal() for one in self._tokens()), "")
        if recipe.body_claim:
            claims[recipe.body_claim] = hashlib.sha256(draft.body).hexdigest()
        if recipe.url_claim:
            claims[recipe.url_claim] = hashlib.sha256(draft.url.encode()).hexdigest()
        token = self._encoded(claims, secret)
        draft.put(self._at, f"Bearer {token}" if recipe.presented == "bearer" else token)

    def _encoded(self, claims: Claims, secret: Secret) -> str:
        key = self._key(secret.reveal())
        if self._shared:
            signing_key(self._read_secret(secret.reveal()))
        try:
            header = {"alg": self.recipe.algorithms[0]} | ({"kid": KID} if self._finder is not None else {})
            return jwt.encode(header, claims, key)
        except PROBLEMS as error:
            raise SettingsError(
                "the request can't be signed: that takes a private key",
                hint="put one, as PEM, among the secrets",
            ) from error


def _is_hash(value: object, content: bytes) -> bool:
    expected = hashlib.sha256(content).hexdigest().encode()
    return isinstance(value, str) and hmac.compare_digest(value.encode("utf-8", "surrogatepass"), expected)
