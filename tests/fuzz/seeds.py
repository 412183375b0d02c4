"""What fuzzing begins with beside the kept corpus: a genuine request of every way of every preset."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.recipes.presets import preset, preset_names
from gateway.recipes.samples import body_of, find_sample, sample_types
from tests.fuzz import recipe_target

MOST = 3000
DOCUMENTS = (
    b"{}",
    b'{"type":"a.b","data":{"name":"\xc5\xbd"},"value":[{"id":"1"}]}',
    b"a=1&b=%2B",
    b"bt_payload=abc",
    b'{"notificationItems":[{"NotificationRequestItem":{"pspReference":"1"}}]}',
    b'{"Type":"Notification","Message":"a","MessageId":"a","TopicArn":"a","Timestamp":"a"}',
)


def recipes() -> Iterator[bytes]:
    """Yield inputs of the recipe target."""
    for name in preset_names():
        ways = range(max(1, len(preset(name).verify)))
        for way in ways:
            for body in (*DOCUMENTS, *_samples(name)):
                yield f"{name} {way} signed\n\n\n".encode() + body


def documents() -> Iterator[bytes]:
    """Yield inputs of the JSON target."""
    yield from DOCUMENTS
    for depth in (64, 65, 1000):
        yield b"[" * depth + b"]" * depth
        yield b'{"a":' * depth + b"1" + b"}" * depth
    for name in preset_names():
        yield from _samples(name)


def _samples(name: str) -> Iterator[bytes]:
    for event_type in sample_types(name):
        sample = find_sample(name, event_type)
        body = body_of(preset(name), sample, event_id="evt_1", timestamp=recipe_target.NOW)
        if len(body) <= MOST:
            yield body
