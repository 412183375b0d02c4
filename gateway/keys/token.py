"""JSON Web Tokens in their compact form (RFC 7519): their one spelling, their signature, their times."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from gateway.keys.ring import MAX_KID
from gateway.strictjson import UnsoundJsonError, loads

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gateway.keys.ring import PublicKey

MAX_TOKEN: Final = 16 * 1024
PROBLEMS: Final = (JoseError, ValueError, TypeError, KeyError, AttributeError)
MAX_TRIES: Final = 16
"""Keys that are tried for a token that names none."""
_LAST_MOMENT: Final = 10**12
_KEY_CLASSES: Final[dict[str, Any]] = {"RS": RSAKey, "PS": RSAKey, "ES": ECKey, "Ed": OKPKey}
Claims = dict[str, Any]


class Unverified(NamedTuple):
    """What a token says of itself, before anybody has looked at its signature.

    Attributes:
        text: the token.
        algorithm: what it claims to be signed with.
        kid: the key that it names, None where it names none.
        claims: what it claims.
    """

    text: str
    algorithm: str
    kid: str | None
    claims: Claims


def compact(value: bytes) -> str | None:
    """Return a token in its one spelling: three segments of base64url; None where it isn't one."""
    segments = value.split(b".")
    sound = len(value) <= MAX_TOKEN and len(segments) == 3 and all(_canonical(one) for one in segments)  # noqa: PLR2004 - header, payload, signature
    return value.decode("ascii") if sound else None


def unverified(text: str, algorithms: Collection[str]) -> Unverified | None:
    """Read a token that `compact` returned; None where it can't be one that counts, whoever signed it."""
    header, claims = (_object(part) for part in text.split(".")[:2])
    if header is None or claims is None or not text.rpartition(".")[2]:
        return None
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in algorithms or "crit" in header:
        return None
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID and kid.isprintable()):
        return None
    return Unverified(text, algorithm, kid, claims)


def verified(token: Unverified, keys: Sequence[tuple[int, PublicKey]]) -> tuple[int, Claims] | None:
    """Return the index of the key that has signed a token, and its claims; None where none of them has."""
    for index, key in keys[:MAX_TRIES]:
        try:
            jose = key.jose if key.jose is not None else _KEY_CLASSES[token.algorithm[:2]].import_key(key.raw)
            jose.check_alg(token.algorithm)
            claims = jwt.decode(token.text, jose, algorithms=[token.algorithm]).claims
        except PROBLEMS:
            continue
        if isinstance(claims, dict):
            return index, claims
    return None


def time_problem(
    claims: Claims, now: float, leeway: float, *, require: Collection[str] = (), max_age: float | None = None
) -> tuple[str, str] | None:
    """Say why a token doesn't count at a moment: a check's name and a sentence; None where it does."""
    moments = {name: claims[name] for name in ("iat", "nbf", "exp") if name in claims}
    if not all(_is_moment(value) for value in moments.values()):
        return "timestamp_malformed", "A time in the token isn't a number."
    if any(name not in moments for name in require):
        return "timestamp_missing", "The token lacks a time that this source asks for."
    if any(moments.get(name, now) > now + leeway for name in ("iat", "nbf")):
        return "timestamp_future", "The token isn't valid yet."
    too_old = max_age is not None and moments["iat"] < now - max_age - leeway
    if moments.get("exp", now) < now - leeway or too_old:
        return "timestamp_stale", "The token has expired."
    return None


def is_for(claims: Claims, audience: str) -> bool:
    """Say whether a token is for an audience."""
    audiences = claims.get("aud")
    return audience in (audiences if isinstance(audiences, list) else [audiences])


def _canonical(segment: bytes) -> bool:
    decoded = _decoded(segment)
    return decoded is not None and base64.urlsafe_b64encode(decoded).rstrip(b"=") == segment


def _decoded(segment: bytes) -> bytes | None:
    try:
        return base64.b64decode(segment + b"=" * (-len(segment) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None


def _object(segment: str) -> dict[str, Any] | None:
    try:
        found = loads(_decoded(segment.encode()) or b"")
    except UnsoundJsonError:
        return None
    return found if isinstance(found, dict) else None


def _is_moment(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LAST_MOMENT
