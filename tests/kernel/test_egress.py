"""Which hosts are reached through a proxy."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.egress import DIRECT, Egress, Proxy
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.model import Settings

PROXY: Final = Proxy("proxy.example", 3128)


def through(host: str, *no_proxy: str, port: int = 443, scheme: str = "https") -> bool:
    return Egress((("https", PROXY),), no_proxy).proxy_for(scheme, host, port) is not None


@pytest.mark.parametrize(
    ("entry", "covered", "others"),
    [
        (
            "example.com",
            ("example.com", "A.Example.COM", "example.com."),
            ("anexample.com", "example.com.evil"),
        ),
        (".example.com", ("example.com", "a.b.example.com"), ("badexample.com",)),
        ("*.example.com", ("a.example.com",), ("example.org",)),
        ("*", ("example.com", "8.8.8.8", "2606:4700::1111"), ()),
        ("8.8.8.0/24", ("8.8.8.8",), ("8.8.9.8", "example.com")),
        ("8.8.8.8", ("8.8.8.8",), ("8.8.8.9",)),
        ("[2606:4700::1]", ("2606:4700::1", "[2606:4700::1]"), ("2606:4700::2",)),
        ("2606:4700::/32", ("2606:4700::1",), ("2607::1",)),
        ("example.com:443", ("example.com",), ("example.org",)),
        ("example.com:8443", (), ("example.com",)),
        ("[2606:4700::1]:443", ("2606:4700::1",), ()),
        (" example.com ", ("example.com",), ()),
        ("", (), ("example.com", "8.8.8.8")),
        ("com", ("example.com",), ("8.8.8.8",)),
    ],
)
def test_what_no_proxy_covers(entry: str, covered: tuple[str, ...], others: tuple[str, ...]) -> None:
    assert not any(through(host, "other.example", entry) for host in covered)
    assert all(through(host, "other.example", entry) for host in others)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]"]
)
def test_this_machine_is_asked_directly(host: str) -> None:
    assert not through(host)


def test_other_schemes_are_asked_directly() -> None:
    assert through("example.com")
    assert not through("example.com", scheme="http")
    assert DIRECT.proxy_for("https", "example.com", 443) is None


@given(st.text(), st.text(), st.integers(0, 70000))
def test_whatever_stands_there_is_read(entry: str, host: str, port: int) -> None:
    Egress((("https", PROXY),), (entry,)).proxy_for("https", host, port)


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.example:3128", PROXY),
        ("proxy.example:3128/", PROXY),
        ("http://proxy.example", Proxy("proxy.example", 80)),
        ("https://proxy.example", Proxy("proxy.example", 443, secure=True)),
        ("http://[2001:db8::1]:3128", Proxy("2001:db8::1", 3128)),
        (
            "http://ada:p%40ss@proxy.example:3128",
            Proxy("proxy.example", 3128, authorization="Basic YWRhOnBAc3M="),
        ),
    ],
)
def test_addresses_of_proxies(text: str, proxy: Proxy) -> None:
    found = Proxy.parse(text)
    assert found == proxy
    assert "YWRh" not in repr(found)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "socks5://a:1",
        "http://",
        "http://a:b:c",
        "http://a/path",
        "http://a?x",
        "http://a b",
        "a:1:2",
        "\x00",
    ],
)
def test_what_is_no_address_of_a_proxy(text: str) -> None:
    with pytest.raises(ValueError, match="not the address"):
        Proxy.parse(text)


def egress(environ: dict[str, str] | None = None, **table: Any) -> Egress:
    return Settings.load(environ=environ or {}, overrides={"egress": table}).way_out()


def test_settings_win_over_variables() -> None:
    environ = {
        "HTTPS_PROXY": "http://a.example:1",
        "http_proxy": "b.example:2",
        "NO_PROXY": "x.example,y.example",
    }
    found = egress(environ)
    assert dict(found.proxies) == {"https": Proxy("a.example", 1), "http": Proxy("b.example", 2)}
    assert (found.no_proxy, found.by_name) == (("x.example", "y.example"), False)
    assert egress(environ, proxy="none").proxies == ()
    own = egress(environ, proxy="http://own.example:3", no_proxy=["z.example"], names="proxy")
    assert dict(own.proxies) == dict.fromkeys(("http", "https"), Proxy("own.example", 3))
    assert (own.no_proxy, own.by_name) == (("z.example",), True)
    assert egress({"ALL_PROXY": "c.example:4"}).proxy_for("https", "d.example", 443) == Proxy("c.example", 4)
    secret = egress({"P": "http://u:p@own.example:3"}, proxy="env:P").proxies[0][1]
    assert secret.authorization is not None
    assert egress().proxies == ()


def test_wrong_addresses_are_named() -> None:
    with pytest.raises(SettingsError, match=r"egress\.proxy"):
        egress(proxy="socks5://a.example:1")
    with pytest.raises(SettingsError, match="HTTPS_PROXY: not the address"):
        egress({"HTTPS_PROXY": "socks5://a.example:1"})
    with pytest.raises(SettingsError, match=r"egress\.proxy: not the address"):
        egress({"P": "x y"}, proxy="env:P")
