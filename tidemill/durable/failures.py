"""Failures of steps: written down, and made again when the run is resumed.

An exception comes back in its own type with its arguments and attributes, as far as these are plain JSON
values. Where that doesn't make one that says the same, because its class is gone or needs what JSON can't
hold, a `StepError` with its type and message stands for it.
"""

from __future__ import annotations

import functools
import importlib
from math import isfinite
from typing import Any, Final

import orjson

from tidemill.kernel.errors import StepError
from tidemill.kernel.protocol.records import Fault

_MESSAGE_LIMIT: Final = 10_000
_FACTS_LIMIT: Final = 16 * 1024


def fault_of_step(error: Exception, number: int, at: float) -> Fault:
    """Return what is written down of the `number`-th failure of a step, at `at` seconds since the epoch."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    return Fault(kind.removeprefix("builtins."), _text(error)[:_MESSAGE_LIMIT], attempt=number, at=at)


def facts_of(error: Exception) -> dict[str, Any] | None:
    """Return an exception's arguments and attributes that are plain JSON values, None where none are."""
    facts: dict[str, Any] = {}
    if error.args and all(_is_plain(value) for value in error.args):
        facts["args"] = list(error.args)
    attributes = {name: value for name, value in vars(error).items() if _is_plain(value)}
    if attributes:
        facts["attributes"] = attributes
    try:
        return facts if facts and len(orjson.dumps(facts)) <= _FACTS_LIMIT else None
    except TypeError:  # integers beyond 64 bits, text that is no Unicode
        return None


def rebuilt(fault: Fault | None, facts: dict[str, Any] | None) -> Exception:
    """Return an exception like the one that a step has raised before the run was resumed."""
    fault, facts = fault or Fault("Exception", ""), facts or {}
    module, _, name = fault.type.rpartition(".")
    try:
        found: Any = functools.reduce(getattr, [name], importlib.import_module(module or "builtins"))
        error = found.__new__(found)
        error.args = tuple(facts.get("args", [fault.message]))
        vars(error).update(facts.get("attributes", {}))
        if isinstance(error, Exception) and fault.message in str(error):
            return error
    except Exception:  # noqa: BLE001 - a class that is gone or can't be made this way may raise anything
        return StepError(f"{fault.type}: {fault.message}")
    return StepError(f"{fault.type}: {fault.message}")


def _text(error: Exception) -> str:
    try:
        return str(error)
    except Exception as second:  # noqa: BLE001 - a user's __str__ may do anything
        return f"(its message can't be shown: {type(second).__name__})"


def _is_plain(value: Any) -> bool:
    """Say whether a value reads back from JSON as it is."""
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and isfinite(value))
