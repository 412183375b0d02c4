"""What can be done to many things at once, and to which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

from tidemill.kernel.errors import PayloadError
from tidemill.kernel.protocol.records import BURIED
from tidemill.kernel.protocol.state import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind = Literal["runs", "dead", "quarantine"]
Verb = Literal["cancel", "retry", "replay", "release", "discard"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
VERBS: Final[Mapping[Kind, tuple[Verb, ...]]] = {
    "runs": ("cancel", "retry", "replay"),
    "dead": ("retry",),
    "quarantine": ("release", "discard"),
}
"""What can be done, by what it is done to."""
_ENDED: Final = frozenset({*BURIED, "completed", "cancelled"})
POSSIBLE: Final[Mapping[str, tuple[str, ...]]] = {
    "cancel": tuple(str(one) for one in Status if one not in _ENDED),
    "retry": tuple(str(one) for one in Status if one in BURIED or one is Status.PARKED),
    "replay": tuple(str(one) for one in Status),
}
"""In which states something can be done to a run."""


def checked_kind(given: object) -> Kind:
    """Return what something is to be done to: runs where nothing is said.

    Raises:
        PayloadError: there is nothing of that name.
    """
    if given is None:
        return "runs"
    for kind in KINDS:
        if given == kind:
            return kind
    raise PayloadError(f"there is no {given!r} to do it to", hint=f"it is {', '.join(KINDS)}")


def checked_verb(given: object, kind: Kind = "runs") -> Verb:
    """Return what is to be done.

    Raises:
        PayloadError: nothing of that name can be done to many of these.
    """
    for verb in VERBS[kind]:
        if given == verb:
            return verb
    raise PayloadError(f"there is no action {given!r} for {kind}", hint=f"it is {', '.join(VERBS[kind])}")


def checked_statuses(verb: Verb, statuses: Sequence[str]) -> tuple[str, ...]:
    """Return the states of the runs that are to be looked for, those in which it can be done by default.

    Raises:
        PayloadError: it can't be done in one of them.
    """
    for status in statuses:
        if status not in POSSIBLE[verb]:
            raise PayloadError(
                f"status={status}: {verb} isn't for such runs", hint=f"it is for {', '.join(POSSIBLE[verb])}"
            )
    return tuple(statuses) or (() if verb == "replay" else POSSIBLE[verb])
