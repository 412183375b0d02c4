"""HTTP/1.1 connections with bounds that uvicorn's httptools protocol doesn't have.

- The head of a request has a largest size and a largest number of fields: 431.
- A request that doesn't come to its end in time is ended: 408. The time grows with the bytes that have
  arrived, so that large bodies may take longer, and a client that trickles may not.
- Bytes that are neither head nor body (trailers, chunk extensions) are bounded by the body's size: 400.
- Bytes between two requests are a request that doesn't arrive: the connection is closed.
- HTTP/1.1 without exactly one Host: 400, as RFC 9112 (3.2) asks.
- A client that closes its writing side behind a request still gets its answer.

A request that arrives in one piece starts no timer.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway import body as request_body
from gateway.parser import Parser
from gateway.problem import CONTENT_TYPE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEAD: Final = 64 * 1024
MAX_FIELDS: Final = 200
SECONDS: Final = 30.0
MIN_RATE: Final = 64 * 1024
_NAME: Final = itemgetter(0)
_FRAMING_FACTOR: Final = 8

Refusal = tuple[HTTPStatus, str]
_NO_HOST: Final = (HTTPStatus.BAD_REQUEST, "A request of HTTP/1.1 names its Host, once.")
_HEAD_TOO_LARGE: Final = (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The head of the request is too large.")


class Coalesced:
    """A transport that sends all that is written in one turn of the loop at once.

    uvicorn writes the head of an answer and its body apart, and uvloop makes a system call of each.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._call_soon = loop.call_soon
        self._pieces: list[bytes] = []
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info
        self.can_write_eof = transport.can_write_eof
        self.abort = transport.abort

    def write(self, data: bytes) -> None:
        """Write with what else is written in this turn."""
        if not self._pieces:
            self._call_soon(self.flush)
        self._pieces.append(data)

    def flush(self) -> None:
        """Write now, unless the client has gone meanwhile."""
        pieces, self._pieces = self._pieces, []
        if pieces and not self.is_closing():
            self._transport.write(b"".join(pieces))

    def write_eof(self) -> None:
        """Close the writing side, after what was written."""
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Close, after what was written."""
        self.flush()
        self._transport.close()


class HeadError(Exception):
    """The head of a request is over a bound; it ends the parser's work, nothing else sees it."""


class Connection(HttpToolsProtocol):
    """One connection of a client.

    Class attributes are the bounds: `seconds` for a request to arrive, to which every `MIN_RATE` bytes add
    one; bytes and fields of a head. `ended_early` is told of every connection that was ended here, with a
    word for the reason.
    """

    seconds = SECONDS
    max_head = MAX_HEAD
    max_fields = MAX_FIELDS
    ended_early: Callable[[str], None] = staticmethod(lambda _reason: None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser = Parser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._begun = False
        self._open = True  # a connection begins with a request that hasn't arrived
        self._in_head = True
        self._ended = False
        self._received = 0
        self._body_bytes = 0
        self._chunk = self._first_chunk = 0
        self._began = 0.0
        self._refusal: Refusal | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Start to wait for the first request."""
        super().connection_made(cast("asyncio.Transport", Coalesced(transport, self.loop)))
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer with the connection."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, then see whether the request is complete."""
        if self._ended:
            return
        self._chunk = len(data)
        self._received += self._chunk
        super().data_received(data)
        if self._is_between_requests():
            self._wait_on()
        if not self._open:
            self._disarm()
        elif not self.transport.is_closing():
            self._bound()
            if self._timer is None:
                self._arm()

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn's gives nothing, which closes
        """Answer what arrived whole before the client closed its writing side, then close.

        Returns:
            Whether the connection stays until then.
        """
        cycle: RequestResponseCycle | None = self.pipeline[0][0] if self.pipeline else self.cycle
        if self._ended or self._open or cycle is None or cycle.response_complete:
            return False
        cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._begun = self._open = self._in_head = True
        self._received = self._body_bytes = 0
        self._first_chunk = (
            self._chunk
        )  # its end may be this request's beginning, no one knows how much of it
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start the application, unless the head is over a bound."""
        large = self._first_chunk + self._received > self.max_head and self._head_size() > self.max_head
        if large or len(self.headers) > self.max_fields:
            self._refusal = _HEAD_TOO_LARGE
            raise HeadError
        if self.parser.should_upgrade():
            return  # the parser will begin with this request again
        if list(map(_NAME, self.headers)).count(b"host") != 1 and self._needs_host():
            self._refusal = _NO_HOST
            raise HeadError
        super().on_headers_complete()
        self._in_head = False
        self.headers = []  # fields that still come are trailers: they stay out of the head, and are bounded

    def on_body(self, body: bytes) -> None:
        """Count the body's bytes."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that nothing more of this request is to come."""
        if self.parser.should_upgrade():
            return
        self._open = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what can't be parsed, or is over a bound, and close."""
        self._end(*(self._refusal or (HTTPStatus.BAD_REQUEST, msg)))

    def _is_between_requests(self) -> bool:
        """Say whether all requests are answered; what has come then was neither head nor body."""
        if self._open or self._ended or self.transport.is_closing():
            return False
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and cycle.response_complete and not self.pipeline

    def _wait_on(self) -> None:
        """Wait for a request as at the beginning: uvicorn has just forgotten its keep-alive time-out."""
        self._open = self._in_head = True
        self._begun = False
        self._received, self._body_bytes = self._chunk, 0

    def _needs_host(self) -> bool:
        """Say whether the version of the request demands it; later ones of HTTP/1 are read as 1.1."""
        return self.parser.get_http_version() != "1.0"

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
        self.transport.write(head.encode() + body)
        if not self._in_head:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
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
        cycle: RequestResponseCycle | None = self.cycle
        if self.pipeline:
            return False
        if self._in_head:
            return cycle is None or cycle.response_complete
        return cycle is not None and not cycle.response_started
