"""The headers that stay on an event, and the trace that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidemill.kernel.services.traces import traceparent

if TYPE_CHECKING:
    from gateway.inbound import Inbound

SECRET_HEADERS: Final = frozenset(
    {b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"x-api-key"}
)
_MAX_TRACESTATE: Final = 512


def kept_headers(inbound: Inbound, unkept: frozenset[bytes] = SECRET_HEADERS) -> dict[str, str]:
    """Return the headers that stay on the event: all but those that carry credentials."""
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in inbound.fields()
        if name not in unkept
    }


def trace_context(headers: dict[str, str]) -> dict[str, str]:
    """Return the W3C Trace Context of a request, empty where there is none or it is malformed."""
    parent = traceparent(headers.get("traceparent"))
    if parent is None:
        return {}
    state = headers.get("tracestate", "")
    return {"traceparent": parent} | ({"tracestate": state} if 0 < len(state) <= _MAX_TRACESTATE else {})
