"""The oracle of the strict JSON reader: the standard library with every rule spelled out, one by one."""

from __future__ import annotations

import json
import math
from typing import Any

from gateway.strictjson import MAX_DEPTH, UnsoundJsonError, loads


class _UnsoundError(Exception):
    pass


def judged(raw: bytes) -> tuple[bool, Any]:
    """Return whether the reader finds a document sound, and what it reads."""
    try:
        return True, loads(raw)
    except UnsoundJsonError:
        return False, None


def judged_slowly(raw: bytes) -> tuple[bool, Any]:
    """Return the same by the oracle."""
    try:
        return True, _slow(raw)
    except (_UnsoundError, ValueError, RecursionError):
        return False, None


def depth(value: Any) -> int:
    """Return how deep a document nests."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def _slow(raw: bytes) -> Any:
    document = json.loads(
        raw.decode("utf-8"),
        object_pairs_hook=_unique,
        parse_int=_number,
        parse_float=_number,
        parse_constant=_number,
    )
    json.dumps(document, ensure_ascii=False).encode("utf-8")
    if depth(document) > MAX_DEPTH:
        raise _UnsoundError
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise _UnsoundError
    return dict(pairs)


def _number(text: str) -> float | int:
    if not math.isfinite(float(text)):
        raise _UnsoundError
    value = json.loads(text)
    return value if isinstance(value, float) or -(2**63) <= value < 2**64 else float(value)
