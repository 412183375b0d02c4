"""What somebody answers who was asked to decide, or for data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tidemill.kernel.errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST: Final = 255
"""Most characters of a name, and of an idempotency key."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody answers.

    Attributes:
        by: who it is.
        approved: yes or no; a plain token takes yes alone.
        comment: what they say about it.
        data: what they give with it.
        key: an idempotency key: the same answer may be sent several times with it.
    """

    by: str
    approved: bool = True
    comment: str = ""
    data: Any = None
    key: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as the control API takes it; the key goes into a header."""
        return {"by": self.by, "approved": self.approved, "comment": self.comment, "data": self.data}


def parse_decision(document: Mapping[str, Any], key: str | None = None) -> Decision:
    """Read an answer that came as JSON.

    Raises:
        PayloadError: a member is unknown, missing or of the wrong type.
    """
    types: dict[str, tuple[type, Any]] = {"by": (str, ""), "approved": (bool, True), "comment": (str, "")}
    for name in document:
        if name not in (*types, "data"):
            raise PayloadError(f"{name}: there is no such member", hint=f"there are {', '.join(types)}, data")
    given: dict[str, Any] = {}
    for name, (kind, default) in types.items():
        value = given[name] = document.get(name, default)
        if not isinstance(value, kind):
            raise PayloadError(f"{name}: {value!r} isn't {'text' if kind is str else 'true or false'}")
        if isinstance(value, str) and not _is_unicode(value):
            raise PayloadError(f"{name}: {value!r} is no Unicode text")
    if not 1 <= len(given["by"].strip()) <= LONGEST:
        raise PayloadError("by: it doesn't say who answers", hint="put a name or an address there")
    if key is not None:
        check_text("an idempotency key", key)
    return Decision(given["by"].strip(), given["approved"], given["comment"], document.get("data"), key)


def check_text(what: str, text: str, *, hint: str = "use a shorter one") -> None:
    """Refuse a name or a key that is empty, too long or no Unicode text.

    Raises:
        PayloadError: it is.
    """
    if not 1 <= len(text) <= LONGEST:
        raise PayloadError(f"{what} has 1 to {LONGEST} characters", hint=hint)
    if not _is_unicode(text):
        raise PayloadError(f"{what} is Unicode text, {text!r} is none", hint="check the terminal's encoding")


def _is_unicode(text: str) -> bool:
    """Say whether a text can be written as UTF-8: an argument of the command line may be none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
