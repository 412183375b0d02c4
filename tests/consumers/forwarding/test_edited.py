"""Events that were edited before release, as destinations get them."""

from __future__ import annotations

import orjson

from consumers.forwarding.message import BodyKind, message_of
from tidemill.kernel.envelope import Envelope

MARKS: dict[str, str | int | bool] = {"editedby": "ada", "editedat": "2026-11-23T00:00:00Z"}
KINDS: tuple[BodyKind, ...] = ("raw", "cloudevent")


def test_edited_data_are_what_is_posted_and_the_editor_isnt_named() -> None:
    event = Envelope(id="1", source="s", type="s.t", raw=b"a=1", value={"a": 2}, extensions=MARKS)
    for kind in KINDS:
        message = message_of(event, kind)
        document = orjson.loads(message.body)
        assert (document if kind == "raw" else document["data"]) == {"a": 2}
        assert b"ada" not in message.body + repr(message.headers).encode()
    assert message_of(event, "raw").headers["content-type"] == "application/json"
    assert message_of(event, "raw").headers["ce-editedat"].startswith("2026-11-23")


def test_data_that_nobody_edited_are_posted_as_they_came() -> None:
    event = Envelope(id="1", source="s", type="s.t", raw=b"a=1", value={"a": "1"})
    assert message_of(event, "raw").body == b"a=1"
