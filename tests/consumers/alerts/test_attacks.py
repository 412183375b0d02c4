"""Clocks that jump, brokers that die, secrets that are gone: none of it makes an alert, or keeps one back."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from consumers.alerts.store import Store
from tidemill.kernel.services.alerts import STATE

if TYPE_CHECKING:
    from tests.consumers.alerts.conftest import Receiver, Watch

pytestmark = pytest.mark.integration


async def test_a_clock_that_jumps_makes_nobody_alert(
    watch: Watch, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = {"silent": {"kind": "source_silent", "threshold": "1h"}, "run_failed": {"kind": "run_failed"}}
    sources = {"shop": {"preset": "github", "secrets": ["x"]}}
    settings = watch.settings(alerts={"rules": rules, "defaults": False}, sources=sources)
    actual = time.time
    async with watch.running(settings) as role:
        before = role.now()
        for jump in (86_400.0, -86_400.0):
            monkeypatch.setattr(time, "time", lambda jump=jump: actual() + jump)
            await watch.bury(f"after {jump}")
            await watch.until(
                lambda state, jump=jump: any(one.key == f"after {jump}" for one in state.alerts)
            )
            assert 0 <= role.now() - before < 60
        await receiver.wait_for(1)
        state = await watch.until(lambda state: not state.outbox)
    assert {alert.rule for alert in state.alerts} == {"run_failed"}


async def test_a_successor_whose_clock_is_behind_goes_on_as_if_it_were_not(watch: Watch) -> None:
    async with watch.running():
        await watch.bury("deploy")
        state = await watch.until(lambda state: state.alerts and state.alerts[0].told_at)
    state.released, ahead = True, 3600.0
    state.shift(ahead)
    alert, times = state.alerts[0], state.channels["ops"].times
    await watch.mill.broker.alerts.put(STATE, state.pack())
    taken = await Store(watch.mill.broker.alerts).take(asyncio.Event())
    assert taken is not None
    assert taken.clock <= time.time()
    told_at, told_before = taken.alerts[0].told_at, alert.told_at
    assert told_at is not None
    assert told_before is not None
    assert told_before - told_at == pytest.approx(ahead, abs=30)
    assert taken.channels["ops"].times[0] == pytest.approx(times[0] - (told_before - told_at), abs=0.01)


async def test_a_secret_that_is_gone_is_the_channels_problem_alone(watch: Watch, receiver: Receiver) -> None:
    slack = {"chat": {"url": "env:GONE"}}
    hook = {
        "ops": {"url": receiver.url, "allow_private": True},
        "signed": {"url": receiver.url, "secrets": ["x"]},
    }
    async with watch.running(watch.settings(alerts={"slack": slack, "webhook": hook})):
        await watch.bury("deploy")
        await receiver.wait_for(1)
        state = await watch.until(
            lambda state: sum(bool(one.problem) for one in state.channels.values()) == 2
        )
    assert "there is no variable GONE" in state.channels["chat"].problem
    assert "no secret of Standard Webhooks" in state.channels["signed"].problem


async def test_an_address_that_is_not_public_is_refused(watch: Watch, receiver: Receiver) -> None:
    async with watch.running(watch.settings(alerts={"webhook": {"ops": {"url": receiver.url}}})):
        await watch.bury("deploy")
        state = await watch.until(lambda state: "ops" in state.channels and state.channels["ops"].failed)
    assert "isn't public" in state.channels["ops"].problem
    assert (receiver.received, state.sent[-1].outcome) == ([], "failed")


@pytest.mark.crash
async def test_a_broker_that_is_killed_keeps_nothing_back(
    own_broker: Any, watch: Watch, receiver: Receiver
) -> None:
    async with watch.running():
        for number in range(3):
            await watch.bury(f"task{number}")
            own_broker.kill()
            own_broker.start()
        await watch.bury("last")
        state = await watch.until(
            lambda state: (
                len(state.alerts) == 4 and all(one.told_at for one in state.alerts) and not state.outbox
            )
        )
    assert sorted(alert.total for alert in state.alerts) == [1, 1, 1, 1]
    ids = [request.headers["webhook-id"] for request in receiver.received]
    assert len(ids) - len(set(ids)) <= 3
