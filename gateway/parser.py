"""A parser of requests that takes no notice of `Upgrade`, as RFC 9110 (7.8) lets a server do.

httptools ends with a request that asks for another protocol: its body and all that comes after it on the
connection would be thrown away, without an answer and without a time limit. Java's HTTP client asks for
HTTP/2 with every first request on a plain connection. Such a request is read again as if it hadn't asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import httptools

if TYPE_CHECKING:
    from array import array

_CONNECT: Final = b"CONNECT"


class Reader(Protocol):
    """Whoever is called back: it keeps what it is told of a head, and the parser that tells it."""

    parser: httptools.HttpRequestParser
    url: bytes
    headers: list[tuple[bytes, bytes]]


class Parser(httptools.HttpRequestParser):
    """Calls its reader back, like the parser that it stands for."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader)
        self._reader = reader
        # As uvicorn sets it: what follows a request that closes the connection doesn't spoil its answer.
        self.set_dangerous_leniencies(lenient_data_after_close=True)

    def feed_data(self, data: bytes | bytearray | memoryview[int] | array[int]) -> None:
        """Parse what came.

        Raises:
            HttpParserError: it is no HTTP, or asks for a tunnel.
        """
        parser = self
        while True:
            try:
                super(Parser, parser).feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if parser.get_method() == _CONNECT:
                    raise httptools.HttpParserError("there is no tunnel here") from upgrade
                data = _head_of(self._reader, parser) + bytes(data[upgrade.args[0] :])
                parser = self._reader.parser = Parser(self._reader)
            else:
                return


def _head_of(reader: Reader, parser: Parser) -> bytes:
    """Write the head of the request that ended the parser again, without what it asked for."""
    lines = [b"%s %s HTTP/%s" % (parser.get_method(), reader.url, parser.get_http_version().encode())]
    lines += [b"%s: %s" % field for field in reader.headers if field[0] != b"upgrade"]
    return b"\r\n".join(lines) + b"\r\n\r\n"
