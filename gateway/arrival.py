"""A request on its way through the intake, and what it was before it was compressed."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.compressed import Fault, decompress
from gateway.inbound import Inbound
from gateway.reason import Reason
from gateway.verdict import Refused

if TYPE_CHECKING:
    from gateway.mediatype import Kind, MediaType
    from gateway.tenants import Ring

_OF_COMPRESSED: Final = frozenset({b"content-encoding", b"content-length"})


class Arrival(NamedTuple):
    """A request whose media type is known.

    Attributes:
        inbound: the request.
        media: as its header says.
        kind: how its body is read.
        tenant: as the path names it.
        ring: the tenant's secrets, None where the source's count.
    """

    inbound: Inbound
    media: MediaType
    kind: Kind
    tenant: str | None
    ring: Ring | None = None


def decompressed(arrival: Arrival, coding: bytes, limit: int) -> Arrival | Reason | Refused:
    """Return a request as if its body had come uncompressed."""
    inbound = arrival.inbound
    body = decompress(inbound.body, coding, limit)
    if body is Fault.TOO_LARGE:
        detail = f"Decompressed, the body is larger than the {limit} bytes that this source takes."
        return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_size", detail)
    if body is Fault.CORRUPT:
        return Reason("bad_encoding", "The body can't be decompressed.")
    headers = [pair for pair in inbound.headers if pair[0] not in _OF_COMPRESSED]
    plain = Inbound(
        inbound.method, inbound.path, inbound.query, headers, body, inbound.received_at, named=inbound.named
    )
    return arrival._replace(inbound=plain)
