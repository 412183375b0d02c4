"""The timestamp that is signed: where it stands, and whether it is near enough to now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.recipes import selector
from gateway.recipes.moment import parse_moment
from gateway.recipes.refusal import refused
from gateway.verdict import Refused

if TYPE_CHECKING:
    from gateway.recipes.candidates import Offer
    from gateway.recipes.message import Message
    from gateway.recipes.proofs import SignedTimestamp


class StampReader:
    """Finds the timestamp that is signed and holds it against the clock."""

    def __init__(self, recipe: SignedTimestamp, tolerance: float | None) -> None:
        self._at = selector.parse(recipe.at)
        self._unit = recipe.unit
        self._past = recipe.tolerance_past if tolerance is None else tolerance
        self._future = recipe.tolerance_future if tolerance is None else tolerance

    def read(self, message: Message, found: list[Offer]) -> str | Refused:
        """Return the timestamp as it was written."""
        value = self._value(message, found)
        if value is None:
            return refused("timestamp_missing", "The timestamp that is a part of what is signed is missing.")
        text = value.decode("latin-1")
        if parse_moment(text, self._unit) is None:
            return _MALFORMED
        return text

    def _value(self, message: Message, found: list[Offer]) -> bytes | None:
        if self._at.place == "signature":
            return next(
                (offer.beside[self._at.name] for offer in found if self._at.name in offer.beside), None
            )
        return message.value(self._at)

    def window_problem(self, text: str, now: float) -> Refused | None:
        """Say whether a timestamp is too far from now, either way."""
        return window_problem(parse_moment(text, self._unit), now, self._past, self._future)


def window_problem(
    signed_at: float | None, now: float, past: float | None, future: float | None
) -> Refused | None:
    """Say whether an instant is unreadable, or too far from now either way.

    Args:
        signed_at: the instant, None where it can't be read.
        now: the present; as the others in seconds.
        past: how old it may be, None for any age.
        future: how far ahead it may be, None for any distance.
    """
    if signed_at is None:
        return _MALFORMED
    if past is not None and now - signed_at > past:
        return refused("timestamp_stale", "The timestamp is older than this source tolerates.")
    if future is not None and signed_at - now > future:
        return refused("timestamp_future", "The timestamp is further ahead than this source tolerates.")
    return None


_MALFORMED = refused("timestamp_malformed", "The timestamp isn't written as this source writes it.")
