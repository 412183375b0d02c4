"""nats-py's client with its two hot paths written anew: how a message is read, and how one is sent.

nats-py reads with six regular expressions a line and hands each message through a queue to a task of its
subscription, which costs a third of what a worker spends on a run that does nothing. Here a message is found
by its lengths and handed to its handler at once. Everything else (connecting, logging in, reconnecting,
pings, errors) stays with nats-py, whose lines are passed on to it.
"""

from __future__ import annotations

from contextvars import copy_context
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from nats.aio.client import Client
from nats.errors import (
    BadHeaderError,
    BadSubjectError,
    ConnectionClosedError,
    MaxPayloadError,
    OutboundBufferLimitError,
    ProtocolError,
)
from nats.protocol.parser import Parser

from tidemill.kernel.jetstream.message import Message

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from nats.aio.subscription import Subscription as NatsSubscription

_MSG, _HMSG = ord("M"), ord("H")
_WORDS: Final = 4
"""`MSG subject sid size`; a reply subject stands before the size, and a headers' size behind that."""
_END: Final = b"\r\n"
_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_BREAKS: Final = str.maketrans({"\r": " ", "\n": " "})


class Reader(Parser):
    """Reads what the broker sends: messages by itself, all else as nats-py does."""

    def __init__(self, client: WireClient) -> None:
        self._client = client
        super().__init__(client)

    def reset(self) -> None:
        """Forget what was read of a message: another connection begins."""
        super().reset()
        self._kept: list[bytes] = []
        self._lacking = 0

    async def parse(self, data: bytes = b"") -> None:
        """Read what has come, to the last message that is complete.

        Raises:
            ProtocolError: it isn't NATS that is spoken there.
        """
        if self._kept:
            self._kept.append(data)
            self._lacking -= len(data)
            if self._lacking > 0:
                return
            data = b"".join(self._kept)
            self._kept = []
        at = 0
        while at < len(data):
            line = data.find(_END, at)
            if line < 0:
                self._keep(data[at:], 1)
            elif data[at] not in {_MSG, _HMSG}:
                self.buf = bytearray(data[at : line + 2])
                await super().parse()
                at = line + 2
                continue
            else:
                at = await self._read(data, at, line)
            if self._kept:
                return

    async def _read(self, data: bytes, at: int, line: int) -> int:
        """Hand on the message whose first line lies there; return where it ends."""
        words = data[at:line].split()
        body = head = line + 2
        try:
            end = head + int(words[-1])
            if data[at] == _HMSG:
                body += int(words.pop(-2))
            sid, has_reply = int(words[2]), len(words) == _WORDS + 1
        except (ValueError, IndexError) as error:
            raise ProtocolError("nats: malformed message") from error
        if body > end or len(words) < _WORDS:
            raise ProtocolError("nats: malformed message")
        if end + 2 > len(data):
            self._keep(data[at:], end + 2 - len(data))
            return at
        handler = self._client.handlers.get(sid)
        if handler is not None:
            reply = words[3].decode() if has_reply else ""
            message = Message(words[1].decode(), data[body:end], data[head:body], reply)
            try:
                handler(message)
            except Exception as error:  # noqa: BLE001 - one handler's fault is no other's; it is logged
                await self._client._error_cb(error)  # noqa: SLF001 - where nats-py tells it too
        return end + 2

    def _keep(self, rest: bytes, lacking: int) -> None:
        self._kept.append(rest)
        self._lacking = lacking


class WireClient(Client):
    """A client whose messages go to their handlers at once.

    Attributes:
        handlers: who gets the messages of a subscription, by its number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.handlers: dict[int, Callable[[Message], None]] = {}
        self._ps = Reader(self)

    async def listen(
        self, subject: str, handler: Callable[[Message], None], queue: str = ""
    ) -> NatsSubscription:
        """Subscribe; the handler is called for each message, in order, while the broker's bytes are read.

        It sees the context variables of the moment at which it subscribed.
        """
        surroundings = copy_context()

        def handle(message: Message) -> None:
            surroundings.run(handler, message)

        self.handlers[self._sid + 1] = handle  # the number that it gets
        return await self.subscribe(subject, queue=queue)

    def write(
        self, subject: str, body: bytes, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a message with the next turn of the loop.

        Raises:
            BadSubjectError: the subject would break the line.
            BadHeaderError: a header's name isn't a token.
            MaxPayloadError: the broker takes no message of this size.
            ConnectionClosedError: the connection is closed for good.
            OutboundBufferLimitError: it is lost at this time.
        """
        if not subject or _breaks(subject) or _breaks(reply):
            raise BadSubjectError
        head = b"" if headers is None else _head(headers)
        if len(head) + len(body) > self._max_payload:
            raise MaxPayloadError
        if not self.is_connected:
            raise ConnectionClosedError if self.is_closed else OutboundBufferLimitError
        names = f"{subject} {reply}".encode()
        if head:
            line = b"HPUB %b %d %d\r\n%b%b\r\n" % (names, len(head), len(head) + len(body), head, body)
        else:
            line = b"PUB %b %d\r\n%b\r\n" % (names, len(body), body)
        self._pending.append(line)
        self._pending_data_size += len(line)
        if self._flush_queue is not None and self._flush_queue.empty():
            self._flush_soon(self._flush_queue)

    def _flush_soon(self, queue: asyncio.Queue[asyncio.Future[Any]]) -> None:
        """Wake nats-py's flusher; where it has died while the link stands, write at once as nats-py does."""
        flusher, transport = self._flusher_task, self._transport
        if flusher is not None and not flusher.done():
            queue.put_nowait(flusher.get_loop().create_future())
        elif transport is not None:
            pending, self._pending, self._pending_data_size = self._pending, [], 0
            transport.writelines(pending)

    async def _process_pong(self) -> None:
        # nats-py's reader dies of the answer to a ping that nobody awaits any more.
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = self._pongs[0].get_loop().create_future()
        await super()._process_pong()

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self.handlers.pop(sid, None)
        super()._remove_sub(sid, max_msgs)


def _breaks(subject: str) -> bool:
    return " " in subject or "\n" in subject or "\r" in subject or "\t" in subject


def _head(headers: Mapping[str, str]) -> bytes:
    """Write headers as the broker reads them (NATS client protocol, HPUB)."""
    lines = [b"NATS/1.0"]
    for name, value in headers.items():
        lines.append(_named(name) + value.strip().translate(_BREAKS).encode())
    lines.append(_END)
    return _END.join(lines)


@lru_cache(maxsize=256)
def _named(name: str) -> bytes:
    if not name or not _TOKEN.issuperset(name):
        raise BadHeaderError(name)
    return f"{name}: ".encode()
