"""Which dead letters are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tidemill.kernel.services.looking import Query

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadQuery(Query):
    """Which dead letters are wanted; what is None doesn't matter.

    Attributes:
        outcome: how the run has ended, like `failed` or `crashed`.
        error: words of the last error's type or message, in either case.
    """

    NAMES: ClassVar[tuple[str, ...]] = ("task", "source", "type", "outcome", "error", "since", "until")

    outcome: str | None = None
    error: str | None = None

    def fits(self, summary: Mapping[str, Any], event: Mapping[str, Any] | None, at: datetime) -> bool:
        """Say whether a letter is wanted, by its summary, its event's attributes, and when it was written."""
        return (
            self.came_of(event or {}, at)
            and (self.task is None or summary["task"] == self.task)
            and (self.outcome is None or summary["outcome"] == self.outcome)
            and (self.error is None or self.error.casefold() in str(summary["error"]).casefold())
        )
