"""Addresses, verdicts, the breaker and the pace, each by itself."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from email.utils import format_datetime
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.forwarding import pace
from consumers.forwarding.breaker import Breaker
from consumers.forwarding.pace import Pace
from consumers.forwarding.verdict import LONGEST_WAIT, retry_after
from tests.clock import Clock
from tidemill.kernel import clock
from tidemill.kernel.addresses import is_public, parse_address

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
OTHERS = [
    *("127.0.0.1", "127.255.255.255", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
    *("100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "::7f00:1"),
    *(
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001::1",
    ),
]


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", OTHERS)
def test_addresses_that_arent_public(text: str) -> None:
    assert not is_public(ip_address(text))


@given(st.ip_addresses())
def test_every_address_is_one_or_the_other(address: object) -> None:
    parsed = parse_address(str(address))
    assert parsed == address
    assert is_public(parsed) in (True, False)


def test_a_scope_is_no_part_of_an_address() -> None:
    found = parse_address("fe80::1%eth0")
    assert found is not None
    assert not is_public(found)
    assert parse_address("example.com") is None


@given(st.none() | st.text())
def test_whatever_stands_in_retry_after_is_a_bounded_time_or_none(text: str | None) -> None:
    found = retry_after(text)
    assert found is None or 0 <= found <= LONGEST_WAIT


def test_retry_after_may_be_a_date() -> None:
    soon = format_datetime(clock.now() + timedelta(seconds=60), usegmt=True)
    found = retry_after(soon)
    assert found is not None
    assert 50 <= found <= 61
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after("Wed, 21 Oct 9999 07:28:00 GMT") == LONGEST_WAIT


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.leave(tried=await breaker.enter(), worked=False)


async def test_failures_in_a_row_open_it_and_one_success_between_them_doesnt() -> None:
    breaker = Breaker(3, 30, Clock())
    await fail(breaker, 2)
    breaker.leave(tried=await breaker.enter(), worked=True)
    await fail(breaker, 2)
    assert not breaker.is_open
    await fail(breaker, 1)
    assert breaker.is_open


@pytest.mark.parametrize("worked", [True, False, None])
async def test_behind_the_pause_one_tries_and_what_comes_of_it_decides(*, worked: bool | None) -> None:
    clock = Clock()
    breaker = Breaker(1, 0.01, clock)
    await fail(breaker, 1)
    waiting = [asyncio.create_task(breaker.enter()) for _ in range(3)]
    await asyncio.sleep(0.03)
    assert not any(task.done() for task in waiting), "the pause isn't over by its clock"
    clock.now += 1
    done, rest = await asyncio.wait(waiting, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    await settle()
    assert [task.result() for task in done] == [True]
    breaker.leave(tried=True, worked=worked)
    await settle()
    ready = [task for task in rest if task.done()]
    if worked:
        assert [task.result() for task in ready] == [False, False]
    elif worked is None:
        assert [task.result() for task in ready] == [True], "the next one tries"
    else:
        assert ready == []
        assert breaker.is_open
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


async def test_who_came_before_it_opened_neither_closes_nor_prolongs_it_by_failing() -> None:
    clock = Clock()
    breaker = Breaker(1, 10, clock)
    early = await breaker.enter()
    await fail(breaker, 1)
    clock.now += 9
    breaker.leave(tried=early, worked=False)
    clock.now += 1
    assert await asyncio.wait_for(breaker.enter(), 20)


async def test_a_pace_is_even(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(pace.asyncio, "sleep", sleep)
    steady = Pace(0.001)
    for _ in range(3):
        await steady.keep()
    assert [round(one / 1000, 1) for one in slept] == [1.0, 2.0]
    await Pace(None).keep()
    assert len(slept) == 2
