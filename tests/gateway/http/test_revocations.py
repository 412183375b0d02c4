"""Logins that end on one gateway end on all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.access.revocations import Revocations
from tests.patience import until

if TYPE_CHECKING:
    from conftest import House

pytestmark = pytest.mark.integration


async def test_what_one_gateway_ends_the_others_hear_of(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.access.revocations._POLL_SECONDS", 0.1)  # a hint may come too early
    here, there = Revocations(house.broker.sessions), Revocations(house.broker.sessions)
    following = asyncio.create_task(there.follow())
    await here.end("early", keep=60)
    await until(lambda: there.has_ended("early", "ada", 0.0))
    await here.end("late", keep=60)
    await here.end("late", keep=60)
    await here.end_all("ada lovelace/x", 1000.0)
    await until(
        lambda: there.has_ended("late", "ada", 0.0) and there.has_ended("x", "ada lovelace/x", 1000.0)
    )
    following.cancel()
    assert not there.has_ended("other", "ada", 0.0)
    fresh = Revocations(house.broker.sessions)
    await fresh._refresh()
    assert fresh.has_ended("early", "ada", 0.0)
    assert fresh.has_ended("x", "ada lovelace/x", 1000.0)
    assert not fresh.has_ended("x", "ada lovelace/x", 1000.1)
