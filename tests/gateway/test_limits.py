"""Clients' addresses behind proxies, and the gates of sources."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clients import Clients, Networks, parse_address, site_of
from gateway.limits import MAX_CLIENTS, Gate, Limits, gate_of
from gateway.problem import Problem
from tests.clock import Clock

PROXIES = ("10.0.0.0/8", "2001:db8::/32")


def scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return {"client": (peer, 4711) if peer else None, "headers": [(b"host", b"x"), *headers]}


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.7", (), "203.0.113.7"),
        ("203.0.113.7", ("198.51.100.1",), "203.0.113.7"),
        ("10.1.1.1", (), "10.1.1.1"),
        ("10.1.1.1", ("198.51.100.1",), "198.51.100.1"),
        ("10.1.1.1", ("6.6.6.6, 198.51.100.1",), "198.51.100.1"),
        ("10.1.1.1", ("6.6.6.6", "198.51.100.1"), "198.51.100.1"),
        ("10.1.1.1", ("198.51.100.1, 10.2.2.2",), "198.51.100.1"),
        ("10.1.1.1", ("10.3.3.3, 10.2.2.2",), "10.3.3.3"),
        ("10.1.1.1", ("198.51.100.1:1234",), "198.51.100.1"),
        ("10.1.1.1", ("[2001:470::1]:1234",), "2001:470::1"),
        ("10.1.1.1", ("::ffff:198.51.100.1",), "198.51.100.1"),
        ("2001:db8::5", ("2001:470::1",), "2001:470::1"),
        ("::ffff:10.1.1.1", ("198.51.100.1",), "198.51.100.1"),
        ("10.1.1.1", ("unknown",), "10.1.1.1"),
        ("10.1.1.1", ("6.6.6.6, nonsense, 10.2.2.2",), "10.2.2.2"),
        ("10.1.1.1", ("\xff\xfe",), "10.1.1.1"),
        ("10.1.1.1", (",,,",), "10.1.1.1"),
        ("10.1.1.1", (", ".join(["10.9.9.9"] * 5000),), "10.9.9.9"),
        (None, ("198.51.100.1",), "unknown"),
    ],
)
def test_a_forwarded_address_counts_behind_trusted_proxies_alone(
    peer: str | None, forwarded: tuple[str, ...], client: str
) -> None:
    assert Clients(PROXIES).address(scope(peer, *forwarded)) == client
    assert Clients().address(scope(peer, *forwarded)) == (peer or "unknown")


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=100))
def test_whatever_is_forwarded_an_address_comes_out(header: str) -> None:
    assert parse_address(Clients(PROXIES).address(scope("10.1.1.1", header))) is not None


def test_an_ipv6_client_is_its_network() -> None:
    assert site_of("2001:470:1:2:aaaa::1") == site_of("2001:470:1:2:bbbb::2") == "2001:470:1:2::/64"
    assert site_of("203.0.113.7") == site_of("::ffff:203.0.113.7").removeprefix("::ffff:")
    assert site_of("unknown") == "unknown"


def test_networks_hold_addresses_however_they_are_written() -> None:
    networks = Networks(("192.0.2.0/24", "2001:db8::1"))
    assert "192.0.2.9" in networks
    assert "::ffff:192.0.2.9" in networks
    assert "2001:db8::1" in networks
    assert "2001:db8::2" not in networks
    assert "unknown" not in networks


def after(problem: Problem | None) -> tuple[int, str, int]:
    assert problem is not None
    return problem.status, problem.kind, int(dict(problem.headers)[b"retry-after"])


def test_a_rate_lets_a_second_s_worth_pass_and_then_so_many_a_second() -> None:
    clock = Clock()
    gate = Gate(Limits(rate=5), clock)
    assert [gate.enter("a") for _ in range(5)] == [None] * 5
    assert after(gate.enter("b")) == (429, "rate", 1)
    clock.now += 0.2
    assert gate.enter("a") is None
    assert after(gate.enter("a"))[0] == 429
    clock.now += 1000
    assert [gate.enter("a") for _ in range(6)].count(None) == 5


def test_a_rate_below_one_says_when_to_come_again() -> None:
    clock = Clock()
    gate = Gate(Limits(rate=0.1), clock)
    assert gate.enter("a") is None
    assert after(gate.enter("a")) == (429, "rate", 10)
    clock.now += 10
    assert gate.enter("a") is None


def test_clients_have_rates_of_their_own() -> None:
    gate = Gate(Limits(client_rate=1), Clock())
    assert gate.enter("203.0.113.7") is None
    assert after(gate.enter("203.0.113.7"))[:2] == (429, "rate")
    assert gate.enter("203.0.113.8") is None
    assert gate.enter("2001:470::1") is None
    assert gate.enter("2001:470::2") is not None


def test_what_is_known_of_clients_is_bounded() -> None:
    gate = Gate(Limits(client_rate=1), Clock())
    for number in range(MAX_CLIENTS + 500):
        gate.enter(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(gate._clients) == MAX_CLIENTS


def test_so_many_at_the_same_time_and_no_more() -> None:
    gate = Gate(Limits(concurrency=2), Clock())
    assert [gate.enter("a"), gate.enter("b")] == [None, None]
    assert after(gate.enter("a")) == (429, "concurrency", 1)
    gate.leave()
    assert gate.enter("a") is None


def test_only_some_networks_may_send() -> None:
    gate = Gate(Limits(networks=("192.0.2.0/24",)), Clock())
    assert gate.enter("192.0.2.1") is None
    refused = gate.enter("203.0.113.7")
    assert refused is not None
    assert (refused.status, refused.kind) == (403, "network")
    assert gate.enter("unknown") is not None


def test_without_limits_there_is_no_gate() -> None:
    assert gate_of(Limits()) is None
    assert gate_of(Limits(rate=1)) is not None
