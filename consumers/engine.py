"""The engine: its roles in one process, as many of them as are wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from consumers.alerts.role import Alerting
from consumers.closer import Closer
from consumers.forwarding.forwarder import Forwarder
from consumers.history.gate import HistoryGate
from consumers.history.role import History
from consumers.listener import Listener
from consumers.mailman import Mailman
from consumers.role import Role
from consumers.router import Router
from consumers.scheduler import Scheduler
from consumers.sweeper import Sweeper
from tidemill.kernel.protocol.closer import Keeping
from tidemill.kernel.services.broker import Broker
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.settings.model import Settings


class Engine:
    """Moves runs along without executing them."""

    def __init__(self, broker: Broker, settings: Settings, roles: Collection[str]) -> None:
        self._definitions = Definitions(broker.tasks)
        keeping = Keeping(journal=settings.journal.keep, tombstone=settings.journal.tombstone)
        gate = HistoryGate(broker.history, keeping, settings.history.patience)
        self.roles: list[Role | Listener | Closer | Sweeper | History | Forwarder | Alerting] = []
        if "router" in roles:
            self.roles.append(Router(broker, self._definitions))
        if "mailman" in roles:
            self.roles.append(Mailman(broker))
        if "listener" in roles:
            self.roles.append(Listener(broker))
        if "closer" in roles:
            self.roles.append(Closer(broker, keeping, gate))
        if "sweeper" in roles:
            self.roles.append(Sweeper(broker, keeping, gate))
        if "scheduler" in roles:
            self.roles.append(Scheduler(broker, self._definitions))
        if "history" in roles:
            self.roles.append(History(broker, settings))
        if "forwarder" in roles:
            self.roles.append(Forwarder(broker, settings))
        if "alerts" in roles:
            self.roles.append(Alerting(broker, settings))

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set; a role that dies takes the engine with it."""
        await self._definitions.refresh()
        async with asyncio.TaskGroup() as group:
            for role in self.roles:
                group.create_task(role.run(), name=type(role).__name__.lower())
            group.create_task(self._definitions.follow(stopping), name="follow the definitions")
            await stopping.wait()
            await asyncio.gather(*(role.stop() for role in self.roles))
