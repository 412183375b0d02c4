"""What a request must say of itself for its end to be certain, and the answer to one that can't be read."""

from __future__ import annotations

from http import HTTPStatus
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from gateway.problem import CONTENT_TYPE, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

Refusal = tuple[HTTPStatus, str]
NO_HTTP: Final = (HTTPStatus.BAD_REQUEST, "The request is no HTTP/1.1.")
MORE_FRAMING: Final = (HTTPStatus.BAD_REQUEST, "The request has more framing than body.")
HEAD_TOO_LARGE: Final = (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The head of the request is too large.")
NOT_IN_TIME: Final = (HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time.")
_NO_HOST: Final = (HTTPStatus.BAD_REQUEST, "A request of HTTP/1.1 names its Host, once.")
_NO_VERSION: Final = (HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "The versions here are HTTP/1.1 and HTTP/1.0.")
_NO_CODING: Final = (HTTPStatus.NOT_IMPLEMENTED, "The only transfer coding here is chunked, in HTTP/1.1.")
_NAME: Final = itemgetter(0)
_CODING: Final = b"transfer-encoding"
_OLD: Final = "1.0"
_VERSIONS: Final = ("1.1", _OLD)


class HeadError(Exception):
    """The head of a request is refused; it ends the parser's work, nothing else sees it."""


def refusal_of(version: str, fields: Sequence[tuple[bytes, bytes]]) -> Refusal | None:
    """Return why a request with this head isn't taken (RFC 9112, 2.3, 3.2 and 6.1), or None."""
    names = list(map(_NAME, fields))
    if version not in _VERSIONS:
        return _NO_VERSION
    if names.count(b"host") != 1 and version != _OLD:
        return _NO_HOST
    if _CODING in names and (version == _OLD or not _is_chunked(fields)):
        return _NO_CODING
    return None


def head_size(url: bytes, fields: Sequence[tuple[bytes, bytes]]) -> int:
    """Return a head's bytes without its framing."""
    return len(url) + sum(len(name) + len(value) for name, value in fields)


def last_answer(refusal: Refusal, kind: str) -> bytes:
    """Return an answer behind which the connection is closed."""
    status, detail = refusal
    body = Problem(status, kind, detail).body()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {CONTENT_TYPE.decode()}\r\n"
    head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body


def _is_chunked(fields: Sequence[tuple[bytes, bytes]]) -> bool:
    """Say whether chunks are all that a body is coded with."""
    codings = [value for name, value in fields if name == _CODING]
    return len(codings) == 1 and codings[0].strip().lower() == b"chunked"
