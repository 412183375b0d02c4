"""Headers that a request itself lists as signed, as Hook0 and Contentful do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.recipes import selector

if TYPE_CHECKING:
    from gateway.recipes.candidates import Offer
    from gateway.recipes.message import Message
    from gateway.recipes.proofs import SignedHeaders

MAX_HEADERS: Final = 64


class ListedHeaders:
    """Reads the list and what the listed headers hold."""

    def __init__(self, recipe: SignedHeaders, must: str | None = None) -> None:
        """Compile a recipe's `signed_headers`.

        Args:
            recipe: its part.
            must: a selector; where it is a header, that has to be in the list.
        """
        self._at = selector.parse(recipe.at)
        self._item_sep = recipe.item_sep.encode()
        self._join = recipe.join.encode()
        self._pairs = recipe.form == "pairs"
        found = selector.parse(must) if must else None
        self._must = found.key if found is not None and found.place == "header" else None

    def read(self, message: Message, found: list[Offer]) -> tuple[bytes, bytes] | None:
        """Return the list as sent and what is signed of it, None where something is missing."""
        listed = self._listed(message, found)
        names = [name.strip().lower() for name in listed.split(self._item_sep)] if listed else []
        if not names or len(names) > MAX_HEADERS or (self._must is not None and self._must not in names):
            return None
        values = [message.inbound.header(name) for name in names]
        if any(value is None for value in values):
            return None
        present = [(name, value) for name, value in zip(names, values, strict=True) if value is not None]
        return listed or b"", self._join.join(self._written(present))

    def _written(self, present: list[tuple[bytes, bytes]]) -> list[bytes]:
        if self._pairs:
            return [name + b":" + value for name, value in sorted(present)]
        return [value for _, value in present]

    def _listed(self, message: Message, found: list[Offer]) -> bytes | None:
        if self._at.place == "signature":
            return next(
                (offer.beside[self._at.name] for offer in found if self._at.name in offer.beside), None
            )
        return message.value(self._at)
