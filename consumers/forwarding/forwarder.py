"""The forwarder: the engine's role that posts events to the destinations of the settings."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from consumers.forwarding.destination import Destination
from consumers.forwarding.tasks import ForwardTask
from consumers.worker import Worker
from tidemill.kernel.errors import BrokerError
from tidemill.kernel.services.broker import Broker
from tidemill.kernel.services.destinations import PREFIX, Disabled
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.settings.model import Settings

_SPARE_SECONDS: Final = 1.0
_log = logging.getLogger(__name__)


class Forwarder:
    """Serves one task per destination, on a worker of its own in this process."""

    def __init__(self, broker: Broker, settings: Settings) -> None:
        """Read the destinations.

        Raises:
            SettingsError: an address, a secret or a header can't be used.
        """
        disabled = Disabled(broker.destinations)
        self._broker = broker
        self._destinations = [
            Destination(name, destination, settings.inputs.environ, disabled, settings.way_out())
            for name, destination in settings.destinations.items()
        ]
        self._worker = self._new_worker(settings) if self._destinations else None
        self._stopping = asyncio.Event()

    def _new_worker(self, settings: Settings) -> Worker:
        longest = max(one.settings.timeout for one in self._destinations)
        given = settings.worker.model_copy(
            update={
                # Room for all of each: one that doesn't answer keeps no other one waiting.
                "slots": sum(one.settings.concurrency for one in self._destinations),
                "shutdown_timeout": min(settings.worker.shutdown_timeout, longest + _SPARE_SECONDS),
                "max_memory": None,
            }
        )
        tasks = [ForwardTask(destination) for destination in self._destinations]
        # The settings are what was said last, also when a change was taken back.
        return Worker(self._broker, tasks, given, republish=True)

    async def run(self) -> None:
        """Forward until `stop`."""
        await self._name_the_forgotten()
        if self._worker is None:
            await self._stopping.wait()
            return
        try:
            await self._worker.run(self._stopping)
        finally:
            for destination in self._destinations:
                await destination.close()

    async def stop(self) -> None:
        """Take no more events; requests come to their ends, and what waits for its turn goes back."""
        self._stopping.set()
        if self._worker is not None:
            self._worker.give_back({run for one in self._destinations for run in one.waiting})

    async def _name_the_forgotten(self) -> None:
        """Say which destinations still get runs that nobody executes: no settings have them any more."""
        definitions = Definitions(self._broker.tasks)
        try:
            await definitions.refresh()
        except BrokerError as error:
            _log.warning("forgotten destinations weren't looked for: %s", error.sentence)
            return
        known = {one.name for one in self._destinations}
        for definition in definitions.active():
            name = definition.id.removeprefix(PREFIX)
            if name != definition.id and name not in known:
                _log.warning(
                    "destination %s isn't in the settings, and still gets events: "
                    "`tidemill tasks remove %s%s` ends that",
                    name,
                    PREFIX,
                    name,
                )
