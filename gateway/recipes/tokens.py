"""`scheme: jwt`: the request carries a signed JSON Web Token (RFC 7519), whose claims cover the request.

Keys are secrets of the source: the shared secret for HS, a public key in PEM or a key set (RFC 7517) in
JSON for the others. Nothing is fetched while a request is verified.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson
from joserfc import jwk, jwt
from joserfc.errors import JoseError, SecurityWarning

from gateway.recipes import selector
from gateway.recipes.refusal import refused
from gateway.recipes.schemes.digest import signing_key
from gateway.recipes.signed import url_of
from gateway.recipes.signing_key import key_reader
from gateway.recipes.verified import Verified
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.recipes.draft import Draft
    from gateway.recipes.message import Message
    from gateway.recipes.proofs import Jwt
    from gateway.verdict import Refused
    from tidemill.kernel.settings.secrets import Secret

MAX_TOKEN: Final = 16 * 1024
_BEARER: Final = b"bearer "
_LIFETIME: Final = 300
_LAST_MOMENT: Final = 10**12
_PROBLEMS: Final = (JoseError, ValueError, TypeError, KeyError, AttributeError)
Claims = dict[str, Any]


class TokenVerifier:
    """Verifies a token and holds its claims against the request."""

    def __init__(self, recipe: Jwt, public_url: str | None = None) -> None:
        self.recipe = recipe
        self._at = selector.parse(recipe.at)
        self._public_url = public_url.rstrip("/").encode() if public_url else None
        self._read_secret = key_reader(recipe.secret)
        self._shared = recipe.algorithms[0].startswith("HS")
        self._key = lru_cache(maxsize=1024)(self._key_of)

    def verify(self, message: Message, secrets: Sequence[Secret]) -> Verified | Refused | None:
        """Verify a request; None where it carries no token at all."""
        value = message.value(self._at)
        if value is None:
            return None
        token = self._token(value)
        if token is None:
            return refused(
                "algorithm_unknown", "What stands there is no token of the kind that this source takes."
            )
        found = self._claims(token, secrets)
        if isinstance(found, tuple):
            index, claims = found
            return self._problem(message, claims) or Verified(index, id=self._id(claims))
        return found

    def _token(self, value: bytes) -> str | None:
        """Return the token in its one spelling; None where it isn't written as one."""
        if self.recipe.presented == "bearer":
            if value[: len(_BEARER)].lower() != _BEARER:
                return None
            value = value[len(_BEARER) :].strip()
        segments = value.split(b".")
        sound = len(value) <= MAX_TOKEN and len(segments) == 3 and all(_canonical(one) for one in segments)  # noqa: PLR2004 - header, payload, signature
        return value.decode("ascii") if sound else None

    def _claims(self, token: str, secrets: Sequence[Secret]) -> tuple[int, Claims] | Refused:
        usable = False
        for index, secret in enumerate(secrets):
            key = self._key(secret.reveal())
            if key is None:
                continue
            usable = True
            try:
                claims = jwt.decode(token, key, algorithms=list(self.recipe.algorithms)).claims
            except _PROBLEMS:
                continue
            if isinstance(claims, dict):
                return index, claims
        if usable:
            return refused("signature_mismatch", "The token isn't signed with an active secret.")
        return refused("secret_missing", "This source has no active secret to verify with.")

    def _problem(self, message: Message, claims: Claims) -> Refused | None:
        return (
            self._name_problem(claims)
            or self._time_problem(claims, message)
            or self._hash_problem(claims, message)
        )

    def _name_problem(self, claims: Claims) -> Refused | None:
        recipe = self.recipe
        audiences = claims.get("aud")
        if recipe.issuer is not None and claims.get("iss") != recipe.issuer:
            return refused("issuer_mismatch", "The token is of another issuer.")
        if recipe.audience is not None and recipe.audience not in (
            audiences if isinstance(audiences, list) else [audiences]
        ):
            return refused("audience_mismatch", "The token is for another audience.")
        return None

    def _time_problem(self, claims: Claims, message: Message) -> Refused | None:
        now, leeway = message.inbound.received_at, self.recipe.tolerance
        moments = {name: claims[name] for name in ("iat", "nbf", "exp") if name in claims}
        if not all(_is_moment(value) for value in moments.values()):
            return refused("timestamp_malformed", "A time in the token isn't a number.")
        if any(name not in moments for name in self.recipe.require):
            return refused("timestamp_missing", "The token lacks a time that this source asks for.")
        if any(moments.get(name, now) > now + leeway for name in ("iat", "nbf")):
            return refused("timestamp_future", "The token isn't valid yet.")
        oldest = self.recipe.max_age
        if moments.get("exp", now) < now - leeway or (
            oldest is not None and moments["iat"] < now - oldest - leeway
        ):
            return refused("timestamp_stale", "The token has expired.")
        return None

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
        except _PROBLEMS:
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
        claims |= {"aud": recipe.audience} if recipe.audience else {}
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
            return jwt.encode({"alg": self.recipe.algorithms[0]}, claims, key)
        except _PROBLEMS as error:
            raise SettingsError(
                "the request can't be signed: that takes a private key",
                hint="put one, as PEM, among the secrets",
            ) from error


def _canonical(segment: bytes) -> bool:
    try:
        decoded = base64.b64decode(segment + b"=" * (-len(segment) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return False
    return base64.urlsafe_b64encode(decoded).rstrip(b"=") == segment


def _is_moment(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LAST_MOMENT


def _is_hash(value: object, content: bytes) -> bool:
    expected = hashlib.sha256(content).hexdigest().encode()
    return isinstance(value, str) and hmac.compare_digest(value.encode("utf-8", "surrogatepass"), expected)
