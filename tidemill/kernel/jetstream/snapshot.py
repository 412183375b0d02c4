"""The newest message of every subject in a stream: one pass of a short-lived consumer."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import orjson

from tidemill.kernel.errors import BrokerError, BrokerUnavailableError
from tidemill.kernel.jetstream import ackreply
from tidemill.kernel.jetstream.records import Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tidemill.kernel.jetstream.bus import Bus, Message

_BATCH: Final = 512
_PATIENCE: Final = 5.0
_FORGOTTEN_AFTER: Final = 60
_NANOSECONDS: Final = 1_000_000_000
# Subjects with new messages during the pass are delivered again: a busy stream mustn't prolong it for ever.
_SURPLUS: Final = 1000


async def last_of_each(
    bus: Bus, stream: str, subject_filter: str, *, headers_only: bool = False
) -> AsyncIterator[Record]:
    """Yield the newest message of each subject of a filter, in the order of their sequences.

    A subject that gets a new message during the pass may be yielded again with it.

    Raises:
        BrokerUnavailableError: the link was lost or nothing came in time; begin again.
    """
    arrivals: asyncio.Queue[Message | None] = asyncio.Queue()
    inbox = bus.new_inbox()
    subscription = await bus.subscribe(inbox, arrivals.put_nowait)

    def lost() -> None:
        arrivals.put_nowait(None)

    bus.on_disconnect(lost)
    consumer = f"pass-{secrets.token_hex(8)}"
    try:
        left = await _create(bus, stream, consumer, subject_filter, headers_only=headers_only)
        limit = 2 * left + _SURPLUS
        while left > 0 and limit > 0:
            async for record, pending in _batch(bus, stream, consumer, inbox, arrivals):
                left = pending
                limit -= 1
                yield record
    finally:
        bus.forget_callback(lost)
        await subscription.stop()
        with suppress(BrokerError):  # the broker forgets it by itself after a minute
            await bus.api(f"CONSUMER.DELETE.{stream}.{consumer}")


async def _create(bus: Bus, stream: str, consumer: str, subject_filter: str, *, headers_only: bool) -> int:
    config = {
        "name": consumer,
        "deliver_policy": "last_per_subject",
        "ack_policy": "none",
        "filter_subject": subject_filter,
        "headers_only": headers_only,
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": _FORGOTTEN_AFTER * _NANOSECONDS,
    }
    answer = await bus.api(
        f"CONSUMER.CREATE.{stream}.{consumer}.{subject_filter}",
        {"stream_name": stream, "config": config, "action": "create"},
    )
    return int(answer["num_pending"])


async def _batch(
    bus: Bus, stream: str, consumer: str, inbox: str, arrivals: asyncio.Queue[Message | None]
) -> AsyncIterator[tuple[Record, int]]:
    """Yield one batch, each message with how many are still to come."""
    ask = {"batch": _BATCH, "expires": int(_PATIENCE * _NANOSECONDS), "no_wait": True}
    await bus.send(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", orjson.dumps(ask), reply=inbox)
    for _ in range(_BATCH):
        try:
            async with asyncio.timeout(_PATIENCE + 1):
                message = await arrivals.get()
        except TimeoutError as error:
            raise BrokerUnavailableError(
                f"{stream}: a pass over its subjects got no answer in time"
            ) from error
        if message is None:
            raise BrokerUnavailableError(f"{stream}: the connection was lost in a pass over its subjects")
        status = (message.headers or {}).get("Status")
        if status in ("404", "408"):
            return
        if status is not None:
            raise BrokerUnavailableError(f"{stream}: a pass over its subjects was ended with status {status}")
        facts = ackreply.parse(message.reply)
        yield (
            Record(message.subject, facts.stream_seq, facts.stored_at, message.body, message.headers),
            facts.pending,
        )
        if facts.pending == 0:
            return
