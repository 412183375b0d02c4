"""Answers as plain ASGI messages: what the hot path sends instead of Starlette's responses."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from starlette.responses import Response

from gateway.body import discard
from gateway.problem import CONTENT_TYPE, Headers, Problem

if TYPE_CHECKING:
    from gateway.body import Receive, Send

_CLOSE: Final = (b"connection", b"close")
_JSON: Final = b"application/json"


class Answer(NamedTuple):
    """A complete answer; without a body `content_type` may be empty.

    With `unread` a part of the request's body hasn't been read: the connection is closed, after what
    still comes has been thrown away for a while.
    """

    status: int
    content_type: bytes
    body: bytes
    headers: Headers = ()
    unread: bool = False

    @classmethod
    def json(cls, status: int, document: Any, headers: Headers = ()) -> Answer:
        """Return a JSON answer."""
        return cls(status, _JSON, orjson.dumps(document), headers)

    @classmethod
    def problem(cls, problem: Problem, *, unread: bool = False) -> Answer:
        """Return a problem as an answer."""
        return cls(problem.status, CONTENT_TYPE, problem.body(), problem.headers, unread)

    async def send(self, send: Send, receive: Receive) -> None:
        """Send it."""
        headers = [*self.headers]
        if self.content_type:
            headers.append((b"content-type", self.content_type))
        if self.status != HTTPStatus.NO_CONTENT:  # which has none, RFC 9110, 8.6
            headers.append((b"content-length", b"%d" % len(self.body)))
        if self.unread:
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if self.unread:
            await send({"type": "http.response.body", "body": self.body, "more_body": True})
            await discard(receive)
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "http.response.body", "body": self.body})


def problem_response(problem: Problem) -> Response:
    """Return a problem as a Starlette response."""
    headers = {name.decode(): value.decode() for name, value in problem.headers}
    return Response(problem.body(), problem.status, headers, CONTENT_TYPE.decode())
