from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.inbound import Inbound
from gateway.recipes.candidates import MAX_CANDIDATES
from gateway.recipes.presets import preset
from gateway.recipes.recipe import Recipe, parse_recipe
from gateway.recipes.verify import Verification, Verified
from gateway.verdict import Refused
from tidemill.kernel.settings.secrets import Secret

NOW = 1_793_000_000
SECRETS = (Secret("first"), Secret("second"))
BODY = b'{"a": 1}'


def inbound(
    *headers: tuple[str, str | bytes], body: bytes = BODY, query: str = "", at: float = NOW
) -> Inbound:
    raw = [
        (name.lower().encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in headers
    ]
    return Inbound("POST", "/webhooks/acme", query, raw, body, at)


def hexdigest(secret: str | bytes, signed: bytes, algorithm: str = "sha256") -> str:
    return hmac.new(secret.encode() if isinstance(secret, str) else secret, signed, algorithm).hexdigest()


def custom(**verify: Any) -> Recipe:
    signature = {"at": "header:X-Sig", **verify.pop("signature", {})}
    return parse_recipe({"verify": {"signature": signature, **verify}}, name="acme")


def check(recipe: Recipe, request: Inbound, secrets: tuple[Secret, ...] = SECRETS) -> str | int:
    """Return the index of the secret that matched, or the check that failed."""
    outcome = Verification(recipe, public_url="https://hooks.example/").verify(request, secrets)
    if outcome is None:
        return "none"
    return outcome.check if isinstance(outcome, Refused) else outcome.secret


def test_github_documented_example() -> None:
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    request = inbound(("X-Hub-Signature-256", signature), body=b"Hello, World!")
    assert check(preset("github"), request, (Secret("It's a Secret to Everybody"),)) == 0
    assert check(preset("github"), request, (Secret("it's a Secret to Everybody"),)) == "signature_mismatch"


def test_standard_webhooks_documented_vector() -> None:
    request = inbound(
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        body=b'{"test": 2432232314}',
        at=1614265330,
    )
    secret = (Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),)
    outcome = Verification(preset("standard-webhooks")).verify(request, secret)
    assert outcome == Verified(0, "1614265330", "msg_p5jXN8AQM9LWM0D4loKWxJek")


def test_any_active_secret_matches_and_is_named() -> None:
    for index, secret in enumerate(("first", "second")):
        assert check(custom(), inbound(("X-Sig", hexdigest(secret, BODY)))) == index
    assert check(custom(), inbound(("X-Sig", hexdigest("third", BODY)))) == "signature_mismatch"


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!!", "é"])
def test_an_empty_or_malformed_secret_never_verifies(secret: str) -> None:
    recipe = custom(secret={"encoding": "base64", "strip_prefix": "whsec_"})
    request = inbound(("X-Sig", hexdigest(b"", BODY)))
    assert check(recipe, request, (Secret(secret),)) == "secret_missing"
    assert check(recipe, request, ()) == "secret_missing"


def test_a_missing_signature_is_told_apart_from_an_unknown_kind() -> None:
    assert check(preset("github"), inbound()) == "none"
    assert check(preset("github"), inbound(("X-Hub-Signature", "sha1=" + "0" * 40))) == "none"
    assert check(preset("github"), inbound(("X-Hub-Signature-256", "sha512=00"))) == "algorithm_unknown"
    assert check(preset("github"), inbound(("X-Hub-Signature-256", "0" * 64))) == "algorithm_unknown"
    assert (
        check(preset("stripe"), inbound(("Stripe-Signature", f"t={NOW},v0={'0' * 64}")))
        == "algorithm_unknown"
    )


@pytest.mark.parametrize(
    ("encoding", "options", "change", "passes"),
    [
        ("hex", {}, str.upper, False),
        ("hex", {"case_insensitive": True}, str.upper, True),
        ("hex", {}, lambda text: text[:-1], False),
        ("hex", {}, lambda text: " " + text, True),  # white space around a field's value isn't a part of it
        ("hex", {}, lambda text: text[:2] + " " + text[2:], False),
        ("base64", {}, lambda text: text.rstrip("="), False),
        ("base64", {"unpadded": True}, lambda text: text.rstrip("="), True),
        ("base64", {"unpadded": True}, str, True),
        ("base64", {}, lambda text: text.replace("+", "-").replace("/", "_"), False),
        ("base64url", {}, str, True),
        ("base64url", {}, lambda text: text.replace("-", "+").replace("_", "/"), False),
        ("base64", {}, str.swapcase, False),
    ],
)
def test_a_signature_has_one_spelling(
    encoding: str, options: dict[str, bool], change: Any, *, passes: bool
) -> None:
    body = b"body 6"  # whose digest has both + and / in base64
    digest = hmac.digest(b"first", body, "sha256")
    assert {b"+", b"/"} <= {bytes([byte]) for byte in base64.b64encode(digest)}
    text = {
        "hex": digest.hex(),
        "base64": base64.b64encode(digest).decode(),
        "base64url": base64.urlsafe_b64encode(digest).decode(),
    }[encoding]
    recipe = custom(signature={"encoding": encoding, **options})
    assert check(recipe, inbound(("X-Sig", change(text)), body=body)) == (
        0 if passes else "signature_mismatch"
    )


