"""One request and its answer on a connection, as ASGI's HTTP messages (specification 2.3).

What an application sends is held to HTTP here: fields that would break the head, and a body of another length
than its head says, are errors of the application. The head leaves with the first piece of the body, in one
write; where the body's length isn't told, an application may be slow to begin it and the head goes ahead.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote

import httptools

from gateway.answer import Answer
from gateway.problem import RETRY_AFTER, UNEXPECTED, Problem

if TYPE_CHECKING:
    from gateway.body import Receive, Send

_log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES: Final = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus}
_FIELDS: Final = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9a-z]+: [^\x00-\x08\x0a-\x1f\x7f]*\r\n)*")
"""Field lines (RFC 9110, 5.1 and 5.5), names in lower case; as many as there are line ends."""
_OF_THE_CONNECTION: Final = frozenset({b"connection", b"transfer-encoding"})
_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT.value, HTTPStatus.NOT_MODIFIED.value})
_GONE: Final = "http.disconnect"


class Channel(Protocol):
    """What an exchange needs of its connection."""

    @property
    def common(self) -> bytes:
        """The field lines that stand in every answer."""

    @property
    def choked(self) -> bool:
        """Whether its client takes more slowly than is written."""

    def write(self, data: bytes) -> None:
        """Send bytes, unless the client has gone."""

    def close(self) -> None:
        """Close, after what was written."""

    def read_on(self) -> None:
        """Take more from the client."""

    async def drain(self) -> None:
        """Wait until the client has taken enough."""

    def answered(self) -> None:
        """Note that the exchange in turn has come to its end."""


class Exchange:
    """A request as an application reads it, and the answer that it sends.

    Attributes:
        scope: of the request.
        keep_alive: whether the connection stays for another one.
        held: bytes of the body that have come and weren't read yet.
        started: whether the application has begun to answer.
        complete: whether it has answered.
        gone: whether the client has gone.
    """

    __slots__ = (
        "_channel", "_chunked", "_event", "_expects", "_fresh", "_head", "_left", "_more", "_pieces",
        "complete", "gone", "held", "keep_alive", "scope", "started",
    )  # fmt: skip

    def __init__(
        self, channel: Channel, scope: MutableMapping[str, Any], *, keep_alive: bool, expects: bool
    ) -> None:
        """Begin with a head that has come; `expects` says that the client waits to be told to go on."""
        self.scope = scope
        self.keep_alive = keep_alive
        self.held = 0
        self.started = self.complete = self.gone = False
        self._channel = channel
        self._expects = expects
        self._pieces: list[bytes] = []
        self._more = True
        self._fresh = False
        self._event: asyncio.Event | None = None
        self._head = b""
        self._left: int | None = None
        self._chunked = False

    def add(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self._pieces.append(piece)
        self.held += len(piece)
        self._wake()

    def end(self) -> None:
        """Take the end of the body."""
        self._more = False
        self._wake()

    def lose(self) -> None:
        """Take that the client has gone."""
        self.gone = True
        self._wake()

    async def run(self, application: Application) -> None:
        """Have an application answer; whatever it does, the client gets an answer or the connection's end."""
        try:
            await application(self.scope, self.receive, self.send)
        except Exception:  # noqa: BLE001 - the last resort: one answer, and the log has the traceback
            _log.exception("%s %s failed", self.scope["method"], self.scope["path"])
        except BaseException:
            self._channel.close()
            raise
        if self.complete or self.gone:
            return
        if self.started and not self._head:
            self._channel.close()  # the answer breaks off: its client must notice
        else:
            self.started = False
            await _FAILED.send(self.send, self.receive)

    async def receive(self) -> Message:
        """Return what of the request has come since the last time, or that it is over (ASGI's `receive`)."""
        if self._expects and not self.gone:
            self._expects = False
            self._channel.write(CONTINUE)
        while not (self._fresh or self.gone or self.complete):
            self._channel.read_on()
            await self._news()
        if self.gone or self.complete:
            return {"type": _GONE}
        self._fresh = False
        body = b"".join(self._pieces)
        self._pieces, self.held = [], 0
        return {"type": "http.request", "body": body, "more_body": self._more}

    async def send(self, message: Message) -> None:
        """Send a part of the answer (ASGI's `send`).

        Raises:
            RuntimeError: it can't be sent: its fields or its length are wrong, or it isn't its turn.
        """
        if self.gone:
            return
        if self._channel.choked:
            await self._channel.drain()
        wanted = "http.response.body" if self.started else "http.response.start"
        if self.complete or message["type"] != wanted:
            raise RuntimeError(f"{message['type']!r} is sent where {wanted!r} was expected")
        if not self.started:
            self._begin(message["status"], message.get("headers", ()))
        elif self.scope["method"] == "HEAD":
            self._send(b"", last=not message.get("more_body"))
        else:
            self._send(message.get("body", b""), last=not message.get("more_body"))

    def _begin(self, status: int, fields: Any) -> None:
        """Write the head of the answer, to be sent with the first piece of its body."""
        length: int | None = None
        lines = []
        for key, value in fields:
            name = key.lower()
            if name == b"content-length":
                length = int(value)
            elif name in _OF_THE_CONNECTION:
                self.keep_alive = self.keep_alive and b"close" not in value.lower()
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        block = b"".join(lines)
        if _FIELDS.fullmatch(block) is None or block.count(b"\r\n") != len(lines):
            raise RuntimeError("a field of the answer's head would break it")
        self.started, self._expects = True, False
        if status in _BODILESS or self.scope["method"] == "HEAD":
            length = 0
        self._left = length
        self._chunked = length is None and self.scope["http_version"] != "1.0"
        framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        closing = b"" if self.keep_alive else b"connection: close\r\n"
        first = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
        self._head = b"".join((first, self._channel.common, block, framing, closing, b"\r\n"))
        if length is None:
            self._write(b"")

    def _send(self, body: bytes, *, last: bool) -> None:
        if self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"0\r\n\r\n" if last else b"")
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (last and self._left):
                raise RuntimeError("the answer has another length than its head says")
        self._write(body)
        if last:
            self.complete = True
            self._wake()
            if not self.keep_alive:
                self._channel.close()
            self._channel.answered()

    def _write(self, body: bytes) -> None:
        head, self._head = self._head, b""
        if head or body:
            self._channel.write(head + body if head else body)

    async def _news(self) -> None:
        if self._event is None:
            self._event = asyncio.Event()
        self._event.clear()
        await self._event.wait()

    def _wake(self) -> None:
        self._fresh = True
        if self._event is not None:
            self._event.set()


_FAILED: Final = Answer.problem(UNEXPECTED, unread=True)
_BUSY: Final = Answer.problem(
    Problem(503, "busy", "There are too many connections at the same time.", headers=(RETRY_AFTER,)),
    unread=True,
)
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


async def turn_away(_scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer that there are too many at the same time, in an application's place."""
    await _BUSY.send(send, receive)


def scope_of(
    method: bytes,
    url: bytes,
    version: str,
    headers: list[tuple[bytes, bytes]],
    surroundings: Mapping[str, Any],
) -> MutableMapping[str, Any]:
    """Return an ASGI scope; `surroundings` holds what is the same for all requests of a connection.

    Raises:
        httptools.HttpParserInvalidURLError: the target isn't one.
        UnicodeDecodeError: it isn't ASCII.
    """
    target = httptools.parse_url(url)
    path = target.path.decode("ascii")
    return {
        "type": "http",
        "asgi": _ASGI,
        "http_version": version,
        "scheme": "http",
        "method": method.decode("ascii"),
        "root_path": "",
        "path": unquote(path) if "%" in path else path,
        "raw_path": target.path,
        "query_string": target.query or b"",
        "headers": headers,
        **surroundings,
        "state": {**surroundings["state"]},
    }
