"""Judging with keys that have to be fetched first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from gateway.keys.store import KeysAwayError, KeyStore
from gateway.keys.wanted import Wanted
from gateway.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

_FETCHES: Final = 2
"""For one request: what was fetched may be forgotten again at once; then its sender comes again."""
_Outcome = TypeVar("_Outcome")


async def with_keys(
    store: KeyStore | None, wanted: Wanted, judge: Callable[[], _Outcome | Wanted]
) -> _Outcome:
    """Fetch what is wanted and judge again.

    Args:
        store: where keys are kept.
        wanted: what the first judgement lacked.
        judge: judges the request.

    Raises:
        KeysAwayError: the keys can't be had just now.
    """
    if store is None:
        raise TypeError(f"keys of {wanted.place.host} are wanted, and there is no store")
    for _ in range(_FETCHES):
        await store.fetch(wanted)
        outcome = judge()
        if not isinstance(outcome, Wanted):
            return outcome
        wanted = outcome
    raise KeysAwayError(1.0)


def keys_away(retry_after: int) -> Problem:
    """Return the problem of a request that nobody can judge just now: its sender keeps it."""
    detail = "The keys that verify this request can't be fetched just now. Send it again."
    return Problem(503, "keys-away", detail, headers=((b"retry-after", b"%d" % retry_after),))
