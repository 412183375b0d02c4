"""What runs were started with: by their journals, or by whoever remembers it when those are closed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.frames import unpack
from tidemill.kernel.jetstream.scan import message_at

if TYPE_CHECKING:
    from tidemill.kernel.protocol.records import Created
    from tidemill.kernel.services.broker import Broker


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a run was started with, as far as it is remembered.

    Attributes:
        task: the task's id.
        event: the attributes of the event that started it.
        event_seq: that event's sequence in EVENTS, 0 where there is none.
        tags: the run's.
        raw: its input, None where that isn't remembered as a whole.
        blob: where a large input lies, or lay.
    """

    task: str
    event: dict[str, Any] | None = None
    event_seq: int = 0
    tags: tuple[str, ...] = field(default=())
    raw: bytes | None = None
    blob: str | None = None


class Origins(Protocol):
    """Remembers what runs were started with after their journals have been closed: a history does."""

    async def origin(self, run_id: str) -> Origin:
        """Return what a run was started with.

        Raises:
            NotFoundError: it isn't known here.
            HistoryError: nobody can be asked.
        """


def origin_of(created: Created) -> Origin:
    """Return what a journal says."""
    return Origin(
        task=created.task,
        event=created.event,
        event_seq=created.event_seq,
        tags=created.tags,
        raw=None if created.blob else created.raw,
        blob=created.blob,
    )


async def input_of(broker: Broker, run: str, origin: Origin) -> tuple[dict[str, Any] | None, bytes]:
    """Return the attributes and the whole input that a run is repeated with.

    An event that is still stored is asked before anybody's memory of it.

    Raises:
        NotFoundError: nobody has the input as a whole any more.
        BrokerError: the broker can't be asked.
    """
    if origin.raw is not None:
        return origin.event, origin.raw
    if origin.blob is not None:
        try:
            return origin.event, await broker.blobs.get(origin.blob)
        except NotFoundError:
            pass  # it went with the journal; an event's may lie elsewhere
    if origin.event_seq and (stored := await _stored(broker, origin)) is not None:
        return stored
    raise NotFoundError(
        f"the input of {run} isn't kept as a whole any more",
        hint="replay it with a payload; history.max_body and history.keep_bodies say what is kept",
    )


async def _stored(broker: Broker, origin: Origin) -> tuple[dict[str, Any], bytes] | None:
    """Return an event that EVENTS still has, None where another one, or none, stands in its place."""
    message = await message_at(broker.bus, "EVENTS", origin.event_seq)
    if message is None:
        return None
    facts, raw = unpack(message.body)
    if origin.event is None or facts.get("deliverykey") != origin.event.get("deliverykey"):
        return None
    blob = facts.pop("blob", None)
    try:
        return facts, await broker.blobs.get(blob) if blob else raw
    except NotFoundError:
        return None
