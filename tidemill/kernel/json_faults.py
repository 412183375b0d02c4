"""Finding the place inside a Python value that keeps it from becoming JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Place = tuple[str | int, ...]
_ANY: Final[TypeAdapter[Any]] = TypeAdapter(Any)
_MAX_DEPTH: Final = 200


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """Where a value isn't JSON, and why."""

    place: Place
    reason: str


def path_text(place: Iterable[str | int], root: str = "") -> str:
    """Return a place as users write it: `head_commit.id`, `result.items[3].when`; the root's name alone."""
    text = root
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.isidentifier() or not step:
            text += f".{step}" if text else step
        else:
            text += f"[{step!r}]"
    return text


def unserialisable(value: object) -> Fault | None:
    """Return the first place, depth first, of something that has no JSON form."""
    return _first(value, (), (), _leaf_problem)


def not_finite(value: object) -> Fault | None:
    """Return the first place of a number that JSON can't write: NaN and both infinities."""
    return _first(value, (), (), _number_problem)


def too_large(value: object) -> Fault | None:
    """Return the first place of an integer beyond 64 bits, which most readers of JSON round or refuse."""
    return _first(value, (), (), _integer_problem)


def _first(value: object, place: Place, above: tuple[int, ...], problem: _Problem) -> Fault | None:
    if id(value) in above:
        return Fault(place, "refers to itself")
    if len(above) > _MAX_DEPTH:
        return Fault(place, f"is nested more than {_MAX_DEPTH} deep")
    members = _members(value)
    if members is None:
        reason = problem(value)
        return None if reason is None else Fault(place, reason)
    for name, member in members:
        found = _first(member, (*place, name), (*above, id(value)), problem)
        if found is not None:
            return found
    return None


def _members(value: object) -> Iterator[tuple[str | int, object]] | None:
    """Return what a container holds under which name, None for a value that is none."""
    if isinstance(value, Mapping):
        return ((str(key), member) for key, member in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return iter(enumerate(value))
    if isinstance(value, BaseModel):
        return iter((*value.__dict__.items(), *(value.model_extra or {}).items()))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return ((name, getattr(value, name)) for name in names if hasattr(value, name))
    return None


def _leaf_problem(value: object) -> str | None:
    if isinstance(value, bytes | bytearray):
        return _bytes_problem(bytes(value))
    try:
        _ANY.dump_json(value)
    except Exception as error:  # noqa: BLE001 - a type's own serialiser may raise anything
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        told = str(error).startswith("Unable to serialize unknown type")
        return f"{kind} has no JSON form" if told else f"{kind}: {error}"
    return None


def _bytes_problem(value: bytes) -> str | None:
    try:
        value.decode()
    except UnicodeDecodeError:
        return "bytes that aren't UTF-8 text: annotate them as pydantic.Base64Bytes"
    return None


def _number_problem(value: object) -> str | None:
    return f"{value} is no JSON number" if isinstance(value, float) and not math.isfinite(value) else None


def _integer_problem(value: object) -> str | None:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return f"an integer of {value.bit_length()} bits is no JSON number: annotate it as text or Decimal"
    return None


if TYPE_CHECKING:
    from collections.abc import Callable

    _Problem = Callable[[object], str | None]
