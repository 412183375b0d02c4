"""What the control listener's pages and API may ask of the public side: its sources, and what they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.again import Again
    from gateway.amendment import Amendments
    from gateway.masking import Masks
    from gateway.redaction import Redaction
    from gateway.register import Register
    from gateway.rehearsal import Rehearsals
    from gateway.reverification import Reverification
    from gateway.schemata.registry import SchemaRegistry
    from tidemill.history.reader import HistoryReader
    from tidemill.kernel.services.deliveries import Deliveries


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """The public side.

    Attributes:
        redaction: knows the configured senders, and hides what is secret of their requests' headers.
        deliveries: the log of requests.
        reverification: verifies those again that were kept.
        again: verifies a single one of these.
        keeping: the sources that keep what they refuse.
        history: how things were.
        register: what may be known of sources.
        registry: the schemas, and what has drifted.
        masks: hide from viewers what schemas mark as secret.
        rehearsals: sends samples as their senders would.
        amendments: judges edited data of the quarantine.
    """

    redaction: Redaction
    deliveries: Deliveries
    reverification: Reverification
    again: Again
    keeping: frozenset[str]
    history: HistoryReader
    register: Register
    registry: SchemaRegistry
    masks: Masks
    rehearsals: Rehearsals
    amendments: Amendments
