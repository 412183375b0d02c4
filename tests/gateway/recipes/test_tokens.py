"""Tokens: their signature, their times, and the claims that bind them to a request."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwk, jwt

from gateway.inbound import Inbound
from gateway.recipes.new_secret import new_secret
from gateway.recipes.recipe import parse_recipe
from gateway.recipes.sign import sign_request
from gateway.recipes.verify import Verification, Verified
from gateway.verdict import Refused
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.secrets import Secret

NOW: Final = 1_793_000_000
BODY: Final = b'{"a": 1}'
KEY: Final = "a-secret-of-thirty-two-characters"


def recipe(**keys: Any) -> Any:
    return parse_recipe({"verify": {"scheme": "jwt", "algorithms": ["HS256"], **keys}}, name="acme")


def encoded(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(claims: Any, head: Any = None, key: str = KEY) -> str:
    """Make a token by hand, whatever its parts."""
    signed = f"{encoded({'alg': 'HS256'} if head is None else head)}.{encoded(claims)}"
    return f"{signed}.{encoded(hmac.digest(key.encode(), signed.encode(), 'sha256'))}"


def check(found: Any, text: str, body: bytes = BODY, *secrets: str, at: float = NOW) -> str:
    headers = [(b"authorization", text.encode("utf-8", "surrogatepass"))]
    request = Inbound("POST", "/w", "", headers, body, at)
    given = tuple(Secret(secret) for secret in secrets or (KEY,))
    outcome = Verification(found, public_url="https://h.example").verify(request, given)
    if outcome is None:
        return "none"
    return outcome.check if isinstance(outcome, Refused) else "accepted"


def bearer(claims: Any, **options: Any) -> str:
    return f"Bearer {token(claims, **options)}"


@pytest.mark.parametrize(
    ("claims", "outcome"),
    [
        ({}, "timestamp_missing"),
        ({"iat": NOW}, "accepted"),
        ({"iat": NOW - 161}, "timestamp_stale"),
        ({"iat": NOW + 61}, "timestamp_future"),
        ({"iat": NOW, "nbf": NOW + 61}, "timestamp_future"),
        ({"iat": NOW, "exp": NOW - 61}, "timestamp_stale"),
        ({"iat": NOW, "exp": NOW - 59}, "accepted"),
        ({"iat": float("nan")}, "timestamp_malformed"),
        ({"iat": NOW, "exp": float("inf")}, "timestamp_malformed"),
        ({"iat": 10**400}, "timestamp_malformed"),
        ({"iat": str(NOW)}, "timestamp_malformed"),
        ({"iat": True}, "timestamp_malformed"),
        ({"iat": -1}, "timestamp_malformed"),
        ([], "signature_mismatch"),
        (b"\xff", "signature_mismatch"),
    ],
)
def test_times_are_numbers_and_near(claims: Any, outcome: str) -> None:
    assert check(recipe(require=["iat"], max_age=100), bearer(claims)) == outcome


@pytest.mark.parametrize(
    "head",
    [
        {"alg": "none"},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {},
        [],
        {"alg": "HS256", "crit": ["exp"]},
        {"alg": ["HS256"]},
        None,
    ],
)
def test_only_the_algorithms_of_the_recipe_count(head: Any) -> None:
    outcome = check(recipe(), bearer({}, head=head))
    assert outcome == ("accepted" if head is None else "signature_mismatch")


def test_a_token_is_bound_to_body_issuer_and_audience() -> None:
    found = recipe(body_claim="payload_hash", issuer="acme", audience="us")
    good = {"iss": "acme", "aud": ["them", "us"], "payload_hash": hashlib.sha256(BODY).hexdigest()}
    assert check(found, bearer(good)) == "accepted"
    assert check(found, bearer(good | {"aud": "us"})) == "accepted"
    assert check(found, bearer(good), BODY + b" ") == "signature_mismatch"
    assert check(found, bearer(good), b"") == "signature_mismatch"
    assert check(found, bearer(good | {"payload_hash": 7})) == "signature_mismatch"
    assert check(found, bearer({name: good[name] for name in ("iss", "aud")})) == "signature_mismatch"
    assert check(found, bearer(good | {"iss": "other"})) == "issuer_mismatch"
    for audience in ("them", [], None, {"us": 1}, 7):
        assert check(found, bearer(good | {"aud": audience})) == "audience_mismatch"


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("", "none"),
        ("Basic YTpi", "algorithm_unknown"),
        ("Bearer", "algorithm_unknown"),
        ("Bearer a.b", "algorithm_unknown"),
        ("Bearer a.b.c.d.e", "algorithm_unknown"),
        (f"Bearer {token({})}=", "algorithm_unknown"),
        (f"Bearer {token({})[:-1]}", "algorithm_unknown"),
        ("Bearer " + "A" * 20000 + ".AA.AA", "algorithm_unknown"),
        (f"bearer {token({})}", "accepted"),
        (f"Bearer {token({}, key='other')}", "signature_mismatch"),
    ],
)
def test_what_is_no_token_is_said(text: str, outcome: str) -> None:
    assert check(recipe(), text) == outcome


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_public_keys_are_pem_or_a_key_set(algorithm: str) -> None:
    found = recipe(algorithms=[algorithm], body_claim="h")
    private = new_secret(found.verify[0])
    sent = sign_request(found, private, BODY, event_type="a", event_id="1", timestamp=NOW)
    text = sent.headers["Authorization"]
    key: Any = serialization.load_pem_private_key(private.reveal().encode(), password=None)
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    pem = key.public_key().public_bytes(*form).decode()
    public = jwk.import_key(pem, {"RS256": "RSA", "ES256": "EC"}[algorithm]).as_dict(private=False)
    for secret in (pem, pem.replace("\n", "\\n"), json.dumps(public), json.dumps({"keys": [public]})):
        assert check(found, text, BODY, secret) == "accepted"
        assert check(found, text, BODY + b" ", secret) == "signature_mismatch"
    other = new_secret(found.verify[0]).reveal()
    assert check(found, text, BODY, other) == "signature_mismatch"
    for unusable in ("", "x", "{}", '{"keys": 7}', "-----BEGIN PUBLIC KEY-----"):
        assert check(found, text, BODY, unusable) == "secret_missing"
    with pytest.raises(SettingsError, match="private key"):
        sign_request(found, Secret(pem), BODY, event_type="a", event_id="1", timestamp=NOW)


def test_a_token_may_have_to_be_for_the_source_s_address() -> None:
    found = recipe(audience="{endpoint}")
    assert check(found, bearer({"aud": "https://h.example/w"})) == "accepted"
    for other in ("https://h.example/w/", "https://h.example", "{endpoint}", "", None):
        assert check(found, bearer({"aud": other})) == "audience_mismatch"
    headers = [(b"authorization", bearer({"aud": ""}).encode()), (b"host", b"h.example")]
    for claims in ({"aud": "https://h.example/w"}, {"aud": None}, {}):
        headers[0] = (b"authorization", bearer(claims).encode())
        outcome = Verification(found).verify(Inbound("POST", "/w", "", headers, BODY, NOW), (Secret(KEY),))
        assert isinstance(outcome, Refused), "without a public URL no token is for it"


def test_claims_must_be_what_the_recipe_says() -> None:
    found = recipe(claims={"email_verified": True, "tier": "1"}, token_claim="email")
    good = {"email_verified": True, "tier": "1", "email": "a@b.example"}

    def outcome(claims: Any, *tokens: str) -> str:
        request = Inbound("POST", "/w", "", [(b"authorization", bearer(claims).encode())], BODY, NOW)
        given = tuple(Secret(token) for token in tokens)
        verdict = Verification(found, tokens=lambda: given).verify(request, (Secret(KEY),))
        return verdict.check if isinstance(verdict, Refused) else "accepted"

    assert outcome(good, "x", "a@b.example") == "accepted"
    for wrong in ({"email_verified": 1}, {"email_verified": "true"}, {"tier": 1}, {"tier": None}):
        assert outcome(good | wrong, "a@b.example") == "claim_mismatch"
    for email in ("A@b.example", "", None, ["a@b.example"], 7, "a@b.example "):
        assert outcome(good | {"email": email}, "a@b.example") == "identity_unknown"
    assert outcome(good) == "identity_unknown"


def test_a_public_key_never_passes_for_a_secret() -> None:
    with pytest.raises(SettingsError, match="pass for a secret"):
        recipe(algorithms=["HS256", "RS256"])
    with pytest.raises(SettingsError, match="max_age needs iat"):
        recipe(max_age=5)


def test_the_token_s_id_is_the_delivery_s() -> None:
    request = Inbound("POST", "/", "", [(b"authorization", bearer({"jti": "d-1"}).encode())], BODY, NOW)
    outcome = Verification(recipe(id_claim="jti")).verify(request, (Secret(KEY),))
    assert outcome == Verified(0, None, "d-1")


def test_another_library_s_tokens_are_accepted() -> None:
    text = jwt.encode({"alg": "HS256"}, {"iat": NOW}, jwk.OctKey.import_key(KEY))
    assert check(recipe(require=["iat"]), f"Bearer {text}") == "accepted"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from(
    ["alg", "typ", "kid", "crit", "b64", "jwk", "iat", "exp", "nbf", "iss", "aud", "h", "jti"]
)


@given(
    head=st.dictionaries(NAMES, JSON | st.just("HS256"), max_size=4),
    claims=JSON | st.dictionaries(NAMES, JSON, max_size=5),
    genuine=st.booleans(),
    secret=st.text(max_size=40),
)
def test_whatever_a_token_holds_there_is_a_verdict(
    head: dict[str, Any], claims: Any, *, genuine: bool, secret: str
) -> None:
    found = recipe(body_claim="h", audience="us", max_age=10, require=["iat"], id_claim="jti")
    text = bearer(claims, head=head, key=KEY if genuine else "forged")
    assert check(found, text, BODY, secret, KEY) != "accepted"
