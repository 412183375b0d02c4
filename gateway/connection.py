"""HTTP/1.1 connections: what comes in pieces becomes exchanges, one after another, each within bounds.

- The head of a request has a largest size and a largest number of fields: 431.
- A request that doesn't come to its end in time is ended: 408. The time grows with the bytes that have
  arrived, so that large bodies may take longer, and a client that trickles may not.
- Bytes that are neither head nor body (trailers, chunk extensions) are bounded by the body's size: 400.
- Bytes between two requests are a request that doesn't arrive: the connection is closed.
- HTTP/1.1 without exactly one Host: 400, as RFC 9112 (3.2) asks.
- A client that closes its writing side behind a request still gets its answer.
- Requests that come before the one ahead of them is answered wait for it; meanwhile nothing more is read,
  and of what was read only the first piece is parsed.
- A client that takes nothing of its answers for as long as an idle connection stays is cut off.
- A body that is coded in another way than in chunks: 501, as RFC 9112 (6.1) asks.

A request that arrives in one piece starts no timer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

import httptools
from uvicorn.protocols.utils import get_local_addr, get_remote_addr

from gateway import body as request_body
from gateway import framing
from gateway.exchange import Exchange, scope_of, turn_away
from gateway.outflow import Outflow
from gateway.parser import Parser

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
PIECE: Final = 16 * 1024
"""Bytes that are parsed at once: a request in them that has to wait may take a hundred times its bytes."""
_FRAMING_FACTOR: Final = 8
_IDLE_LOOKS: Final = 8


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
        self._outflow: Outflow
        self._exchange: Exchange | None = None
        self._queue: deque[Exchange] = deque()
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._rest = memoryview(b"")
        self._begun = False
        self._open = True  # a connection begins with a request that hasn't arrived
        self._in_head = True
        self._ended = False
        self._received = 0
        self._body_bytes = 0
        self._chunk = self._first_chunk = 0
        self._began = 0.0
        self._refusal: framing.Refusal | None = None

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the first request."""
        self.transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)  # type: ignore[arg-type] # the server asks for `shutdown` alone
        self._surroundings["server"] = get_local_addr(self.transport)
        self._surroundings["client"] = get_remote_addr(self.transport)
        self._outflow = Outflow(self.transport, self.loop.time())
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
        self._rest = memoryview(b"")
        self._outflow.resume()
        # Nothing that is in a circle may stay behind: the collector seldom comes.
        self._exchange = None
        del self.parser

    def data_received(self, data: bytes) -> None:
        """Parse what came, then see whether the request is complete."""
        if self._ended:
            return
        if self._rest or len(data) > PIECE:
            self._rest = memoryview(bytes(self._rest) + data if self._rest else data)
            self._parse_on()
        else:
            self._parse(data)
        self._look_at_the_last()

    def _parse_on(self) -> None:
        """Parse what is left, until a request has to wait."""
        while self._rest and not self._queue and not self._ended:
            piece, self._rest = self._rest[:PIECE], self._rest[PIECE:]
            self._parse(piece)

    def _parse(self, data: bytes | memoryview[int]) -> None:
        self._chunk = len(data)
        self._received += self._chunk
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._end(self._refusal or framing.NO_HTTP)

    def _look_at_the_last(self) -> None:
        """See whether the last request that has begun is complete, and within bounds."""
        if self._ended:
            return
        if self._is_between_requests():
            # Wait for a request as at the beginning.
            self._open, self._in_head, self._begun = True, True, False
            self._received, self._body_bytes = self._chunk, 0
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
        self._outflow.pause()

    def resume_writing(self) -> None:
        """Let answers go on."""
        self._outflow.resume()

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
        """Take a field of the head; trailers are left out."""
        if self._in_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Begin the exchange, unless the head is over a bound."""
        fits = self._first_chunk + self._received <= self.max_head
        fits = fits or framing.head_size(self.url, self.headers) <= self.max_head
        if not fits or len(self.headers) > self.max_fields:
            self._refusal = framing.HEAD_TOO_LARGE
            raise framing.HeadError
        parser = self.parser
        if parser.should_upgrade():
            return  # the parser will begin with this request again
        version = parser.get_http_version()
        self._refusal = framing.refusal_of(version, self.headers)
        if self._refusal is not None:
            raise framing.HeadError
        exchange = Exchange(
            self,
            scope_of(parser.get_method(), self.url, version, self.headers, self._surroundings),
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            expects=(b"expect", b"100-continue") in self.headers,
        )
        before, self._in_head = self._exchange, False
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
        return self._outflow.lines(self._server.default_headers)

    @property
    def choked(self) -> bool:
        """Whether the client takes more slowly than is written."""
        return self._outflow.choked

    async def drain(self) -> None:
        """Wait until the client has taken enough."""
        await self._outflow.drain()

    def write(self, data: bytes) -> None:
        """Send bytes, unless the client has gone."""
        self._outflow.write(data)

    def close(self) -> None:
        """Close, after what was written."""
        self.transport.close()

    def read_on(self) -> None:
        """Take more from the client, unless a request waits already."""
        if self._paused and not self._queue and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    def answered(self) -> None:
        """Go on with the request that waits, if there is one."""
        self._server.total_requests += 1
        if self.transport.is_closing():
            return
        if self._queue:
            self._exchange = self._queue.popleft()
            self._start(self._exchange)
        else:
            self._idle_since = self.loop.time()
        if self._rest:
            self._parse_on()
            self._look_at_the_last()
        self.read_on()

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

    def _is_between_requests(self) -> bool:
        """Say whether all requests are answered; what has come then was neither head nor body."""
        if self._open or self._ended or self.transport.is_closing():
            return False
        return self._exchange is not None and self._exchange.complete and not self._queue

    def _look_whether_idle(self) -> None:
        """Close a connection on which nothing has come or gone for long; look again when that could be so."""
        longest, now = self._config.timeout_keep_alive, self.loop.time()
        left, waited = longest / _IDLE_LOOKS, self._outflow.waited(now)
        if waited is not None and waited >= longest:
            self.ended_early("not-taken")
            self.transport.abort()
            return
        if waited is None and self._is_between_requests():
            left = self._idle_since + longest - now
            if left <= 0:
                self.transport.close()
                return
        self._idle = self.loop.call_later(left, self._look_whether_idle)

    def _bound(self) -> None:
        if self._in_head and self._received > self.max_head:
            self._end(framing.HEAD_TOO_LARGE)
        elif self._received - self._body_bytes > MAX_HEAD + _FRAMING_FACTOR * self._body_bytes:
            self._end(framing.MORE_FRAMING)

    def _arm(self) -> None:
        self._began = self.loop.time()
        self._timer = self.loop.call_later(self.seconds, self._overdue)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _overdue(self) -> None:
        self._timer = None
        if self._paused:
            self._began = self.loop.time()  # it is not the client who is slow
        left = self._began + self.seconds + self._received / MIN_RATE - self.loop.time()
        if left > 0:
            self._timer = self.loop.call_later(left, self._overdue)
        elif self._begun:
            self._end(framing.NOT_IN_TIME)
        else:
            self.transport.close()

    def _end(self, refusal: framing.Refusal) -> None:
        """Answer with a problem, where the client waits for this answer next, and close."""
        kind = refusal[0].phrase.lower().replace(" ", "-")
        self.ended_early(kind)
        self._ended = True
        self._rest = memoryview(b"")
        self._disarm()
        if not self._is_next():
            self.transport.close()
            return
        self._outflow.write(framing.last_answer(refusal, kind))
        if not self._in_head and self._exchange is not None:
            self._exchange.lose()
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        # What still comes is thrown away for a while: see `gateway.body.discard`.
        self.transport.write_eof()
        self._timer = self.loop.call_later(request_body.LINGER_SECONDS, self.transport.close)

    def _is_next(self) -> bool:
        """Say whether bytes written now would be the answer to the request that is arriving."""
        exchange = self._exchange
        if self._queue:
            return False
        if self._in_head:
            return exchange is None or exchange.complete
        return exchange is not None and not exchange.started
