"""A process of its own that evaluates alerts until it is killed; its argument is the settings file."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from consumers.alerts.role import Alerting
from tidemill.kernel.services.broker import open_broker
from tidemill.kernel.settings.model import Settings


async def main(file: Path) -> None:
    settings = Settings.load(file, {})
    async with open_broker(settings, name="alerts") as broker:
        await Alerting(broker, settings, stale=0.8).run()


asyncio.run(main(Path(sys.argv[1])))
