"""Which entries of the quarantine are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tidemill.kernel.services.looking import Query

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

WHERE: Final = "where"
"""The reason of an event that a task's `where` couldn't judge."""
_TOLD: Final = ("path", "detail", "clause", "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineQuery(Query):
    """Which entries are wanted; what is None doesn't matter. `task` is that whose condition couldn't judge.

    Attributes:
        reason: the code of what is wrong, like `schema` or `not_json`; `where` for what a task's condition
            couldn't judge.
        text: words of what is wrong, in either case: a path in the data, a clause.
    """

    NAMES: ClassVar[tuple[str, ...]] = ("source", "type", "reason", "task", "text", "since", "until")

    reason: str | None = None
    text: str | None = None

    def fits(self, event: Mapping[str, Any], reason: Mapping[str, Any], at: datetime) -> bool:
        """Say whether an entry is wanted, by its event, its reason, and since when it is here."""
        return (
            self.came_of(event, at)
            and (self.reason is None or reason.get("code", WHERE) == self.reason)
            and (self.task is None or reason.get("task") == self.task)
            and (self.text is None or self.text.casefold() in _told(reason).casefold())
        )


def reason_of(reason: Mapping[str, Any]) -> str:
    """Return why an entry stands in quarantine, in one line."""
    if "task" in reason:
        seen = f"{reason.get('clause')} with {reason.get('value')!r}"
        return f"{reason['task']}: {seen}: {reason.get('reason')}"
    place = f"{reason['path']}: " if reason.get("path") else ""
    return f"{place}{reason.get('detail')}"


def _told(reason: Mapping[str, Any]) -> str:
    return "\n".join(str(reason[name]) for name in _TOLD if reason.get(name))
