"""Headers that a request lists as signed, and older versions of a scheme that aren't taken."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

import pytest

from gateway.inbound import Inbound
from gateway.recipes.presets import preset
from gateway.recipes.verify import Verification
from gateway.verdict import Refused
from tidemill.kernel.settings.secrets import Secret

NOW: Final = 1_793_000_000
BODY: Final = b'{"a": 1}'


def check(name: str, headers: dict[str, str]) -> str:
    raw = [(key.lower().encode(), value.encode()) for key, value in headers.items()]
    outcome = Verification(preset(name)).verify(Inbound("POST", "/w", "", raw, BODY, NOW), (Secret("key"),))
    if outcome is None:
        return "none"
    return outcome.check if isinstance(outcome, Refused) else "accepted"


def digest(signed: str) -> str:
    return hmac.new(b"key", signed.encode() + BODY, hashlib.sha256).hexdigest()


def hook0(names: str, values: str, **headers: str) -> str:
    code = digest(f"{NOW}.{names}.{values}.")
    return check("hook0", {"X-Hook0-Signature": f"t={NOW},h={names},v1={code}", **headers})


def test_listed_headers_are_signed_by_their_values_in_the_order_of_the_list() -> None:
    assert hook0("x-b x-a", "2.1", **{"x-a": "1", "x-b": "2"}) == "accepted"
    assert hook0("x-b x-a", "1.2", **{"x-a": "1", "x-b": "2"}) == "signature_mismatch"
    assert hook0("x-b x-a", "2.", **{"x-b": "2"}) == "signed_part_missing"
    assert hook0("", "", **{"x-a": "1"}) == "signed_part_missing"
    many = " ".join(f"x-{number}" for number in range(65))
    present = dict.fromkeys(many.split(), "1")
    assert hook0(many, ".".join("1" * 65), **present) == "signed_part_missing"


def test_a_signature_of_an_older_version_is_not_taken() -> None:
    older = hmac.new(b"key", f"{NOW}.".encode() + BODY, hashlib.sha256).hexdigest()
    assert check("hook0", {"X-Hook0-Signature": f"t={NOW},v0={older}"}) == "algorithm_unknown"
    assert check("stripe", {"Stripe-Signature": f"t={NOW},v0={older}"}) == "algorithm_unknown"
    assert check("circleci", {"circleci-signature": f"v0={older}"}) == "algorithm_unknown"
    sha1 = hmac.new(b"key", BODY, "sha1").hexdigest()
    assert check("github", {"X-Hub-Signature": f"sha1={sha1}"}) == "none"
    plain = hashlib.sha256(b"key" + BODY).hexdigest()
    assert check("hubspot", {"X-HubSpot-Signature": plain}) == "none"


@pytest.mark.parametrize(
    ("listed", "outcome"),
    [
        ("x-contentful-signed-headers,x-contentful-timestamp,x-a", "accepted"),
        ("x-contentful-signed-headers,x-a", "signed_part_missing"),
        ("x-contentful-timestamp,x-missing", "signed_part_missing"),
    ],
)
def test_the_time_has_to_be_among_the_listed_headers(listed: str, outcome: str) -> None:
    headers = {
        "x-contentful-signed-headers": listed,
        "x-contentful-timestamp": str(NOW * 1000),
        "x-a": "1",
    }
    pairs = ";".join(f"{name}:{headers[name]}" for name in sorted(listed.split(",")) if name in headers)
    assert (
        check("contentful", {**headers, "x-contentful-signature": digest(f"POST\n/w\n{pairs}\n")}) == outcome
    )


def test_docusign_s_numbered_headers_are_all_looked_at() -> None:

    good = base64.b64encode(hmac.digest(b"key", BODY, "sha256")).decode()
    headers = {"X-DocuSign-Signature-1": "A" * 44, "X-DocuSign-Signature-2": good}
    assert check("docusign", headers) == "accepted"
    assert check("docusign", {"X-DocuSign-Signature-1": "A" * 44}) == "signature_mismatch"
