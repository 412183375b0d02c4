"""What a handler gets that asks for the whole event instead of its data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tidemill.kernel.envelope import Envelope

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Event(Generic[T]):
    """An event with its CloudEvents attributes, and the request that brought it.

    Attributes:
        id: the sender's id of the event, unique per source.
        type: what happened, like `github.issues.opened`.
        source: the configured source that it came from.
        subject: what it happened to, where the sender says so.
        time: when it happened, by the sender's account.
        data: its data, validated into the annotation.
        raw: the request's body, byte for byte.
        headers: the request's headers.
        tenant: the source's tenant that it is for, where the request named one.
    """

    id: str
    type: str
    source: str
    subject: str | None
    time: datetime
    data: T
    raw: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    tenant: str | None = None


def event_of(envelope: Envelope, data: Any) -> Event[Any]:
    """Return the event of an envelope, with its data as the handler wants it."""
    return Event(
        id=envelope.id,
        type=envelope.type,
        source=envelope.source,
        subject=envelope.subject,
        time=envelope.time,
        data=data,
        raw=envelope.raw,
        headers=envelope.headers,
        tenant=envelope.tenant,
    )
