"""Addresses of lists: the filters that are set, and where the list goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping


def address_of(
    path: str, given: Mapping[str, str], cursor: str | None = None, before: int | None = None
) -> str:
    """Return a list's address: filters that are empty are left out; it goes on at a cursor or a sequence."""
    place = {"cursor": cursor or "", "before": str(before or "")}
    wanted = {name: value for name, value in {**given, **place}.items() if value}
    return f"{path}?{urlencode(wanted)}" if wanted else path
