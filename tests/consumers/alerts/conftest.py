"""An engine that evaluates alerts, with channels that lead to receivers on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from consumers.alerts.role import Alerting
from consumers.alerts.state import AlertState
from tests.consumers.conftest import until
from tests.consumers.forwarding.conftest import Receiver, answer, certificate, http, receiver, secret
from tidemill.kernel.frames import pack
from tidemill.kernel.services.alerts import STATE, Alerts
from tidemill.kernel.settings.model import Settings

if TYPE_CHECKING:
    from tests.consumers.conftest import Mill

__all__ = ["Receiver", "Watch", "answer", "certificate", "http", "receiver", "secret", "watch"]
QUICK: dict[str, Any] = {"interval": 0.1, "group_wait": 0.2, "group_interval": 0.2, "timeout": 2}


class Watch:
    """Alerts of a namespace of the file's broker."""

    def __init__(self, mill: Mill, receiver: Receiver) -> None:
        self.mill = mill
        self.receiver = receiver
        self.alerts = Alerts(mill.broker.alerts)
        self.letters = 0

    def settings(self, **given: Any) -> Settings:
        hook = {"url": self.receiver.url, "allow_private": True}
        table = {**QUICK, "webhook": {"ops": hook}, **given.pop("alerts", {})}
        return Settings.load(environ={}, overrides={"alerts": table, **given})

    @asynccontextmanager
    async def running(
        self, settings: Settings | None = None, *, stale: float = 20.0
    ) -> AsyncIterator[Alerting]:
        """Run the role until the end of the block, from the moment at which it evaluates."""
        role = Alerting(self.mill.broker, settings or self.settings(), stale=stale)
        before = await self.state()
        running = asyncio.create_task(role.run(), name="alerts under test")
        try:
            await self.until(lambda state: state.setup and state.holder != before.holder)
            yield role
        finally:
            await role.stop()
            await asyncio.wait_for(running, 20)

    async def state(self) -> AlertState:
        found = await self.mill.broker.alerts.get(STATE)
        return AlertState.unpack(found.value) if found is not None else AlertState()

    async def until(self, condition: Callable[[AlertState], Any]) -> AlertState:
        """Wait until what is known is as it has to be; a broker that is away comes back."""

        async def look() -> AlertState | None:
            state = await self.state()
            return state if condition(state) else None

        found: AlertState = await until(look)
        return found

    async def bury(self, task: str, *, error: str = "it leaks", run: str = "", raw: bytes = b"{}") -> None:
        """Leave a dead letter, as a worker does."""
        self.letters += 1
        run = run or f"run_{self.letters:026d}"
        facts = {"run": run, "task": task, "outcome": "failed"}
        attempts = [{"type": "ValueError", "message": error, "traceback": "secret frames"}]
        body = pack({**facts, "attempts": attempts, "event": None, "blob": None, "seq": 3}, raw)
        subject, headers = self.mill.names.dead(task, run), {"Nats-Msg-Id": run}
        await until(lambda: self.mill.broker.bus.publish(subject, body, headers=headers))


@pytest.fixture
def watch(mill: Mill, receiver: Receiver) -> Watch:
    return Watch(mill, receiver)
