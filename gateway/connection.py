"""HTTP/1.1 connections: what comes in pieces becomes exchanges, one after another, each within bounds.

- The head of a request has a largest size and a largest number of fields: 431.
- A request that doesn't come to its end in time is ended: 408. The time grows with the bytes that have
  arrived, so that large bodies may take longer, and a client that trickles may not.
- Bytes that are neither head nor body (trailers, chunk extensions) are bounded by the body's size: 400.
- Bytes between two requests are a request that doesn't arrive: the connection is closed.
- HTTP/1.1 without exactly one Host: 400, as RFC 9112 (3.2) asks.
- A client that closes its writing side behind a request still gets its answer.
- Requests that come before the one ahead of them is answered wait for it; nothing more is read meanwhile.

A request that arrives in one piece starts no timer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, cast

import httptools
from uvicorn.protocols.utils import get_local_addr, get_remote_addr

from gateway import body as request_body
from gateway.exchange import Exchange, scope_of, turn_away
from gateway.parser import Parser
from gateway.problem import CONTENT_TYPE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from gateway.exchange import Application

MAX_HEAD: Final = 64 * 1024
MAX_FIELDS: Final = 200
SECONDS: Final = 30.0
MIN_RATE: Final = 64 * 1024
MOST_HELD: Final = 64 * 1024
"""Bytes of a body that an application doesn't read; then nothing more is taken from the client."""
_NAME: Final = itemgetter(0)
_FRAMING_FACTOR: Final = 8
_IDLE_LOOKS: Final = 8

