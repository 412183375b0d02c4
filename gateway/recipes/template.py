"""Templates: literal text with selectors in braces, `{timestamp}.{body}` or `{header:x-github-event}`.

A variable that is missing makes the whole template missing: it never renders as the empty text, since a
signature over less than what the sender signed must not verify.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.recipes import selector
from tidemill.kernel.errors import SettingsError

_HOLE = re.compile(r"\{([^{}]*)\}")
MAX_LENGTH: Final = 1000

Part = str | selector.Selector


def parse(text: str) -> tuple[Part, ...]:
    """Read a template into its literals and selectors.

    Raises:
        SettingsError: a brace stands alone or what it holds is no selector.
    """
    if len(text) > MAX_LENGTH:
        raise SettingsError(f"a template has {len(text)} characters", hint=f"at most {MAX_LENGTH}")
    pieces = _HOLE.split(text)
    for literal in pieces[::2]:
        if "{" in literal or "}" in literal:
            raise SettingsError(f"{text!r} has a brace that stands alone", hint="write {selector}")
    parts = [selector.parse(piece) if index % 2 else piece for index, piece in enumerate(pieces)]
    return tuple(part for part in parts if part != "")


def selectors(parts: tuple[Part, ...]) -> tuple[selector.Selector, ...]:
    """Return the selectors of a template."""
    return tuple(part for part in parts if isinstance(part, selector.Selector))


def lone_selector(text: str) -> selector.Selector | None:
    """Return the selector that the whole template is, None where it is anything else."""
    parts = parse(text)
    return parts[0] if len(parts) == 1 and isinstance(parts[0], selector.Selector) else None
