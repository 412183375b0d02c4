"""Headers as they may be shown: signatures, tokens and other secrets are stars."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gateway.recipes import selector
from gateway.recipes.proofs import Jwt, SharedSecret, Vendor
from gateway.recipes.verify import secret_headers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.recipes.recipe import Recipe

STARS: Final = "***"
MOST_HEADERS: Final = 64
LONGEST_VALUE: Final = 256
_TELLING: Final = re.compile(
    r"auth|cookie|secret|token|signature|api-?key|password|passwd|credential|hmac|jwt|session|csrf"
)


class Redaction:
    """Shows the headers of configured sources' requests.

    Args:
        recipes: the sources' recipes, by name.
    """

    def __init__(self, recipes: Mapping[str, Recipe]) -> None:
        self._hidden = {name: hidden_headers(recipe) for name, recipe in recipes.items()}

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the configured sources."""
        return tuple(self._hidden)

    def show(self, source: str | None, headers: Mapping[str, str]) -> dict[str, str]:
        """Return headers of a source's event as they may be shown, shortened where they are many or long."""
        return self._shown(source, headers.items())

    def show_raw(self, source: str | None, headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
        """Return headers of a request as they may be shown; of one that is repeated the last."""
        return self._shown(
            source, ((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
        )

    def _shown(self, source: str | None, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
        hidden = self._hidden.get((source or "").partition("/")[0], ())
        shown: dict[str, str] = {}
        for name, value in headers:
            if len(shown) >= MOST_HEADERS:
                break
            secret = _TELLING.search(name.lower()) or name.lower().startswith(tuple(hidden))
            shown[name[:LONGEST_VALUE]] = STARS if secret else value[:LONGEST_VALUE]
        return shown


def hidden_headers(recipe: Recipe) -> frozenset[str]:
    """Return what the names of the headers begin with, in lower case, in which a recipe finds proofs."""
    proofs = [one for one in recipe.verify if not isinstance(one, SharedSecret | Jwt | Vendor)]
    places = (selector.parse(signature.at) for proof in proofs for signature in proof.signature)
    signatures = {found.name.lower().removesuffix("*") for found in places if found.place == "header"}
    return frozenset({*signatures, *(name.decode() for name in secret_headers(recipe))})
