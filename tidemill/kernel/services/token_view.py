"""A token as users see it: what is asked for, what was answered, and what that makes of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final

from tidemill.kernel import clock
from tidemill.kernel.protocol.records import Item
from tidemill.kernel.protocol.state import Phase, State

KINDS: Final = ("approval", "token")


@dataclass(frozen=True, slots=True)
class TokenView:
    """A token or an approval of a run.

    Attributes:
        run: who asks.
        name: what for.
        facts: what the directory of waits says about it; None where its entry is gone.
        state: the run, as its journal has it.
    """

    run: str
    name: str
    facts: dict[str, Any] | None
    state: State = field(default_factory=State)

    @property
    def id(self) -> str:
        """By which it is completed."""
        return f"{self.run}.{self.name}"

    @property
    def box(self) -> str:
        """The run's mailbox for it."""
        return f"token:{self.name}"

    @property
    def kind(self) -> str:
        """Whether it asks for a yes or a no, or for data."""
        return str(self._asked("kind", "token"))

    @property
    def approvers(self) -> tuple[str, ...]:
        """Who may answer; empty for everybody."""
        return tuple(self._asked("approvers", None) or ())

    @property
    def quorum(self) -> int:
        """How many must say yes."""
        return int(self._asked("quorum", 1))

    def _asked(self, what: str, default: Any) -> Any:
        """Return what was asked for: by the directory, by an answer, which keeps it, or by the run's wait."""
        kept = (item.data for item in self.items if isinstance(item.data, dict))
        waits = self.state.waits.values()
        waited = ({"kind": wait.kind, "quorum": wait.need} for wait in waits if wait.box == self.box)
        sources = (self.facts or {}, *kept, *waited)
        return next((source[what] for source in sources if what in source), default)

    @property
    def schema(self) -> dict[str, Any] | None:
        """JSON Schema of the data that come with a yes; None for any."""
        schema: dict[str, Any] | None = (self.facts or {}).get("schema")
        return schema

    @property
    def question(self) -> dict[str, Any]:
        """What was asked for, as every answer keeps it: the directory forgets what is decided."""
        found = {name: (self.facts or {}).get(name) for name in ("approvers", "asked_at", "until")}
        given = {name: value for name, value in found.items() if value}
        return {"kind": self.kind, "quorum": self.quorum, **given}

    @property
    def items(self) -> tuple[Item, ...]:
        """All answers, in the order in which they arrived."""
        return tuple(self.state.boxes.get(self.box, {}).values())

    @property
    def counted(self) -> tuple[Item, ...]:
        """The answers up to the one that decided."""
        good = 0
        for number, item in enumerate(self.items, start=1):
            good += item.ok
            if self._decides(item, good):
                return self.items[:number]
        return self.items

    @property
    def deciding(self) -> Item | None:
        """The answer that decided: the first no, or the yes that made enough of them."""
        counted = self.counted
        good = sum(item.ok for item in counted)
        return counted[-1] if counted and self._decides(counted[-1], good) else None

    def _decides(self, item: Item, good: int) -> bool:
        return self.kind == "token" or not item.ok or good >= self.quorum

    @property
    def missing(self) -> int:
        """How many more must say yes."""
        return 0 if self.deciding is not None else self.quorum - sum(item.ok for item in self.items)

    @property
    def asked_at(self) -> float:
        """When it was asked for, in seconds since the epoch; 0 where that isn't known any more."""
        return float(self._asked("asked_at", None) or 0)

    @property
    def until(self) -> str | None:
        """When nobody waits for it any more."""
        until = self._asked("until", None)
        return clock.rfc3339_at(until) if until is not None else None

    @property
    def status(self) -> str:
        """`open`, `approved`, `rejected`, `completed`, `expired`, or `ended` with its run."""
        decided = self.deciding
        if decided is not None:
            if not decided.ok:
                return "rejected"
            return "approved" if self.kind == "approval" else "completed"
        if self.state.phase in (Phase.ENDED, Phase.CLOSED):
            return "ended"
        until = (self.facts or {}).get("until")
        return "expired" if self.facts is None or (until is not None and until <= time.time()) else "open"

    def summary(self) -> dict[str, Any]:
        """Return what a list shows."""
        return {
            "id": self.id,
            "run_id": self.run,
            "task": (self.facts or {}).get("task") or self.state.task,
            "name": self.name,
            "kind": self.kind,
            "status": self.status,
            "approvers": list(self.approvers),
            "quorum": self.quorum,
            "missing": self.missing,
            "asked_at": clock.rfc3339_at(self.asked_at) if self.asked_at else None,
            "until": self.until,
        }

    def details(self) -> dict[str, Any]:
        """Return everything, the answers with who, when and comment included."""
        return self.summary() | {"schema": self.schema, "answers": [_answer(item) for item in self.items]}


def _answer(item: Item) -> dict[str, Any]:
    facts = item.data if isinstance(item.data, dict) else {}
    return {
        "by": item.who,
        "approved": item.ok,
        "at": clock.rfc3339_at(item.at),
        "comment": facts.get("comment", ""),
        "data": facts.get("data"),
        "blob": item.blob,
    }
