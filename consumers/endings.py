"""Notes to the closer about runs that have ended, many in one message: a hint, which may get lost."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from tidemill.kernel.errors import BrokerError
from tidemill.kernel.marks import write_note
from tidemill.kernel.services.broker import Broker

_EVERY_SECONDS: Final = 0.05
_MOST_IN_ONE: Final = 1000
_log = logging.getLogger(__name__)


async def report_endings(broker: Broker, stopping: asyncio.Event) -> None:
    """Tell the closer of the ends that this process has written, until `stopping` is set."""
    subject, marks = broker.names.subject("ended"), broker.performer.endings
    while not stopping.is_set() or marks:
        batch = [marks.popleft() for _ in range(min(_MOST_IN_ONE, len(marks)))]
        if batch:
            try:
                await broker.bus.send(subject, write_note(batch))
            except BrokerError as error:
                _log.debug("%d ends are left to the sweeper: %s", len(batch), error.sentence)
        else:
            await asyncio.sleep(_EVERY_SECONDS)
