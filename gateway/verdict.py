"""What becomes of a request: accepted, quarantined or refused. A verdict is a value, never an exception."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gateway.keys.wanted import Wanted
from gateway.reason import Reason

if TYPE_CHECKING:
    from gateway.answer import Answer
    from tidemill.kernel.envelope import Envelope
    from tidemill.kernel.settings.secrets import Secret


class Accepted(NamedTuple):
    """The delivery is genuine and its data is sound.

    Attributes:
        envelope: the event.
        secret: index of the secret that matched, -1 where an unsigned delivery was allowed in.
        schema: identifier of the schema that the data fits (also the event's `dataschema`), None without one.
    """

    envelope: Envelope
    secret: int
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """The delivery is genuine and can't be processed as it is: it is kept, with the reason.

    The envelope is the best that can be said: its type may lack what only the data says, its raw body is
    complete, and its id and delivery key are those that it will have on release.
    """

    envelope: Envelope
    reason: Reason


@dataclass(frozen=True, slots=True)
class Refused:
    """The request isn't let in.

    Attributes:
        status: the HTTP status to answer with.
        check: which check failed, e.g. `signature_missing`, `signature_mismatch`, `timestamp_stale`.
        detail: a sentence for the sender; it never says what would have passed.
    """

    status: int
    check: str
    detail: str


class Batch(NamedTuple):
    """A genuine delivery of several events, or of none; all of them are stored or none.

    Attributes:
        items: what becomes of each, in the order in which they came.
        id: the delivery's.
        key: under which the delivery's body is stored, once for all items; empty where it isn't kept.
        raw: the delivery's body.
    """

    items: tuple[Accepted | Quarantined, ...]
    id: str
    key: str
    raw: bytes


class Handshaken(NamedTuple):
    """The request is answered and makes no event.

    Attributes:
        name: which handshake it is.
        answer: the answer, to be sent when what follows is done.
        learn: the secret that it brings, which this source is signed with from now on.
        visit: the address to fetch, which confirms.
    """

    name: str
    answer: Answer
    learn: Secret | None = None
    visit: str | None = None


Judged = Accepted | Quarantined | Batch | Handshaken | Refused
Verdict = Judged | Wanted
