"""What the control listener's pages and API may ask of the public side: its sources, and what they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.redaction import Redaction
    from gateway.rehearsal import Rehearsals


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """The public side.

    Attributes:
        redaction: knows the configured senders, and hides what is secret of their requests' headers.
        rehearsals: sends samples as they would.
    """

    redaction: Redaction
    rehearsals: Rehearsals
