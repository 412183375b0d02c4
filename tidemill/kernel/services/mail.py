"""Sending a run mail from outside, and waiting a moment for what the mailman says of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import orjson

from tidemill.kernel.jetstream.blobs import INLINE_LIMIT
from tidemill.kernel.protocol.records import Item
from tidemill.kernel.signals import write_item

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill.kernel.jetstream.bus import Message
    from tidemill.kernel.services.broker import Broker

ANSWER_SECONDS: Final = 2.0
"""How long a sender waits for the mailman before its mail counts as merely queued."""
MOST_BYTES: Final = 32 * 1024 * 1024
"""Largest data of a signal or a token."""


async def ask_mailman(
    broker: Broker, run: str, body: Callable[[str], bytes], *, within: float = ANSWER_SECONDS
) -> str:
    """Store mail for a run, and return the mailman's answer to it.

    `body` makes the message out of the subject on which the answer is waited for. Returns `done`, `gone`
    (no such run, or it has ended), `refused` (its state doesn't allow it) or `queued`: the mail is stored and
    will be delivered, the mailman just hasn't answered yet.

    Raises:
        BrokerError: the mail wasn't stored, or it is unknown whether it was.
    """
    answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def arrived(message: Message) -> None:
        if not answered.done():
            answered.set_result(str(orjson.loads(message.body)["answer"]))

    inbox = broker.bus.new_inbox()
    subscription = await broker.bus.subscribe(inbox, arrived)
    try:
        await broker.bus.publish(broker.names.signal(run), body(inbox))
        async with asyncio.timeout(within):
            return await answered
    except TimeoutError:
        return "queued"
    finally:
        await subscription.stop()


async def bring(broker: Broker, run: str, item: Item, content: bytes) -> str:
    """Send an item whose data are JSON text, through a blob of the run's where they are large.

    Raises:
        BrokerError: it wasn't stored, or it is unknown whether it was.
    """
    facts = {name: getattr(item, name) for name in ("id", "box", "who", "ok", "at")}
    if len(content) > INLINE_LIMIT:
        facts["blob"] = await broker.blobs.put(run, content)
    else:
        facts["data"] = orjson.Fragment(content)
    return await ask_mailman(broker, run, lambda reply: write_item(Item(**facts), reply))
