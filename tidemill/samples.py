"""Golden samples: events as a provider sends them, under `schemas/<source>/<type>/samples/*.json`.

A type with an action, `issues.opened`, is the sample `opened` of `issues`; a type alone is its first
sample by name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.subjects import unescape_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUNDLED: Final = Path(__file__).resolve().parent.parent / "schemas"
"""The folder of the schemas and samples that come with the product."""


def sample_types(source: str, directories: Sequence[Path] = (BUNDLED,)) -> list[str]:
    """Return the types, with their actions, that there are samples of."""
    return sorted({_type_of(path) for path in _paths(source, directories)})


def find_sample(source: str, event_type: str, directories: Sequence[Path] = (BUNDLED,)) -> Any:
    """Return the document of a sample, a fresh one each time.

    Args:
        source: a source or preset.
        event_type: the provider's type, with its action or without.
        directories: folders of schemas; later ones come first.

    Raises:
        NotFoundError: there is none of that type.
    """
    for path in _paths(source, directories):
        if event_type in (_type_of(path), _base_of(path)):
            return _read(path)
    known = ", ".join(sample_types(source, directories)) or "none at all"
    raise NotFoundError(
        f"there is no sample of {event_type!r} for {source!r}", hint=f"there are: {known}; or give a file"
    )


def _paths(source: str, directories: Sequence[Path]) -> Iterator[Path]:
    for directory in reversed(directories):
        yield from sorted((directory / source).glob("*/samples/*.json"))


def _read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _type_of(path: Path) -> str:
    document = _read(path)
    action = document.get("action") if isinstance(document, dict) else None
    base = _base_of(path)
    return f"{base}.{action}" if action == path.stem else base


def _base_of(path: Path) -> str:
    return unescape_type(path.parent.parent.name)
