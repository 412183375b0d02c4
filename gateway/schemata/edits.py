"""Edited JSON held against what it was: where it differs, and masks that stand where secrets were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from gateway.recipes.selector import json_path
from gateway.schemata.secret_fields import STARS, masked
from tidemill.kernel.errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_Place = tuple[str | int, ...]
_MISSING: Final = object()
MOST_PATHS: Final = 20
_LONGEST: Final = 120


def changed_paths(old: Any, new: Any) -> list[str]:
    """Return the paths at which a value has changed, each at most 120 characters long.

    Arrays of different lengths differ as a whole. Of more than 20 paths the first ones are named.
    """
    found: list[str] = []
    for place in _changes(old, new, ()):
        if len(found) == MOST_PATHS:
            return [*found, "..."]
        found.append(json_path(place)[:_LONGEST])
    return found


def _changes(old: Any, new: Any, at: _Place) -> Iterator[_Place]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*old, *new)):
            if name in old and name in new:
                yield from _changes(old[name], new[name], (*at, name))
            else:
                yield (*at, name)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _changes(one, other, (*at, index))
    elif type(old) is not type(new) or old != new:
        yield at


def unmasked(new: Any, old: Any, schemas: Sequence[Any]) -> Any:
    """Return edited data with the secrets of the old ones where its editor saw their mask.

    Args:
        new: the edited data.
        old: what they were.
        schemas: those that mark fields as secret.

    Raises:
        PayloadError: the mask stands where it can't be told which secret belongs there.
    """
    if not schemas:
        return new
    return _restored(new, masked(_without_stars(new), schemas), old, masked(old, schemas), ())


def _without_stars(value: Any) -> Any:
    """Return a value of the same form in which stars stand only where a mask puts them."""
    if isinstance(value, dict):
        return {name: _without_stars(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_stars(one) for one in value]
    return None if value == STARS else value


def _restored(new: Any, veil: Any, old: Any, seen: Any, at: _Place) -> Any:
    """Walk through edited data, how they are masked, the old data, and how those were seen."""
    if veil == STARS:
        return _secret(new, old, seen, at)
    if isinstance(new, dict):
        before, sights = (one if isinstance(one, dict) else {} for one in (old, seen))
        return {
            name: _restored(one, veil[name], before.get(name, _MISSING), sights.get(name), (*at, name))
            for name, one in new.items()
        }
    if isinstance(new, list):
        items, sightings = _items(new, old, seen)
        return [
            _restored(one, veil[index], items[index], sightings[index], (*at, index))
            for index, one in enumerate(new)
        ]
    return new


def _secret(new: Any, old: Any, seen: Any, at: _Place) -> Any:
    if new != STARS:
        return new
    if old is _MISSING or seen != STARS:
        raise PayloadError(
            f"{STARS} stands at {json_path(at)} for a secret, and it can't be told for which one",
            hint="write the secret itself there",
        )
    return old


def _items(new: list[Any], old: Any, seen: Any) -> tuple[list[Any], list[Any]]:
    """Return the old items that new ones stand for; none where some were added, left out or moved."""
    if isinstance(old, list) and isinstance(seen, list) and len(new) == len(old):
        known = {orjson.dumps(one) for one in seen} if seen != old else set()
        if not any(one != sight and orjson.dumps(one) in known for one, sight in zip(new, seen, strict=True)):
            return old, seen
    return [_MISSING] * len(new), [None] * len(new)