def test_the_last_base64_character_of_a_signature_has_no_twin() -> None:
    """Its two spare bits are ignored by decoders: a comparison of decoded bytes would accept four texts."""
    text = base64.b64encode(hmac.digest(b"first", BODY, "sha256")).decode()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twins = [text[:-2] + letter + "=" for letter in alphabet]
    recipe = custom(signature={"encoding": "base64"})
    assert [check(recipe, inbound(("X-Sig", twin))) for twin in twins].count(0) == 1


def test_signatures_may_come_in_several_headers_up_to_a_limit() -> None:
    good = ("X-Sig", hexdigest("second", BODY))
    bad = ("X-Sig", "0" * 64)
    assert check(custom(), inbound(bad, good, bad)) == 1
    assert check(custom(), inbound(*[bad] * (MAX_CANDIDATES - 1), good)) == 1
    assert check(custom(), inbound(*[bad] * MAX_CANDIDATES, good)) == "signature_excess"


def test_a_thousand_candidates_are_refused_unchecked() -> None:
    value = f"t={NOW}," + ",".join(["v1=" + "0" * 64] * 1000)
    assert check(preset("stripe"), inbound(("Stripe-Signature", value))) == "signature_excess"


def stripe(timestamp: str, *, at: float = NOW) -> str | int:
    signature = hexdigest("first", timestamp.encode() + b"." + BODY)
    return check(preset("stripe"), inbound(("Stripe-Signature", f"t={timestamp},v1={signature}"), at=at))


@pytest.mark.parametrize(
    "text",
    [
        "Infinity",
        "inf",
        "nan",
        "1e400",
        "-1793000000",
        "+1793000000",
        "1793000000.0",
        "0x1",
        "1_793_000_000",
        "9" * 16,
        "9" * 5000,
        "١٧٩٣٠٠٠٠٠٠",
    ],
)
def test_a_timestamp_is_plain_digits(text: str) -> None:
    assert stripe(text) == "timestamp_malformed"


def test_a_timestamp_is_fresh_on_both_sides() -> None:
    assert [stripe(str(NOW), at=NOW + shift) for shift in (-300, -301, 300, 301)] == [
        0,
        "timestamp_future",
        0,
        "timestamp_stale",
    ]
    assert stripe("0") == "timestamp_stale"
    assert stripe("9" * 15) == "timestamp_future"


def test_a_timestamp_must_be_there() -> None:
    assert check(preset("stripe"), inbound(("Stripe-Signature", "v1=" + "0" * 64))) == "timestamp_missing"
    assert (
        check(preset("stripe"), inbound(("Stripe-Signature", "t=,v1=" + "0" * 64))) == "timestamp_malformed"
    )


def test_the_tolerance_of_a_source_replaces_the_recipes() -> None:
    signature = hexdigest("first", f"{NOW}.".encode() + BODY)
    request = inbound(("Stripe-Signature", f"t={NOW},v1={signature}"), at=NOW + 1000)
    strict, lax = (Verification(preset("stripe"), tolerance=seconds) for seconds in (999, 1000))
    assert isinstance(strict.verify(request, SECRETS), Refused)
    assert isinstance(lax.verify(request, SECRETS), Verified)


@pytest.mark.parametrize(("unit", "text"), [("ms", f"{NOW}123"), ("rfc3339", "2026-10-26T07:33:20Z")])
def test_timestamps_come_in_other_units(unit: str, text: str) -> None:
    recipe = custom(timestamp={"at": "header:X-Time", "unit": unit}, signed="{timestamp}{body}")
    signature = hexdigest("first", text.encode() + BODY)
    assert check(recipe, inbound(("X-Sig", signature), ("X-Time", text))) == 0
    assert check(recipe, inbound(("X-Sig", signature), ("X-Time", text), at=NOW + 400)) == "timestamp_stale"


@pytest.mark.parametrize(
    "text", ["2026-10-26T07:33:20", "yesterday", "99999-01-01T00:00:00Z", "0001-01-01T00:00+14:00"]
)
def test_a_malformed_rfc3339_timestamp_is_refused(text: str) -> None:
    recipe = custom(timestamp={"at": "header:X-Time", "unit": "rfc3339"}, signed="{timestamp}{body}")
    request = inbound(("X-Sig", hexdigest("first", text.encode() + BODY)), ("X-Time", text))
    assert str(check(recipe, request)).startswith("timestamp_")


def test_every_part_of_the_request_can_be_signed() -> None:
    recipe = custom(signed="{method}|{path}|{path_query}|{url}|{header:X-Nonce}|{query:v}|{body}")
    path_query = "/webhooks/acme?v=7&w=%20"
    signed = f"POST|/webhooks/acme|{path_query}|https://hooks.example{path_query}|n1|7|".encode() + BODY
    headers = [("X-Sig", hexdigest("first", signed)), ("X-Nonce", "n1")]
    assert check(recipe, inbound(*headers, query="v=7&w=%20")) == 0
    assert check(recipe, inbound(*headers, query="v=7&w=%21")) == "signature_mismatch"


