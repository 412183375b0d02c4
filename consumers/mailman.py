"""The mailman's I/O: takes signals from their stream and delivers them into journals."""

from __future__ import annotations

from typing import ClassVar

import orjson

from consumers.role import Role
from tidemill.kernel.errors import BrokerUnavailableError
from tidemill.kernel.jetstream.pull import Delivery
from tidemill.kernel.protocol import mailman
from tidemill.kernel.signals import read_signal


class Mailman(Role):
    """The role that delivers signals."""

    name: ClassVar[str] = "mailman"
    stream: ClassVar[str] = "SIGNALS"

    async def handle(self, delivery: Delivery) -> None:
        """Deliver one signal, and tell whoever waits for it what came of it."""
        signal, reply = read_signal(self.broker.names, delivery.subject, delivery.body, delivery.stream_seq)
        answer = await self.performer.run(mailman.deliver(signal), delivery)
        if reply:
            await self._answer(reply, answer)

    async def _answer(self, reply: str, answer: mailman.Answer) -> None:
        try:
            await self.broker.bus.send(reply, orjson.dumps({"answer": answer}))
        except BrokerUnavailableError:
            return  # the signal is through; only the one who waited for the word doesn't get it
