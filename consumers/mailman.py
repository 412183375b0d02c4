"""The mailman's I/O: takes signals from their stream and delivers them into journals."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import ClassVar, Final

import orjson

from consumers.role import Role
from tidemill.kernel.errors import BrokerUnavailableError
from tidemill.kernel.jetstream.pull import Delivery
from tidemill.kernel.protocol import mailman
from tidemill.kernel.protocol.records import Item
from tidemill.kernel.protocol.state import State
from tidemill.kernel.services.broker import Broker
from tidemill.kernel.signals import read_item, read_signal

_MOST_BYTES: Final = 512 * 1024
_MOST_KNOWN: Final = 16


@dataclass(slots=True)
class Post:
    """Items for one run that are to be delivered together, with the messages that brought them."""

    items: list[Item] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    through: asyncio.Future[mailman.Answer] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    size: int = 0

    @property
    def subject(self) -> str:
        """Where they came from."""
        return self.deliveries[0].subject

    async def ack(self) -> None:
        """Acknowledge all of them."""
        for delivery in self.deliveries:
            await delivery.ack()

    async def nak(self, delay: float | None = None) -> None:
        """Give all of them back."""
        for delivery in self.deliveries:
            await delivery.nak(delay)


class Mailman(Role):
    """The role that delivers signals; what comes for a run meanwhile is delivered in one piece."""

    name: ClassVar[str] = "mailman"
    stream: ClassVar[str] = "SIGNALS"

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self._posts: dict[str, list[Post]] = {}
        self._known: OrderedDict[str, State] = OrderedDict()

    async def handle(self, delivery: Delivery) -> None:
        """Deliver one signal, and tell whoever waits for it what came of it."""
        news = read_item(delivery.body)
        if news is not None:
            item, reply = news
            answer = await self._bring(self.broker.names.tokens(delivery.subject)[1], item, delivery)
        else:
            names = self.broker.names
            signal, reply = read_signal(names, delivery.subject, delivery.body, delivery.stream_seq)
            answer = await self.performer.run(mailman.deliver(signal), delivery)
        if reply:
            await self._answer(reply, answer)

    async def _bring(self, run: str, item: Item, delivery: Delivery) -> mailman.Answer:
        """Bring an item together with those that come for its run while the ones before are under way."""
        posts = self._posts.get(run)
        carrier = posts is None
        if posts is None:
            posts = self._posts[run] = []
        if not posts or posts[-1].size > _MOST_BYTES:
            posts.append(Post())
        post = posts[-1]
        post.items.append(item)
        post.deliveries.append(delivery)
        post.size += len(delivery.body)
        if carrier:
            await self._carry(run, posts)
        return await post.through

    async def _carry(self, run: str, posts: list[Post]) -> None:
        try:
            while posts:
                post = posts.pop(0)
                try:
                    post.through.set_result(await self._deliver(run, post))
                except BaseException as error:
                    post.through.set_exception(error)
                    post.through.exception()  # there may be nobody beside the carrier
                    raise
        finally:
            del self._posts[run]
            for post in posts:  # their messages come again
                post.through.cancel()

    async def _deliver(self, run: str, post: Post) -> mailman.Answer:
        known = self._known.pop(run, None)
        answer, state = await self.performer.run(mailman.bring(run, post.items, known), post)
        if answer == "done":
            self._known[run] = state
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return answer

    async def _answer(self, reply: str, answer: mailman.Answer) -> None:
        try:
            await self.broker.bus.send(reply, orjson.dumps({"answer": answer}))
        except BrokerUnavailableError:
            return  # the signal is through; only the one who waited for the word doesn't get it
