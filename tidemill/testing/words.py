"""What the outside says to runs: decisions, signals and events, as tests prepare them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.durable.children import Failed, Ok
from tidemill.durable.waits import token_box
from tidemill.kernel.codec import Codec
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.matching import PARAMS, EventWait, Occurrence
from tidemill.kernel.protocol.records import Fault, Item
from tidemill.kernel.where import compile_where

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill.durable.children import Outcome
    from tidemill.durable.port import Child, Listening

_ANYTHING: Final[Codec[Any]] = Codec(Any, "data")
_ids = itertools.count(1)


def as_json(value: Any) -> Any:
    """Return a value as it arrives over a wire.

    Raises:
        PayloadError: it can't be serialised.
    """
    return orjson.loads(_ANYTHING.encode(value))


@dataclass(slots=True)
class Decision:
    """What somebody says to a token or an approval; without `by` it is anybody who may decide."""

    name: str
    by: str | None
    approved: bool
    comment: str
    data: Any

    def item(self, by: str, at: float) -> Item:
        """Return it as news."""
        facts = {"comment": self.comment, "data": self.data}
        return Item(
            id=f"decision-{next(_ids)}",
            box=token_box(self.name),
            who=by,
            ok=self.approved,
            data=facts,
            at=at,
        )


@dataclass(slots=True)
class Said:
    """A signal; `run` is the one that it is for, the first one where it isn't said."""

    name: str
    data: Any
    run: str | None = None

    def item(self, at: float) -> Item:
        """Return it as news."""
        name = f"signal-{next(_ids)}"
        return Item(id=name, box=f"signal:{self.name}", who=name, data=self.data, at=at)


@dataclass(slots=True)
class Happened:
    """An event that runs may wait for; `at` is when it came."""

    type: str
    data: Any
    source: str
    subject: str | None
    at: float
    id: str = field(default_factory=lambda: f"event-{next(_ids)}")

    def fits(self, listening: Listening) -> bool:
        """Say whether a run listens to it."""
        facts = {"type": self.type, "source": self.source, "subject": self.subject, "value": self.data}
        wait = EventWait(
            run="",
            box=listening.box,
            pattern=listening.pattern,
            since=0.0,
            until=listening.until,
            where=compile_where(listening.where, (PARAMS,)) if listening.where else None,
            params=listening.params,
            match=listening.match,
        )
        return wait.takes(Occurrence(facts, b"", self.at))

    def item(self, listening: Listening, run: str) -> Item:
        """Return it as news for whoever listens."""
        envelope = Envelope(
            id=self.id,
            source=self.source,
            type=self.type,
            subject=self.subject,
            time=datetime.fromtimestamp(self.at, UTC),
            value=self.data,
        )
        return Item(
            id=f"{self.id}-{run}-{listening.box}",
            box=listening.box,
            who=self.id,
            data=envelope.facts(),
            at=self.at,
        )


@dataclass(slots=True)
class Stand:
    """What stands for the runs of a task that isn't executed.

    Attributes:
        told: what comes of a run with this payload, as JSON text.
        encode: writes a result down.
        state: in which a run ends that has none.
    """

    told: Callable[[bytes], Outcome[Any]]
    encode: Callable[[Any], bytes]
    state: str = "failed"

    def item(self, child: Child) -> Item | None:
        """Return what the parent hears of the end of such a run; None where it doesn't wait for it."""
        if child.parent is None:
            return None
        outcome = self.told(child.payload)
        good = isinstance(outcome, Ok)
        return Item(
            id=f"end-{child.run}",
            box=child.parent.box,
            who=str(child.parent.index),
            ok=good,
            data=orjson.loads(self.encode(outcome.value)) if isinstance(outcome, Ok) else None,
            run=None if good else child.run,
            fault=Fault(outcome.type, outcome.error) if isinstance(outcome, Failed) else None,
        )


Word = Decision | Said | Happened
