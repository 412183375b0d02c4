"""A handler bound to one run's input: what the worker executes, and how its result is written down."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tidemill.event import Event, event_of
from tidemill.kernel.codec import Codec
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill.run_context import Attempt

TRIGGERED_TYPE: Final = "tidemill.triggered"
TRIGGERED_SOURCE: Final = "tidemill"
_ANYTHING: Final[Codec[Any]] = Codec(Any, "data")


@dataclass(slots=True)
class RunInput:
    """What a run was started with.

    Attributes:
        facts: the attributes of the event that started it; None where it was triggered.
        raw: the event's body, or the payload as JSON text; None where only `payload` is known.
        payload: the payload as parsed JSON, looked at where `raw` is None.
    """

    facts: dict[str, Any] | None
    raw: bytes | None = None
    payload: Any = None
    _envelope: Envelope | None = field(default=None, init=False, repr=False)

    def envelope(self) -> Envelope | None:
        """Return the event that started the run, None where it was triggered."""
        if self._envelope is None and self.facts is not None:
            self._envelope = Envelope.from_facts(self.facts, self.raw or b"")
        return self._envelope

    def data(self, codec: Codec[Any]) -> Any:
        """Return the event's data, or the payload, in the type of the annotation.

        Raises:
            PayloadError: it doesn't fit; the sentence names the fields.
        """
        if self.facts is not None and self.facts.get("value") is not None:
            return codec.decode_value(self.facts["value"])
        if self.raw:
            return codec.decode(self.raw)
        return codec.decode_value(None if self.facts is not None else self.payload)

    def event(self, codec: Codec[Any], attempt: Attempt) -> Event[Any]:
        """Return the whole event for a handler that asks for it; a trigger is an event of its own.

        Raises:
            PayloadError: the data doesn't fit the annotation.
        """
        envelope = self.envelope()
        if envelope is not None:
            return event_of(envelope, self._any_data(codec) if codec.annotation is Any else self.data(codec))
        data = self.data(codec)
        return triggered_event(attempt, data, self.raw if self.raw is not None else codec.encode(data))

    def untyped_event(self) -> Event[Any] | None:
        """Return the event for `ctx.event`, its data as plain JSON; None where the run was triggered."""
        envelope = self.envelope()
        return None if envelope is None else event_of(envelope, self._any_data(_ANYTHING))

    def _any_data(self, codec: Codec[Any]) -> Any:
        """Return the data for whoever asks for none in particular: None where the body is no JSON.

        Such an event was released from the quarantine; its bytes are what there is of it.
        """
        try:
            return self.data(codec)
        except PayloadError:
            return None


def triggered_event(attempt: Attempt, data: object, raw: bytes) -> Event[Any]:
    """Return the event that stands for a trigger."""
    return Event(
        id=attempt.run_id,
        type=TRIGGERED_TYPE,
        source=TRIGGERED_SOURCE,
        subject=None,
        time=attempt.now(),
        data=data,
        raw=raw,
        headers={},
    )


@dataclass(slots=True, unsafe_hash=True)
class BoundCall:
    """A handler with its arguments, ready to be executed once.

    Attributes:
        is_async: whether `invoke` gives a coroutine; else it blocks and belongs into a thread.
    """

    is_async: bool
    _function: Callable[..., Any]
    _args: tuple[object, ...]
    _kwargs: dict[str, object]
    _result: Codec[Any]

    def invoke(self) -> Any:
        """Call the handler: returns its coroutine, or executes it and returns what it returns."""
        return self._function(*self._args, **self._kwargs)

    def encode_result(self, value: object) -> bytes:
        """Return what the handler returned as JSON text, by its return annotation.

        Raises:
            PayloadError: it can't be serialised or isn't of that type; the sentence names the path inside.
        """
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            raise PayloadError(
                "the result is a coroutine that nobody awaited",
                hint="make the task's function, or the wrapper around it, an async def",
            )
        return self._result.encode(value)
