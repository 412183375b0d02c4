"""Receipts: what senders are answered with whose deliveries were taken.

Usually 202 with the event's id, type and status; where the provider wants something else, always that. The
headers `Tidemill-Event-Id` and `Tidemill-Status` are on each; on that of a batch they name the first event
and, where the events' statuses differ, `mixed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

import orjson

from gateway.answer import Answer
from gateway.problem import Headers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.reason import Reason
    from gateway.recipes.handshake import StaticAnswer
    from tidemill.kernel.envelope import Envelope

ACCEPTED: Final = "accepted"
DUPLICATE: Final = "duplicate"
QUARANTINED: Final = "quarantined"
MIXED: Final = "mixed"
EMPTY: Final = "empty"
_LONGEST: Final = 200
_REPLAY_HINT: Final = "it came before; `tidemill events replay {}` sends it through again"


class Taken(NamedTuple):
    """An event that was taken.

    Attributes:
        envelope: the event.
        status: what became of it: `accepted`, `duplicate` or `quarantined`.
        seq: its place in EVENTS, with a reason in QUARANTINE; that of the first one for a duplicate.
        reason: why it can't be processed, None where it can.
    """

    envelope: Envelope
    status: str
    seq: int = 0
    reason: Reason | None = None

    def document(self) -> dict[str, Any]:
        """Return what its sender is told."""
        event = self.envelope
        document = {"id": event.id, "type": event.type, "status": self.status}
        if self.status == DUPLICATE:
            document["hint"] = _REPLAY_HINT.format(event.id)
        return document

    def entry(self) -> dict[str, Any]:
        """Return what the log says of it; nothing of the body is held by that."""
        event = self.envelope
        facts: dict[str, Any] = {
            "id": event.id[:_LONGEST],
            "type": event.type[:_LONGEST],
            "status": self.status,
            "seq": self.seq,
        }
        if self.reason is not None:
            facts["reason"] = self.reason.code
        return facts


def entries(taken: Iterable[Taken]) -> list[dict[str, Any]]:
    """Return what the log says of some events."""
    return [one.entry() for one in taken]


class Receipts:
    """The receipts of one source; with `static` all look like that."""

    def __init__(self, static: StaticAnswer | None = None) -> None:
        self._static = static_answer(static) if static else None

    def one(self, taken: Taken) -> Answer:
        """Return the receipt of a single event."""
        headers = (
            (b"tidemill-event-id", _header(taken.envelope.id)),
            (b"tidemill-status", taken.status.encode()),
        )
        if self._static is not None:
            return self._static._replace(headers=headers)
        return Answer(202, b"application/json", orjson.dumps(taken.document()), headers)

    def many(self, taken: Sequence[Taken]) -> Answer:
        """Return the receipt of a batch, which may be empty."""
        headers: Headers = ((b"tidemill-status", status_of(taken).encode()),)
        if taken:
            headers = ((b"tidemill-event-id", _header(taken[0].envelope.id)), *headers)
        if self._static is not None:
            return self._static._replace(headers=headers)
        return Answer.json(202, {"events": [one.document() for one in taken]}, headers)


def _header(event_id: str) -> bytes:
    """Return an id as a header's value: percent-encoded where it isn't plain ASCII."""
    return (event_id if event_id.isascii() and event_id.isprintable() else quote(event_id)).encode()


def status_of(taken: Sequence[Taken]) -> str:
    """Return the one status of all events, `mixed` where they differ, `empty` without any."""
    statuses = {one.status for one in taken}
    return MIXED if len(statuses) > 1 else next(iter(statuses), EMPTY)


def static_answer(recipe: StaticAnswer) -> Answer:
    """Return a recipe's fixed answer."""
    content_type = recipe.content_type or ("text/plain; charset=utf-8" if recipe.body else "")
    return Answer(recipe.status, content_type.encode(), recipe.body.encode())
