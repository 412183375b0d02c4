"""Fetching keys: what is refused, and that nothing takes long or much."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from gateway.keys import https
from gateway.keys.https import MAX_BYTES, HttpsFetch
from gateway.keys.places import Ask, FetchError, PinnedUrls
from gateway.recipes.vendors import paypal, sns

if TYPE_CHECKING:
    from tests.gateway.keys.key_server import Authority, KeyServer


def resolver(*addresses: str) -> Any:
    async def found(host: str, port: int) -> list[str]:
        assert host
        assert port
        return list(addresses)

    return found


async def test_a_document_comes_over_tls_under_the_host_s_name(
    key_server: KeyServer, fetch: HttpsFetch
) -> None:
    key_server.put("/jwks.json", b'{"keys":[]}')
    reply = await fetch(Ask(key_server.url(), "POST", {"X-A": "b"}, b"body"))
    assert (reply.status, reply.body) == (200, b'{"keys":[]}')
    assert f"host: keys.example.com:{key_server.port}" in key_server.heads[0].lower()
    assert key_server.bodies == [b"body"]
    assert (await fetch(Ask(key_server.url("/other")))).status == 404


async def test_a_redirection_isn_t_followed(key_server: KeyServer, fetch: HttpsFetch) -> None:
    key_server.put("/jwks.json", b"", 302, location=key_server.url("/other"))
    assert (await fetch(Ask(key_server.url()))).status == 302
    assert key_server.asked == ["/jwks.json"]


@pytest.mark.parametrize(
    "url", ["http://keys.example.com/", "https://u:p@keys.example.com/", "ftp://k/", "x"]
)
async def test_only_https_is_asked(url: str, fetch: HttpsFetch) -> None:
    with pytest.raises(FetchError):
        await fetch(Ask(url))


async def test_a_server_that_nobody_vouches_for_is_refused(
    key_server: KeyServer, authority: Authority, fetch: HttpsFetch
) -> None:
    key_server.put("/jwks.json", b"{}")
    with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
        await HttpsFetch(None, resolver("127.0.0.1"), inside=True)(Ask(key_server.url()))
    with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
        await fetch(Ask(key_server.url().replace("keys.", "other.")))
    assert authority.client.check_hostname
    assert key_server.asked == []


async def test_large_and_compressed_answers_are_cut_off(key_server: KeyServer, fetch: HttpsFetch) -> None:
    key_server.put("/jwks.json", b"x" * (MAX_BYTES + 1))
    with pytest.raises(FetchError, match="larger"):
        await fetch(Ask(key_server.url()))
    key_server.put("/jwks.json", b"x" * 10, content_encoding="gzip")
    with pytest.raises(FetchError, match="compressed"):
        await fetch(Ask(key_server.url()))


async def test_a_server_that_doesn_t_answer_costs_a_bounded_time(
    key_server: KeyServer, fetch: HttpsFetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "SECONDS", 0.05)
    key_server.gate = asyncio.Event()
    with pytest.raises(FetchError):
        await fetch(Ask(key_server.url()))


async def test_nobody_listens(authority: Authority) -> None:
    fetch = HttpsFetch(authority.client, resolver("127.0.0.1", "127.0.0.1"), inside=True)
    with pytest.raises(FetchError, match="Connect"):
        await fetch(Ask("https://keys.example.com:1/jwks.json"))
    with pytest.raises(FetchError, match="leads nowhere"):
        await HttpsFetch(authority.client, resolver(), inside=True)(Ask("https://keys.example.com/"))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *(
            "::1",
            "fe80::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "224.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
        ),
    ],
)
async def test_addresses_inside_of_networks_are_refused(address: str, key_server: KeyServer) -> None:
    for addresses in ((address,), ("10.0.0.1", address)):
        with pytest.raises(FetchError, match="inside of a network"):
            await HttpsFetch(resolve=resolver(*addresses))(Ask(key_server.url()))
    assert key_server.asked == []


async def test_an_address_of_the_operator_s_may_be_inside(
    key_server: KeyServer, authority: Authority
) -> None:
    key_server.put("/jwks.json", b"{}")
    fetch = HttpsFetch(authority.client, resolver("127.0.0.1"))
    assert (await fetch(Ask(key_server.url(), public=False))).status == 200


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
async def test_public_addresses_are_asked_and_none_beside_them(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def connect(self: httpcore.AnyIOBackend, host: str, port: int, *_: Any) -> Any:
        assert self
        assert port == 443
        asked.append(host)
        raise httpcore.ConnectError("not really")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    with pytest.raises(FetchError, match="not really"):
        await HttpsFetch(resolve=resolver("10.0.0.1", address))(Ask("https://keys.example.com/"))
    assert [ip_address(one) for one in asked] == [ip_address(address)]


@pytest.mark.parametrize(
    ("pinned", "good"),
    [
        (
            paypal.CERTIFICATES,
            "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77",
        ),
        (paypal.CERTIFICATES, "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594"),
        (
            sns.CERTIFICATES,
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b2c3d4e5f6071.pem",
        ),
        (
            sns.CERTIFICATES,
            "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-0a1b2c3d4e.pem",
        ),
    ],
)
def test_only_the_provider_s_own_addresses_are_let_in(pinned: PinnedUrls, good: str) -> None:
    assert pinned.allows(good)
    host, _, path = good.removeprefix("https://").partition("/")
    for bad in (
        good.replace("https", "http"),
        good.upper(),
        f"https://{host}.evil.example/{path}",
        f"https://{host}@evil.example/{path}",
        f"https://evil.example/{host}/{path}",
        f"https://{host}:8443/{path}",
        f"https://{host}/../{path}",
        f"https://{host}/x/{path}",
        f"https://evil{host}/{path}",
        f"https://evil.example#{host}/{path}",
        f"{good}?next=https://evil.example",
        f"{good}#x",
        f"{good}\n",
        f" {good}",
        f"{good}%00",
        f"https://{host}\\@evil.example/{path}",
        good.replace("a", "\u0430").replace("s", "\u0455"),
        good + "a" * 2000,
        "",
        "https://",
    ):
        assert not pinned.allows(bad), bad
