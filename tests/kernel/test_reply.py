"""Replies: what can be one, how they travel, how a run remembers them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.errors import PayloadError
from tidemill.kernel.frames import pack
from tidemill.kernel.protocol.records import Step
from tidemill.kernel.reply import MAX_BODY, STEP, Reply, replied


@dataclass
class Rate:
    name: str
    cents: int


@pytest.mark.parametrize(
    ("body", "media_type", "expected"),
    [
        ({"a": [1]}, "application/json", (b'{"a":[1]}', "application/json")),
        ("text", "application/json", (b'"text"', "application/json")),
        (None, "application/json", (b"null", "application/json")),
        ([Rate("slow", 500)], "application/json", (b'[{"name":"slow","cents":500}]', "application/json")),
        (b"\xff", "application/json", (b"\xff", "application/json")),
        ({"a": 1}, "application/problem+json", (b'{"a":1}', "application/problem+json")),
        ({"a": 1}, "application/json; charset=utf-8", (b'{"a":1}', "application/json; charset=utf-8")),
        ("<a/>", "text/xml", (b"<a/>", "text/xml; charset=utf-8")),
        ("ä", "text/plain;charset=utf-8", ("ä".encode(), "text/plain;charset=utf-8")),
        ("<a/>", "application/xml", (b"<a/>", "application/xml")),
        (bytearray(b"a"), "image/png", (b"a", "image/png")),
        (None, "text/plain", (b"", "text/plain")),
    ],
)
def test_what_can_be_a_reply(body: object, media_type: str, expected: tuple[bytes, str]) -> None:
    made = Reply.made(body, 200, media_type)
    assert (made.body, made.media_type) == expected
    assert Reply.decode(made.encode()) == made


@pytest.mark.parametrize(
    ("body", "status", "media_type"),
    [
        ("", 200, "text/plain\r\nSet-Cookie: a=b"),
        ("", 200, "text/plain\n"),
        ("", 200, "text"),
        ("", 200, ""),
        ("", 200, None),
        ("", 200, b"text/plain"),
        ("", 200, "text/plain; " + "a=b; " * 100),
        ("", 200, "text/plain; charset=\u00fc"),
        ("", 100, "text/plain"),
        ("", 302, "text/plain"),
        ("", 600, "text/plain"),
        ("", True, "text/plain"),
        ("", "200", "text/plain"),
        ("", 200.0, "text/plain"),
        ("a", 204, "text/plain"),
        ({"a": 1}, 200, "text/plain"),
        (1, 200, "text/plain"),
        (object(), 200, "application/json"),
        (float("nan"), 200, "application/json"),
        ("\ud800", 200, "text/plain"),
        ("\ud800", 200, "application/json"),
        (b"a" * (MAX_BODY + 1), 200, "text/plain"),
    ],
)
def test_what_cant(body: object, status: object, media_type: object) -> None:
    with pytest.raises(PayloadError):
        Reply.made(body, status, media_type)


def test_the_longest_one_travels() -> None:
    made = Reply.made("a" * MAX_BODY, 200, "text/plain")
    assert Reply.decode(made.encode()) == made


@given(st.text(), st.integers(), st.text() | st.binary() | st.integers() | st.none())
def test_no_media_type_can_end_a_header(media_type: str, status: int, body: object) -> None:
    try:
        made = Reply.made(body, status, media_type)
    except PayloadError:
        return
    assert re.fullmatch(r"[ -~]+", made.media_type)
    assert 200 <= made.status < 600


@given(
    st.binary() | st.builds(pack, st.dictionaries(st.text(), st.integers(0, 999) | st.text()), st.binary())
)
def test_bytes_from_the_broker_are_a_reply_or_refused(frame: bytes) -> None:
    try:
        made = Reply.decode(frame)
    except PayloadError:
        return
    assert Reply.decode(made.encode()) == made


@pytest.mark.parametrize("key", [STEP, f"{STEP}#2", f"helper.1/{STEP}"])
def test_a_run_remembers_what_it_answered(key: str) -> None:
    made = Reply.made("a", 200, "text/plain")
    result: Any = {"delivered": False} | made.to_json()
    silent = Step(rid="1", key=STEP, result={"delivered": False})
    assert replied([Step(rid="0", key="other", result=result), silent]) is None
    assert replied([silent, Step(rid="2", key=key, result=result)]) == made
    assert replied([Step(rid="2", key=key, result=orjson.Fragment(orjson.dumps(result)))]) == made