@pytest.mark.parametrize(
    ("headers", "query"), [([], "v=1"), ([("X-Nonce", "")], "v=1"), ([("X-Nonce", "n")], "v=")]
)
def test_a_missing_variable_is_never_the_empty_text(headers: list[tuple[str, str]], query: str) -> None:
    recipe = custom(signed="{header:X-Nonce}{query:v}{body}")
    signed = b"".join(value.encode() for _, value in headers) + query.removeprefix("v=").encode() + BODY
    request = inbound(("X-Sig", hexdigest("first", signed)), *headers, query=query)
    assert check(recipe, request) == "signed_part_missing"


def test_without_a_public_url_a_recipe_that_signs_it_refuses() -> None:
    request = inbound(("X-Sig", hexdigest("first", BODY)))
    outcome = Verification(custom(signed="{url}{body}")).verify(request, SECRETS)
    assert isinstance(outcome, Refused)
    assert outcome.check == "signed_part_missing"


def test_a_signature_in_the_query() -> None:
    recipe = custom(signature={"at": "query:sig"})
    assert check(recipe, inbound(query=f"sig={hexdigest('first', BODY)}")) == 0
    assert check(recipe, inbound(query="sig=")) == "signature_mismatch"
    assert check(recipe, inbound(query="&".join("a=1" for _ in range(5000)))) == "none"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize(
    ("form", "secret"), [({}, "6b6579"), ({"encoding": "hex"}, "6b6579"), ({"encoding": "base64"}, "a2V5")]
)
def test_algorithms_and_forms_of_secrets(algorithm: str, form: dict[str, str], secret: str) -> None:
    key = b"key" if form else b"6b6579"
    request = inbound(("X-Sig", hexdigest(key, BODY, algorithm)))
    assert check(custom(algorithm=algorithm, secret=form), request, (Secret(secret),)) == 0


def test_an_id_that_is_signed_under_another_header_name_does_not_count() -> None:
    """A replay with Svix's headers can't get a new id by adding the other family's, unsigned, header."""
    key = base64.b64encode(b"0123456789abcdef01234567").decode()
    signed = f"msg_1.{NOW}.".encode() + BODY
    digest = hmac.digest(b"0123456789abcdef01234567", signed, hashlib.sha256)
    headers = [
        ("svix-id", "msg_1"),
        ("svix-timestamp", str(NOW)),
        ("svix-signature", "v1," + base64.b64encode(digest).decode()),
        ("webhook-id", "msg_2"),
    ]
    outcome = Verification(preset("standard-webhooks")).verify(inbound(*headers), (Secret(f"whsec_{key}"),))
    assert outcome == Verified(0, str(NOW), "msg_1")


def test_details_never_say_what_would_have_passed() -> None:
    outcome = Verification(preset("github")).verify(inbound(("X-Hub-Signature-256", "sha256=00")), SECRETS)
    assert isinstance(outcome, Refused)
    for forbidden in (hexdigest("first", BODY), hexdigest("second", BODY), "first", "second"):
        assert forbidden not in outcome.detail


_HEADER_VALUES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"sha256=", b"t=1,v1=", b"v1,", b"v1a,x v1,y", b"t=1793000000,v1=" + b"0" * 64, b"\xff" * 9]
    ),
)
_NAMES = st.sampled_from(
    [
        b"x-hub-signature-256",
        b"stripe-signature",
        b"webhook-id",
        b"webhook-timestamp",
        b"webhook-signature",
        b"svix-id",
        b"svix-timestamp",
        b"svix-signature",
        b"x-sig",
        b"x-time",
    ]
)


@given(
    recipe=st.sampled_from(["github", "stripe", "standard-webhooks"]),
    headers=st.lists(st.tuples(_NAMES, _HEADER_VALUES), max_size=6),
    body=st.binary(max_size=40),
    query=st.text(max_size=20),
    at=st.floats(allow_nan=False),
    secret=st.text(max_size=8),
)
def test_whatever_the_bytes_a_forged_request_is_not_verified(  # noqa: PLR0913, PLR0917 - one argument per strategy
    recipe: str, headers: list[tuple[bytes, bytes]], body: bytes, query: str, at: float, secret: str
) -> None:
    request = Inbound("POST", "/", query, headers, body, at)
    outcome = Verification(preset(recipe)).verify(request, (Secret(secret),))
    assert outcome is None or isinstance(outcome, Refused)


@given(body=st.binary(min_size=1, max_size=200), place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_one_changed_bit_anywhere_is_refused(body: bytes, place: int, bit: int) -> None:
    request = inbound(("X-Sig", hexdigest("first", body)), body=body)
    assert check(custom(), request) == 0
    changed = bytearray(body)
    changed[place % len(body)] ^= 1 << bit
    assert (
        check(custom(), inbound(("X-Sig", hexdigest("first", body)), body=bytes(changed)))
        == "signature_mismatch"
    )
