"""What breaks between two versions of a schema, and for whom.

Two sides depend on a schema. Handlers that were written for the old version *read* documents of the new
one: they break where the new one promises less (a member may be missing, a type or a value is new).
Senders that still *write* the old version break where the new one demands more: their events would be
quarantined. A change can break one side, both or neither.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from gateway.recipes.selector import json_path
from gateway.schemata.shape import TYPES, Shape, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Side = Literal["readers", "writers"]
_Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two versions.

    Attributes:
        path: where, `$.commits[*].id`.
        change: what has changed, in a few words.
        breaks: the sides that it breaks; empty where it is harmless.
    """

    path: str
    change: str
    breaks: tuple[Side, ...]

    def facts(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self) | {"breaks": list(self.breaks)}


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return what has changed from one schema to another, in the order of the new one."""
    return list(_differences(shape_of(old), shape_of(new), ()))


def _differences(old: Shape, new: Shape, at: _Place) -> Iterator[Change]:
    yield from _type_changes(old, new, at)
    yield from _value_changes(old, new, at)
    yield from _constraint_changes(old, new, at)
    yield from _member_changes(old, new, at)
    for name, member in new.members.items():
        if name in old.members:
            yield from _differences(old.members[name], member, (*at, name))
    for one, other, part in ((old.items, new.items, "*"), (old.others, new.others, "*")):
        if one is not None and other is not None:
            yield from _differences(one, other, (*at, part))


def _change(at: _Place, text: str, *breaks: Side) -> Change:
    return Change(json_path(at).replace('["*"]', "[*]"), text, breaks)


def _type_changes(old: Shape, new: Shape, at: _Place) -> Iterator[Change]:
    before, after = _all_types(old), _all_types(new)
    if lost := before - after:
        yield _change(at, f"may no longer be {_listed(lost)}", "writers")
    if gained := after - before:
        yield _change(at, f"may now be {_listed(gained)} too", "readers")


def _all_types(shape: Shape) -> set[str]:
    types = set(TYPES if shape.types is None else shape.types)
    return types | {"integer"} if "number" in types else types


def _listed(types: set[str]) -> str:
    return " or ".join(name for name in TYPES if name in types)


def _value_changes(old: Shape, new: Shape, at: _Place) -> Iterator[Change]:
    if old.values is None and new.values is None:
        return
    if old.values is None:
        yield _change(at, f"may only be {_quoted(new.values)}", "writers")
        return
    if new.values is None:
        yield _change(at, f"may be other than {_quoted(old.values)}", "readers")
        return
    if lost := [value for value in old.values if value not in new.values]:
        yield _change(at, f"may no longer be {_quoted(lost)}", "writers")
    if gained := [value for value in new.values if value not in old.values]:
        yield _change(at, f"may now be {_quoted(gained)}", "readers")


def _quoted(values: Any) -> str:
    return ", ".join(repr(value) for value in values or ())


def _constraint_changes(old: Shape, new: Shape, at: _Place) -> Iterator[Change]:
    for name in sorted(old.constraints.keys() | new.constraints.keys()):
        before, after = old.constraints.get(name), new.constraints.get(name)
        if before == after:
            continue
        if before is None:
            yield _change(at, f"{name} {after!r} is demanded", *_binding(name, "writers"))
        elif after is None:
            yield _change(at, f"{name} {before!r} is no longer promised", *_binding(name, "readers"))
        else:
            yield _change(at, f"{name} {before!r} is now {after!r}", *_moved(name, before, after))


def _binding(name: str, side: Side) -> tuple[Side, ...]:
    """Return whom a keyword binds: `format` is not checked, so only readers rely on it."""
    return () if name == "format" and side == "writers" else (side,)


def _moved(name: str, before: Any, after: Any) -> tuple[Side, ...]:
    """Return whom a bound that has moved breaks: a tighter one writers, a looser one readers."""
    if name == "format":
        return ("readers",)
    if not isinstance(before, int | float) or not isinstance(after, int | float) or name == "multipleOf":
        return ("readers", "writers")
    is_lower_bound = name.lower().startswith(("min", "exclusivemin"))
    return ("writers",) if (after > before) == is_lower_bound else ("readers",)


def _member_changes(old: Shape, new: Shape, at: _Place) -> Iterator[Change]:
    for name in sorted(new.required - old.required):
        yield _change((*at, name), "is required now", "writers")
    for name in sorted(old.required - new.required):
        gone = name not in new.members
        text = "is no longer described" if gone else "may be missing now"
        yield _change((*at, name), text, "readers")
    for name in sorted(old.members.keys() - new.members.keys() - old.required):
        yield _change((*at, name), "is no longer described", "readers")
    for name in new.members:
        if name not in old.members and name not in new.required:
            yield _change((*at, name), "is described now")
    if new.closed and not old.closed:
        yield _change(at, "may have no other members now", "writers")
    if old.closed and not new.closed:
        yield _change(at, "may have other members now", "readers")
