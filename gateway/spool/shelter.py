"""The spool of a gateway process, as its settings want it: its parts, their tasks, and what is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.spool.drain import Drain
from gateway.spool.log import SegmentLog
from gateway.spool.spool import Spool
from tidemill.kernel.services.windows import Windows

if TYPE_CHECKING:
    import asyncio

    from gateway.metrics import Metrics
    from gateway.publisher import Publisher
    from gateway.recorder import Recorder
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.settings.model import Settings


class Shelter:
    """Where deliveries go while the broker is away; without a spool in the settings there is no such place.

    Nor is there one where it isn't `wanted`: in a process that takes no deliveries.

    Attributes:
        spool: takes them, None where the settings want none.

    Raises:
        SettingsError: the spool's folder can't be used, or another gateway uses it.
    """

    def __init__(  # noqa: PLR0913 - what deliveries pass on their way
        self,
        settings: Settings,
        broker: Broker,
        publisher: Publisher,
        recorder: Recorder,
        metrics: Metrics,
        *,
        wanted: bool = True,
    ) -> None:
        self.spool: Spool | None = None
        size, folder = settings.gateway.spool, settings.gateway.spool_dir
        if size is None or not wanted:
            return
        self.spool = Spool(SegmentLog(folder or settings.nats.data_dir / "spool", size))
        windows = Windows(broker.windows)
        drain = Drain(self.spool, publisher, recorder, windows, lambda: broker.bus.connected)
        self._drain = drain
        metrics.spool = lambda: _facts(drain.spool, drain)

    def follow(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Start to write and to drain."""
        if self.spool is None:
            return []
        return [
            group.create_task(self.spool.run(), name="spool"),
            group.create_task(self._drain.run(), name="spool-drain"),
        ]

    def close(self) -> None:
        """Let the disk go; what is held stays there."""
        if self.spool is not None:
            self.spool.close()


def _facts(spool: Spool, drain: Drain) -> dict[str, Any]:
    """Return what is told of a spool."""
    return {
        "records": spool.records,
        "bytes": spool.size,
        "limit": spool.limit,
        "oldest_seconds": round(spool.age, 3),
        "taken": spool.taken,
        "drained": drain.drained,
        "set_aside": drain.apart,
    }
