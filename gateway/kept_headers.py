"""The headers that stay on an event, and the trace that they belong to."""

from __future__ import annotations

from itertools import chain
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
    if not inbound.repeats:
        texts = b"\0".join(chain.from_iterable(inbound.headers)).decode("latin-1").split("\0")
        if len(texts) == 2 * len(inbound.headers):  # none has a NUL in it
            found = dict(zip(texts[::2], texts[1::2], strict=True))
            for name in inbound.names & unkept:
                del found[name.decode("latin-1")]
            return found
    kept: dict[str, str] = {}
    for name, value in inbound.headers:
        if name in unkept:
            continue
        key, text = name.decode("latin-1"), value.decode("latin-1")
        kept[key] = f"{kept[key]}, {text}" if key in kept else text
    return kept


def trace_context(headers: dict[str, str]) -> dict[str, str]:
    """Return the W3C Trace Context of a request, empty where there is none or it is malformed."""
    parent = traceparent(headers.get("traceparent"))
    if parent is None:
        return {}
    state = headers.get("tracestate", "")
    return {"traceparent": parent} | ({"tracestate": state} if 0 < len(state) <= _MAX_TRACESTATE else {})
