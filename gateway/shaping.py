"""Shaping: values that are taken out of events, or get another name, before anything is stored.

What is shaped is stored as JSON written anew: the bytes as they came would still hold what was taken out.
The provider's schema is held against the data as it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from gateway.recipes import selector
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ANY: Final = "*"


class Shaper:
    """Shapes the data of one source's events.

    Args:
        prune: paths of what is taken out; a part `*` stands for every key or item.
        rename: old path to new path; the new one's objects are made where they are missing. Where something
            that is no object stands in the way, the value stays where it is.
    """

    def __init__(self, prune: Sequence[selector.Path], rename: Mapping[selector.Path, selector.Path]) -> None:
        self._prune = prune
        self._rename = rename

    def attributes(self, data: Any) -> dict[str, Any]:
        """Return what an event's envelope holds of its data, shaped."""
        return {"raw": orjson.dumps(self.shape(data)), "value": None, "datacontenttype": "application/json"}

    def shape(self, data: Any) -> Any:
        """Return the data shaped; what was given stays as it is."""
        shaped = orjson.loads(orjson.dumps(data))
        for path in self._prune:
            _take_out(shaped, path)
        for old, new in self._rename.items():
            value = selector.find(shaped, old)
            if value is not selector.MISSING and _has_room(shaped, new, old):
                _take_out(shaped, old)
                _put(shaped, new, value)
        return shaped


def shaper_of(prune: Sequence[str], rename: Mapping[str, str], *, where: str) -> Shaper | None:
    """Return the shaper for some settings, None where there is nothing to do.

    Raises:
        SettingsError: a path is none.
    """
    if not prune and not rename:
        return None
    renamed = {_path(old, where): _path(new, where) for old, new in rename.items()}
    for path in (*renamed, *renamed.values()):
        if _ANY in path:
            raise SettingsError(f"{where}.rename: {_ANY} can't be renamed", hint="name one value")
    return Shaper([_path(text, where) for text in prune], renamed)


def _path(text: str, where: str) -> selector.Path:
    path = selector.path_of(text)
    if not text or "" in path:
        raise SettingsError(f"{where}: {text!r} is no path", hint="join keys by dots, like card.number")
    return path


def _take_out(here: Any, path: selector.Path) -> None:
    """Remove what stands at a path, in every branch that a `*` opens."""
    part, rest = path[0], path[1:]
    for key in _keys(here, part):
        if rest:
            _take_out(here[key], rest)
        elif isinstance(here, dict):
            del here[key]
    if not rest and isinstance(here, list):
        for index in sorted(_keys(here, part), reverse=True):
            del here[index]


def _keys(here: Any, part: str | int) -> list[Any]:
    """Return the keys or indexes of a container that a part of a path stands for."""
    if isinstance(here, dict):
        return list(here) if part == _ANY else [key for key in (str(part),) if key in here]
    if isinstance(here, list):
        indexes = range(len(here))
        return list(indexes) if part == _ANY else [index for index in indexes if index == part]
    return []


def _has_room(here: Any, path: selector.Path, old: selector.Path) -> bool:
    """Say whether nothing that is no object will stand above a path when what is at `old` has gone."""
    for depth, part in enumerate(path[:-1], 1):
        if not isinstance(here, dict):
            return False
        if path[:depth] == old or str(part) not in here:
            return True
        here = here[str(part)]
    return isinstance(here, dict)


def _put(here: Any, path: selector.Path, value: Any) -> None:
    """Set a value; the objects above it are made where they are missing."""
    for part in path[:-1]:
        here = here.setdefault(str(part), {})
    here[str(path[-1])] = value
