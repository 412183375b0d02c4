"""What is missing to judge a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gateway.keys.places import KeyPlace


class Wanted(NamedTuple):
    """Keys of a place have to be fetched before anybody can tell: a value, for `KeyStore.fetch`.

    Attributes:
        place: where they are.
        kid: the key's id, None where the request names none.
    """

    place: KeyPlace
    kid: str | None = None
