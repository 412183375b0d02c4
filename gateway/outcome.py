"""What a request came to, for those who answer, count and log it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from gateway.answer import Answer
    from gateway.verdict import Refused
    from gateway.waiting import Waiting


class Outcome(NamedTuple):
    """What a request came to.

    Attributes:
        answer: what it is answered with, None where its client has gone.
        verdict: how it is counted.
        size: bytes of its body that were read.
        events: what the log says of those that are stored, None where it brought nothing.
        secret: index of the secret that matched, None where that isn't known.
        refused: why it was refused.
        kept: what it is called among the refused requests that are kept.
        waiting: a run may have a better answer.
    """

    answer: Answer | None
    verdict: str
    size: int = 0
    events: list[dict[str, Any]] | None = None
    secret: int | None = None
    refused: Refused | None = None
    kept: str | None = None
    waiting: Waiting | None = None
