"""What `tidemill doctor` finds: how bad it is, what it is about, what it is, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's."""

    level: Level
    subject: str
    what: str
    hint: str = ""

    def facts(self) -> dict[str, Any]:
        """Return it as data."""
        return asdict(self)


Findings = Iterator[Finding]


def ok(subject: str, what: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding("ok", subject, what)


def warning(subject: str, what: str, hint: str) -> Finding:
    """Return something that works and may hurt later."""
    return Finding("warning", subject, what, hint)


def problem(subject: str, what: str, hint: str) -> Finding:
    """Return something that doesn't work."""
    return Finding("problem", subject, what, hint)
