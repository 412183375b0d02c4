"""The closer: an ended run's journal becomes a tombstone, when nothing can ask for the run any more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from tidemill.kernel.protocol.operations import (
    Close,
    DeadLettered,
    Erase,
    JournalOpen,
    Procedure,
    TicketOutstanding,
)


@dataclass(slots=True, unsafe_hash=True)
class Mark:
    """What the closer knows of an end record without its body; `at` is when it was stored.

    `records` are the sequences of all the journal's records, empty where they aren't known.
    """

    run: str
    task: str
    seq: int
    at: float
    event_seq: int = 0
    keyed: bool = False
    lasting: bool = False
    blobs: bool = False
    parent: str = ""
    records: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Keeping:
    """Seconds after its end for which a run's journal is kept, and then its id stays taken.

    `tombstone` is the horizon behind which nobody can be about to create the run anew, `key` the time for
    which an idempotency key finds it.
    """

    journal: float = 86_400.0
    tombstone: float = 3_600.0
    key: float = 86_400.0


class Closing(Enum):
    """What came of an attempt to close a journal."""

    DONE = auto()
    LATER = auto()
    """It must stay for now: the next sweep looks at it again."""


def erasable(mark: Mark, keeping: Keeping, *, routed: int, now: float) -> bool:
    """Say whether a journal's records may be removed in any way that takes the end last.

    Whoever could have created the run anew has given up, and nothing is appended behind such an end.
    """
    horizon = keeping.key if mark.keyed else keeping.tombstone
    kept = max(keeping.journal, horizon)
    over = now >= mark.at + kept and mark.event_seq <= routed
    return over and bool(mark.records) and not mark.lasting and not mark.parent


def close(mark: Mark, keeping: Keeping, *, routed: int, now: float) -> Procedure[Closing]:
    """Close an ended run's journal.

    `routed` is the router's acknowledgement floor: below it no event is ever delivered again, so that an
    event's run can't be created a second time (B2, F1). A run with a lasting end stays open while its
    ticket is outstanding, because that ticket still has to write the dead letter, and while one stands.
    """
    if now < mark.at + keeping.journal or mark.event_seq > routed:
        return Closing.LATER
    if mark.parent:
        # The parent may still read the result, or create its children again: also after a failure, as long as
        # it can be reopened.
        if (yield JournalOpen(mark.parent)):
            return Closing.LATER
        mark = replace(mark, parent="")
    if mark.lasting:
        # The ticket first: once it is gone, the dead letter that it carries has been published.
        if (yield TicketOutstanding(mark.run, mark.task)):
            return Closing.LATER
        if (yield DeadLettered(mark.run, mark.task)):
            return Closing.LATER
    if erasable(mark, keeping, routed=routed, now=now):
        yield Erase(mark.run, mark.records, blobs=mark.blobs)
    else:
        horizon = keeping.key if mark.keyed else keeping.tombstone
        rest = max(0.0, mark.at + horizon - now)
        # A refusal means that the journal went on (it was reopened) or is closed already: both are fine.
        yield Close(mark.run, mark.seq, rest, mark.records, blobs=mark.blobs)
    return Closing.DONE