Refusal = tuple[HTTPStatus, str]
_NO_HTTP: Final = (HTTPStatus.BAD_REQUEST, "The request is no HTTP/1.1.")
_NO_HOST: Final = (HTTPStatus.BAD_REQUEST, "A request of HTTP/1.1 names its Host, once.")
_HEAD_TOO_LARGE: Final = (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The head of the request is too large.")


class HeadError(Exception):
    """The head of a request is over a bound; it ends the parser's work, nothing else sees it."""


class Connection(asyncio.Protocol):
    """One connection of a client.

    Class attributes are the bounds: `seconds` for a request to arrive, to which every `MIN_RATE` bytes add
    one; bytes and fields of a head. `ended_early` is told of every connection that was ended here, with a
    word for the reason.
    """

    seconds = SECONDS
    max_head = MAX_HEAD
    max_fields = MAX_FIELDS
    ended_early: Callable[[str], None] = staticmethod(lambda _reason: None)

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Wait for a client; the arguments are those that uvicorn's server gives."""
        self.loop = _loop or asyncio.get_running_loop()
        self.parser: httptools.HttpRequestParser = Parser(self)
        self.headers: list[tuple[bytes, bytes]] = []
        self.url = b""
        self._config, self._server = config, server_state
        self._surroundings: dict[str, Any] = {"state": app_state}
        self._application = cast("Application", config.loaded_app)
        self.transport: asyncio.Transport
        self._exchange: Exchange | None = None
        self._queue: deque[Exchange] = deque()
        self._paused = False
        self._writable: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._begun = False
        self._open = True  # a connection begins with a request that hasn't arrived
        self._in_head = True
        self._ended = False
        self._received = 0
        self._body_bytes = 0
        self._chunk = self._first_chunk = 0
        self._began = 0.0
        self._refusal: Refusal | None = None
        self._common: tuple[object, bytes] = (None, b"")

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the first request."""
        self.transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)  # type: ignore[arg-type] # the server asks for `shutdown` alone
        self._surroundings["server"] = get_local_addr(self.transport)
        self._surroundings["client"] = get_remote_addr(self.transport)
        self._idle = self.loop.call_later(self._config.timeout_keep_alive, self._look_whether_idle)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the transport's call
        """Tell who reads or answers, and forget the timers."""
        self._server.connections.discard(self)
        self._disarm()
        if self._idle is not None:
            self._idle.cancel()
        for exchange in (self._exchange, *self._queue):
            if exchange is not None and not exchange.complete:
                exchange.lose()
        self._queue.clear()
        self.resume_writing()
        # Nothing that is in a circle may stay behind: the collector seldom comes.
        self._exchange = None
        del self.parser

    def data_received(self, data: bytes) -> None:
        """Parse what came, then see whether the request is complete."""
        if self._ended:
            return
        self._chunk = len(data)
        self._received += self._chunk
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._end(*(self._refusal or _NO_HTTP))
            return
        if self._is_between_requests():
            self._wait_on()
        if not self._open:
            self._disarm()
        elif not self.transport.is_closing():
            self._bound()
            if self._timer is None:
                self._arm()

    def eof_received(self) -> bool:
        """Answer what arrived whole before the client closed its writing side, then close.

        Returns:
            Whether the connection stays until then.
        """
        last = self._queue[-1] if self._queue else self._exchange
        if self._ended or self._open or last is None or last.complete:
            return False
        last.keep_alive = False
        return True

    def pause_writing(self) -> None:
        """Let answers wait: the client takes too slowly."""
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        """Let answers go on."""
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    def shutdown(self) -> None:
        """Close when the request in turn is answered, at once where there is none (uvicorn's call)."""
        if self._exchange is None or self._exchange.complete:
            self.transport.close()
        else:
            self._exchange.keep_alive = False

    # What the parser tells.

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._begun = self._open = self._in_head = True
        self._received = self._body_bytes = 0
        # Its end may be this request's beginning, no one knows how much of it.
        self._first_chunk = self._chunk
        self.url, self.headers = b"", []

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Begin the exchange, unless the head is over a bound."""
        large = self._first_chunk + self._received > self.max_head and self._head_size() > self.max_head
        if large or len(self.headers) > self.max_fields:
            self._refuse(_HEAD_TOO_LARGE)
        parser = self.parser
        if parser.should_upgrade():
            return  # the parser will begin with this request again
        version, names = parser.get_http_version(), list(map(_NAME, self.headers))
        if names.count(b"host") != 1 and version != "1.0":
            self._refuse(_NO_HOST)
        exchange = Exchange(
            self,
            scope_of(parser.get_method(), self.url, version, self.headers, self._surroundings),
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            expects=b"expect" in names and (b"expect", b"100-continue") in self.headers,
        )
        before, self._in_head = self._exchange, False
        self.headers = []  # fields that still come are trailers: they stay out of the head, and are bounded
        if before is None or before.complete:
            self._exchange = exchange
            self._start(exchange)
        else:
            self._pause()
            self._queue.append(exchange)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body, unless the request is answered already."""
        self._body_bytes += len(body)
        exchange = self._arriving()
        if not exchange.complete:
            exchange.add(body)
            if exchange.held > MOST_HELD:
                self._pause()

    def on_message_complete(self) -> None:
        """Note that nothing more of this request is to come."""
        if self.parser.should_upgrade():
            return
        self._open = False
        self._arriving().end()

    # What exchanges ask for.

    @property
    def common(self) -> bytes:
        """The field lines that stand in every answer; the server makes them anew each second."""
        fields = self._server.default_headers
        if self._common[0] is not fields:
            self._common = fields, b"".join(b"%b: %b\r\n" % field for field in fields)
        return self._common[1]

    @property
    def choked(self) -> bool:
        """Whether the client takes more slowly than is written."""
        return self._writable is not None

    async def drain(self) -> None:
        """Wait until the client has taken enough."""
        if self._writable is not None:
            await self._writable.wait()

    def write(self, data: bytes) -> None:
        """Send bytes, unless the client has gone: uvloop raises on a late write."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        """Close, after what was written."""
        self.transport.close()

    def read_on(self) -> None:
        """Take more from the client."""
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def answered(self) -> None:
        """Go on with the request that waits, if there is one."""
        self._server.total_requests += 1
        if self.transport.is_closing():
            return
        self.read_on()
        if self._queue:
            self._exchange = self._queue.popleft()
            self._start(self._exchange)
        else:
            self._idle_since = self.loop.time()

    # Bounds.

    def _start(self, exchange: Exchange) -> None:
        server, most = self._server, self._config.limit_concurrency or 0
        busy = most and (len(server.connections) >= most or len(server.tasks) >= most)
        task = self.loop.create_task(exchange.run(turn_away if busy else self._application), name="exchange")
        server.tasks.add(task)
        task.add_done_callback(server.tasks.discard)

    def _arriving(self) -> Exchange:
        """Return the exchange whose request is coming in."""
        last = self._queue[-1] if self._queue else self._exchange
        if last is None:
            raise AssertionError("a body comes behind its head")
        return last

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def _refuse(self, refusal: Refusal) -> None:
        self._refusal = refusal
        raise HeadError

    def _is_between_requests(self) -> bool:
        """Say whether all requests are answered; what has come then was neither head nor body."""
        if self._open or self._ended or self.transport.is_closing():
            return False
        return self._exchange is not None and self._exchange.complete and not self._queue

    def _wait_on(self) -> None:
        """Wait for a request as at the beginning."""
        self._open = self._in_head = True
        self._begun = False
        self._received, self._body_bytes = self._chunk, 0

    def _look_whether_idle(self) -> None:
        """Close a connection on which nothing has come for long; look again when that could be so."""
        longest = self._config.timeout_keep_alive
        left = longest / _IDLE_LOOKS
        if self._is_between_requests():
            left = self._idle_since + longest - self.loop.time()
            if left <= 0:
                self.transport.close()
                return
        self._idle = self.loop.call_later(left, self._look_whether_idle)

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _bound(self) -> None:
        if self._in_head and self._received > self.max_head:
            self._end(*_HEAD_TOO_LARGE)
        elif self._received - self._body_bytes > MAX_HEAD + _FRAMING_FACTOR * self._body_bytes:
            self._end(HTTPStatus.BAD_REQUEST, "The request has more framing than body.")

    def _arm(self) -> None:
        self._began = self.loop.time()
        self._timer = self.loop.call_later(self.seconds, self._overdue)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _overdue(self) -> None:
        self._timer = None
        left = self._began + self.seconds + self._received / MIN_RATE - self.loop.time()
        if left > 0:
            self._timer = self.loop.call_later(left, self._overdue)
        elif self._begun:
            self._end(HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time.")
        else:
            self.transport.close()

    def _end(self, status: HTTPStatus, detail: str) -> None:
        """Answer with a problem, where the client waits for this answer next, and close."""
        kind = status.phrase.lower().replace(" ", "-")
        self.ended_early(kind)
        self._ended = True
        self._disarm()
        if not self._is_next():
            self.transport.close()
            return
        body = Problem(status, kind, detail).body()
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {CONTENT_TYPE.decode()}\r\n"
        head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.write(head.encode() + body)
        if not self._in_head and self._exchange is not None:
            self._exchange.lose()
        self._linger()

    def _linger(self) -> None:
        """Close after a while in which what still comes is thrown away: see `gateway.body.discard`."""
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._timer = self.loop.call_later(request_body.LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()

    def _is_next(self) -> bool:
        """Say whether bytes written now would be the answer to the request that is arriving."""
        exchange = self._exchange
        if self._queue:
            return False
        if self._in_head:
            return exchange is None or exchange.complete
        return exchange is not None and not exchange.started
