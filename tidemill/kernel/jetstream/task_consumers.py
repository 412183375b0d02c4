"""The consumers of tasks: each hands out a task's tickets, as many at once as may execute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidemill.kernel.jetstream.reconcile import SECOND, Change, ConsumerSpec, reconcile_consumer
from tidemill.kernel.jetstream.topology import OPEN_PULLS, UNLIMITED

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus

# A pause needs a moment at which it would end by itself.
_FOR_EVER: Final = "2200-01-01T00:00:00Z"


async def ensure_task_consumer(
    bus: Bus, task: str, *, limit: int | None, ack_wait: float = 12.0, paused: bool = False
) -> Change | None:
    """Create a task's consumer, or change its limit alone, and tell what was done.

    `limit` is the cluster-wide number of the task's runs that execute at once, None for no limit. Work that
    runs out of `ack_wait` seconds without a renewal goes to another worker. One that is made `paused` hands
    out nothing from the first moment on; one that is there is left as it is: an update can't change that.
    """
    config = {"max_ack_pending": limit or UNLIMITED}
    initial = {
        "ack_policy": "explicit",
        "ack_wait": int(ack_wait * SECOND),
        "max_deliver": UNLIMITED,
        "filter_subject": bus.names.tickets_of(task),
        "max_waiting": OPEN_PULLS,
        **({"pause_until": _FOR_EVER} if paused else {}),
    }
    spec = ConsumerSpec(bus.names.stream("TICKETS"), bus.names.consumer_of(task), config, initial)
    changes = await reconcile_consumer(bus, spec, dry=False)
    return changes[0] if changes else None


async def limit_consumer(bus: Bus, task: str, *, limit: int | None) -> None:
    """Change how many of a task's runs execute at once, None for no limit.

    Raises:
        BrokerError: it has no consumer, or the broker is away.
    """
    config = {"max_ack_pending": limit or UNLIMITED}
    spec = ConsumerSpec(bus.names.stream("TICKETS"), bus.names.consumer_of(task), config)
    await reconcile_consumer(bus, spec, dry=False)


async def pause_consumer(bus: Bus, task: str, *, paused: bool) -> None:
    """Let a task's consumer hand out nothing, or go on.

    Raises:
        BrokerError: it has no consumer, or the broker is away.
    """
    operation = f"CONSUMER.PAUSE.{bus.names.stream('TICKETS')}.{bus.names.consumer_of(task)}"
    await bus.api(operation, {"pause_until": _FOR_EVER} if paused else {})


async def has_task_consumer(bus: Bus, task: str) -> bool:
    """Say whether a task has a consumer already."""
    spec = ConsumerSpec(bus.names.stream("TICKETS"), bus.names.consumer_of(task), {})
    return not await reconcile_consumer(bus, spec, dry=True)
