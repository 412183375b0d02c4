"""A listener whose requests are spans: what they lead to belongs below them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidemill.kernel.services.traces import traceparent

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from tidemill.kernel.services.traces import Traces

_HEADER: Final = b"traceparent"
_FAILED: Final = 500
_UNTRACED: Final = frozenset({"healthz", "readyz", "metrics", "static"})


class Traced:
    """Records each request as a span below the `traceparent` that it brings, and puts its own in that place.

    So events and runs that come of it are below it without knowing of spans.
    """

    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        room = scope["path"].lstrip("/").partition("/")[0] if scope["type"] == "http" else ""
        if not room or room in _UNTRACED:
            await self._app(scope, receive, send)
            return
        parents = [value.decode("latin-1") for name, value in scope["headers"] if name == _HEADER]
        with self._traces.span(
            f"{scope['method']} /{room if room in _ROOMS else ''}",
            kind="server",
            parent=traceparent(parents[0]) if len(parents) == 1 else None,
            http__request__method=scope["method"],
            url__path=scope["path"],
        ) as span:

            async def sending(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set("http.response.status_code", message["status"])
                    if message["status"] >= _FAILED:
                        span.fail(str(message["status"]))
                await send(message)

            own = (self._traces.parent() or "").encode()
            headers = [(name, value) for name, value in scope["headers"] if name != _HEADER]
            await self._app({**scope, "headers": [*headers, (_HEADER, own)]}, receive, sending)


_ROOMS: Final = frozenset({"webhooks", "events", "api", "t"})
