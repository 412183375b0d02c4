"""Normalisation: a provider's request becomes CloudEvents attributes, by the recipe's selectors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from gateway.recipes import selector, template
from gateway.recipes.moment import datetime_of, parse_moment
from gateway.recipes.signed import value_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.inbound import Inbound
    from gateway.reading import Content
    from gateway.recipes.recipe import EventNames, Moment
    from gateway.recipes.verify import Verified

MAX_TYPE: Final = 200
MAX_ID: Final = 200
RECEIVED: Final = "received"
_T = TypeVar("_T")
EPOCH: Final = datetime.fromtimestamp(0, UTC)


class Delivery(NamedTuple):
    """A verified request with what was read of its body.

    Attributes:
        inbound: the request.
        content: what its body holds, `NOTHING` where it couldn't be read.
        verified: what its signature covers.
        item: the item of a batch that this event is, else the whole document.
        fallback: the id of an item without one; empty for a whole delivery.
    """

    inbound: Inbound
    content: Content
    verified: Verified
    item: Any
    fallback: str = ""


class Identity(NamedTuple):
    """What an event is called.

    Attributes:
        provider_type: the provider's type with its action, `issues.opened`; None where none was found.
        base_type: the same without the action, `issues`.
        id: the provider's delivery id, or one that is derived from the delivery.
        time: when it happened, else when it came.
        subject: what it is about.
    """

    provider_type: str | None
    base_type: str | None
    id: str
    time: datetime
    subject: str | None


_Renderer = Callable[[Delivery], str | None]
_Clock = Callable[[Delivery], datetime | None]


class Normaliser:
    """Names events by one recipe; the selectors are compiled once.

    Args:
        names: the recipe's.
        derive: returns the id of a delivery without one.
    """

    def __init__(self, names: EventNames, derive: Callable[[Inbound, Verified], str]) -> None:
        self._derive = derive
        self.declares_type = bool(names.type)
        self._type = [_renderer(text) for text in names.type]
        self._action = [_renderer(text) for text in names.action]
        self._id = [_renderer(text) for text in names.id]
        self._subject = [_renderer(text) for text in names.subject]
        self._time = [_clock(moment) for moment in names.time]
        self._subject_by_type = {
            key: [_renderer(text) for text in naming.subject]
            for key, naming in names.by_type.items()
            if naming.subject is not None
        }
        self._time_by_type = {
            key: [_clock(moment) for moment in naming.time]
            for key, naming in names.by_type.items()
            if naming.time is not None
        }

    def _own_id(self, delivery: Delivery) -> str | None:
        return _sound_id(_first(self._id, delivery))

    def _derived_id(self, delivery: Delivery) -> str:
        return self._derive(delivery.inbound, delivery.verified)

    def identify(self, delivery: Delivery) -> Identity:
        """Name the event of a delivery as far as what could be read of it goes."""
        base = _first(self._type, delivery)
        action = _first(self._action, delivery) if base else None
        full = f"{base}.{action}" if action else base
        subjects = _of_type(self._subject_by_type, full, base, self._subject)
        clocks = _of_type(self._time_by_type, full, base, self._time)
        return Identity(
            provider_type=full,
            base_type=base,
            id=self._own_id(delivery)
            or delivery.fallback
            or self._derive(delivery.inbound, delivery.verified),
            time=_first_time(clocks, delivery),
            subject=_first(subjects, delivery),
        )


def _sound_id(text: str | None) -> str | None:
    """Return an id that fits into a header and a log line: what doesn't is replaced by its hash."""
    if text is None or (len(text) <= MAX_ID and text.isascii() and text.isprintable()):
        return text
    return f"sha256-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def type_problem(provider_type: str) -> str | None:
    """Say why a provider's type can't be a part of a subject, or None."""
    if len(provider_type) > MAX_TYPE:
        return f"The event's type is longer than {MAX_TYPE} characters."
    if not provider_type.isprintable():
        return "The event's type has characters that can't be printed."
    return None


def _of_type(
    table: Mapping[str, list[_T]], full: str | None, base: str | None, default: list[_T]
) -> list[_T]:
    if not table or base is None:
        return default
    return table.get(full or base) or table.get(base, default)


def _first(renderers: Sequence[_Renderer], delivery: Delivery) -> str | None:
    for render in renderers:
        text = render(delivery)
        if text:
            return text
    return None


def _first_time(clocks: Sequence[_Clock], delivery: Delivery) -> datetime:
    for clock in clocks:
        moment = clock(delivery)
        if moment is not None:
            return moment
    return datetime_of(delivery.inbound.received_at) or EPOCH


def _renderer(text: str) -> _Renderer:
    """Compile a template: the text of all its parts, None where one is missing."""
    parts = [part if isinstance(part, str) else _getter(part) for part in template.parse(text)]
    if len(parts) == 1 and not isinstance(parts[0], str):
        return parts[0]

    def render(delivery: Delivery) -> str | None:
        pieces: list[str] = []
        for part in parts:
            piece = part if isinstance(part, str) else part(delivery)
            if piece is None:
                return None
            pieces.append(piece)
        return "".join(pieces)

    return render


def _clock(moment: Moment) -> _Clock:
    get = _getter(selector.parse(moment.at))

    def clock(delivery: Delivery) -> datetime | None:
        text = get(delivery)
        seconds = parse_moment(text, moment.unit) if text else None
        return datetime_of(seconds) if seconds is not None else None

    return clock


def _getter(found: selector.Selector) -> _Renderer:
    """Compile a selector into a function from a delivery to text or None."""
    if found.place == "body":
        path = selector.path_of(found.name)
        return lambda delivery: selector.text_of(selector.find(delivery.content.document, path))
    if found.place == "item":
        path = selector.path_of(found.name)
        return lambda delivery: selector.text_of(selector.find(delivery.item, path))
    if found.place in _FIXED:
        return _FIXED[found.place]
    if found.place == "header":
        name = found.key
        return lambda delivery: _decoded(delivery.inbound.header(name))
    if found.place in _NAMED:
        return _NAMED[found.place](found.name)
    return lambda delivery: _decoded(value_of(found, delivery.inbound))


_FIXED: Final[dict[str, _Renderer]] = {
    "id": lambda delivery: delivery.verified.id,
    "timestamp": lambda delivery: delivery.verified.timestamp,
}


_NAMED: Final[dict[str, Callable[[str], _Renderer]]] = {
    "form": lambda name: lambda delivery: (delivery.content.form or {}).get(name) or None,
    "key": lambda names: lambda delivery: selector.first_key(delivery.content.document, names),
}


def _decoded(value: bytes | None) -> str | None:
    return value.decode("latin-1") if value else None
