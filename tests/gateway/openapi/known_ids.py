"""Hooks of schemathesis: two of three paths name something that is there; nothing is followed."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import schemathesis

KNOWN: dict[str, list[str]] = json.loads(Path("known.json").read_bytes())


@schemathesis.hook
def map_path_parameters(_: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Replace what was made up by what is known."""
    return path_parameters and {name: _named(name, value) for name, value in path_parameters.items()}


@schemathesis.hook
def map_query(_: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """Leave out what is answered for as long as somebody listens."""
    return query and {name: value for name, value in query.items() if name != "follow"}


def _named(name: str, value: object) -> object:
    known, number = KNOWN.get(name), zlib.crc32(repr(value).encode())
    return known[number % len(known)] if known and number % 3 else value
