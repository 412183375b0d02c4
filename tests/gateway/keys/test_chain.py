"""Chains of fetched certificates: roots, intermediates that come along or are fetched, names, times."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.keys.chain import CertificatePlace, Trust, UntrustedError
from gateway.keys.places import Ask, FetchError, Reply
from gateway.keys.ring import EMPTY
from gateway.recipes.vendors.paypal import names_of as paypal_names
from gateway.recipes.vendors.sns import names_of
from tests.gateway.keys.key_server import certificate, rsa_key

NAME: Final = "sns.amazonaws.com"
KEYS: Final = [ec.generate_private_key(ec.SECP256R1()) for _ in range(4)]
LEAF_KEY: Final = rsa_key("leaf")
AT: Final = "http://crt.authority.example/middle.cer"
ABOVE: Final = "http://crt.authority.example/upper.cer"
ROOT: Final = certificate(KEYS[0], name="Root")
UPPER: Final = certificate(KEYS[1], name="Upper", issuer=(KEYS[0], ROOT.subject), authority=True)
MIDDLE: Final = certificate(
    KEYS[2], name="Middle", issuer=(KEYS[1], UPPER.subject), authority=True, issuer_at=ABOVE
)
LEAF: Final = certificate(LEAF_KEY, name=NAME, issuer=(KEYS[2], MIDDLE.subject), issuer_at=AT)
TRUST: Final = Trust([ROOT])


def der(one: x509.Certificate) -> bytes:
    return one.public_bytes(serialization.Encoding.DER)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


@dataclass
class Web:
    answers: dict[str, bytes] = field(default_factory=dict)
    asked: list[Ask] = field(default_factory=list)

    async def __call__(self, ask: Ask) -> Reply:
        self.asked.append(ask)
        found = self.answers.get(ask.url)
        return Reply(404, b"") if found is None else Reply(200, found)


async def check(
    web: Web, *found: x509.Certificate, names: tuple[str, ...] = (NAME,), after: float = 0.0
) -> None:
    await TRUST.check(found, names, web, time.time() + after)


async def test_certificates_between_come_along_in_any_order() -> None:
    web = Web()
    await check(web, LEAF, MIDDLE, UPPER)
    await check(web, LEAF, UPPER, MIDDLE)
    await check(web, LEAF, ROOT, UPPER, MIDDLE)
    assert web.asked == []


async def test_those_that_are_missing_are_fetched_where_each_says_from_public_hosts() -> None:
    web = Web({AT: der(MIDDLE), ABOVE: pem(UPPER)})
    await check(web, LEAF)
    assert [(ask.url, ask.public, ask.plain) for ask in web.asked] == [(AT, True, True), (ABOVE, True, True)]
    await check(web, LEAF, MIDDLE)
    assert len(web.asked) == 3


@pytest.mark.parametrize("answers", [{}, {AT: b"<html>"}, {AT: b""}])
async def test_one_that_cannot_be_fetched_says_nothing_about_the_certificate(
    answers: dict[str, bytes],
) -> None:
    with pytest.raises(FetchError, match=r"middle\.cer is no issuer"):
        await check(Web(answers), LEAF)


async def test_no_more_are_fetched_than_a_chain_needs() -> None:
    looped = certificate(LEAF_KEY, name=NAME, issuer=(KEYS[3], UPPER.subject), issuer_at=AT)
    web = Web({AT: der(looped)})
    with pytest.raises(UntrustedError):
        await check(web, looped)
    assert len(web.asked) <= 2


@pytest.mark.parametrize("address", ["ftp://a.example/x", "http://a.example:22/x", "file:///etc/passwd", "x"])
async def test_only_web_addresses_are_asked(address: str) -> None:
    leaf = certificate(LEAF_KEY, name=NAME, issuer=(KEYS[2], MIDDLE.subject), issuer_at=address)
    web = Web()
    with pytest.raises(UntrustedError):
        await check(web, leaf)
    assert web.asked == []


async def test_a_name_a_time_and_an_authority_all_count() -> None:
    web = Web()
    for options in (
        {"names": ("sns.evil.example",)},
        {"names": ()},
        {"after": 3 * 86400.0},
        {"after": -3 * 86400.0},
    ):
        given: dict[str, Any] = options
        with pytest.raises(UntrustedError, match=r"CN=sns\.amazonaws\.com"):
            await check(web, LEAF, MIDDLE, UPPER, **given)
    await check(web, LEAF, MIDDLE, UPPER, names=("sns.evil.example", NAME))
    with pytest.raises(UntrustedError):
        await Trust().check([LEAF, MIDDLE, UPPER, ROOT], (NAME,), web, time.time())


async def test_a_place_has_the_key_of_a_certificate_that_counts(caplog: pytest.LogCaptureFixture) -> None:
    url = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b2c3d.pem"
    web = Web({url: pem(LEAF, MIDDLE, UPPER)})
    (key,) = await CertificatePlace(url, "sns", (NAME,), TRUST).load(web)
    assert key.raw == LEAF_KEY.public_key()
    assert await CertificatePlace(url, "sns", ("other.example",), TRUST).load(web) == EMPTY
    assert "doesn't count" in caplog.text


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("sns.eu-west-1.amazonaws.com", "sns.amazonaws.com"),
        ("sns.ap-east-1.amazonaws.com", "sns-signing.ap-east-1.amazonaws.com"),
        ("sns.mx-central-1.amazonaws.com", "sns-signing.mx-central-1.amazonaws.com"),
        ("sns.cn-north-1.amazonaws.com.cn", "sns-cn-north-1.amazonaws.com.cn"),
        ("sns.us-gov-east-1.amazonaws.com", "sns-us-gov-west-1.amazonaws.com"),
    ],
)
def test_names_are_those_that_aws_checks(host: str, name: str) -> None:
    """The names are those of `SnsHostProviderTest` in AWS's SDK for Java 2."""
    assert name in names_of(host)
    assert not any("evil" in one for one in names_of(host))


def test_a_sandbox_s_certificate_counts_for_nobody_else() -> None:
    assert paypal_names("api.paypal.com") == ("messageverificationcerts.paypal.com",)
    assert "messageverificationcerts.sandbox.paypal.com" in paypal_names("api-m.sandbox.paypal.com")


async def test_the_usual_authorities_are_many() -> None:
    real = Trust()
    with pytest.raises(UntrustedError):
        await real.check([ROOT], ("Root",), Web(), time.time())
