"""Splitting: the items of a delivery that brings several events at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.recipes import selector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.reading import Content

MAX_ITEMS: Final = 5000


class Splitter:
    """Finds a batch's array by a recipe's `split` selectors: the first place where one is."""

    def __init__(self, split: Sequence[str]) -> None:
        found = [selector.parse(text) for text in split]
        self._paths = [selector.path_of(one.name) if one.name else () for one in found]

    def items(self, content: Content) -> list[Any] | None:
        """Return a batch's items, None where the delivery is no batch."""
        for path in self._paths:
            value = selector.find(content.document, path)
            if isinstance(value, list):
                return value
        return None
