"""Triggers: what may be asked when a run is started, checked in one place for code, HTTP and command line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypedDict

from tidemill.kernel.clock import Duration, rfc3339, schedulable, seconds
from tidemill.kernel.errors import PayloadError, SettingsError

_MAX_TEXT: Final = 255
_MAX_TAGS: Final = 32
_LEAST_TTL: Final = 0.001


class TriggerOptions(TypedDict, total=False):
    """Options of `trigger`.

    Keys:
        idempotency_key: a second trigger of the task with the same key gives the first one's run (24 h).
        delay: how long the run waits before it starts.
        at: when the run starts, with a time zone; instead of `delay`.
        ttl: how long the run may wait until it starts; then it expires.
        tags: words under which the run is found later.
        detached: inside of a run: the run goes on when the one that starts it is cancelled.
    """

    idempotency_key: str
    delay: Duration
    at: datetime
    ttl: Duration
    tags: Sequence[str]
    detached: bool


NAMES: Final = tuple(name for name in TriggerOptions.__annotations__ if name != "detached")


@dataclass(frozen=True, slots=True)
class TriggerRequest:
    """A trigger, checked: the task, its payload as JSON text, and the options; durations in seconds.

    `trace` is the W3C `traceparent` of who asks.
    """

    task_id: str
    payload: bytes
    idempotency_key: str | None = None
    delay: float | None = None
    at: datetime | None = None
    ttl: float | None = None
    tags: tuple[str, ...] = ()
    trace: str | None = None

    def options(self) -> dict[str, Any]:
        """Return the options that are set as JSON, without the idempotency key."""
        given = {
            "delay": self.delay,
            "at": rfc3339(self.at) if self.at else None,
            "ttl": self.ttl,
            "tags": list(self.tags) or None,
        }
        return {name: value for name, value in given.items() if value is not None}


def parse_request(task_id: str, payload: bytes, options: Mapping[str, Any]) -> TriggerRequest:
    """Check the options of a trigger, from code or as JSON.

    Raises:
        PayloadError: an option is unknown or its value can't be used; the sentence names it.
    """
    for name in options:
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(NAMES)}"
            raise PayloadError(f"options.{name}: trigger has no such option", hint=hint)
    if "delay" in options and "at" in options:
        raise PayloadError("options.at: delay is given too", hint="say when the run starts in one way")
    return TriggerRequest(
        task_id=task_id,
        payload=payload,
        idempotency_key=_key(options["idempotency_key"]) if "idempotency_key" in options else None,
        delay=_seconds("delay", options["delay"]) if "delay" in options else None,
        at=_instant(options["at"]) if "at" in options else None,
        ttl=_seconds("ttl", options["ttl"], _LEAST_TTL) if "ttl" in options else None,
        tags=_tags(options.get("tags", ())),
    )


def _key(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT:
        raise PayloadError(
            f"options.idempotency_key: {value!r} is no key", hint=f"text of 1 to {_MAX_TEXT} characters"
        )
    return value


def _seconds(name: str, value: Any, least: float = 0.0) -> float:
    try:
        duration = -1.0 if isinstance(value, bool) else seconds(value)
    except (SettingsError, TypeError, ValueError):
        duration = -1.0
    if duration < least:
        raise PayloadError(
            f"options.{name}: {value!r} is no duration", hint="write seconds, or text like '90s', '5m', '24h'"
        )
    return duration


def _instant(value: object) -> datetime:
    hint = "an instant with a time zone, like 2026-12-01T08:00:00Z, at most a hundred years ahead"
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise PayloadError(f"options.at: {value!r} is no instant", hint=hint) from None
    if not isinstance(moment, datetime) or moment.utcoffset() is None or not schedulable(moment):
        raise PayloadError(f"options.at: {value!r} is no instant", hint=hint)
    return moment


def _tags(value: Any) -> tuple[str, ...]:
    fits = isinstance(value, Sequence) and not isinstance(value, str | bytes) and len(value) <= _MAX_TAGS
    hint = f"up to {_MAX_TAGS} texts, like ['nightly']"
    for number, tag in enumerate(value if fits else ()):
        if not isinstance(tag, str):
            sort = f"{type(tag).__module__}.{type(tag).__qualname__}".removeprefix("builtins.")
            raise PayloadError(f"options.tags[{number}]: {sort} is no text", hint=hint)
    if not fits or not all(0 < len(tag) <= _MAX_TEXT for tag in value):
        raise PayloadError(f"options.tags: {value!r} is no list of tags", hint=hint)
    return tuple(value)
