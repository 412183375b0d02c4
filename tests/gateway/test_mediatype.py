from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mediatype import media_type


@pytest.mark.parametrize(
    ("header", "reads_as"),
    [
        (None, "json"),
        (b"", "json"),
        (b"application/json", "json"),
        (b"Application/JSON; charset=UTF-8", "json"),
        (b'application/json;charset="utf-8"', "json"),
        (b"application/cloudevents+json", "json"),
        (b"application/json; charset=latin-1", None),
        (b"application/x-www-form-urlencoded", "form"),
        (b"application/x-www-form-urlencoded; charset=iso-8859-1", None),
        (b"text/plain", "text"),
        (b"text/xml; charset=utf-8", "text"),
        (b"text/plain; charset=utf-16", None),
        (b"application/json; charset=utf-16", None),
        (b"application/soap+xml", "text"),
        (b"application/jsonp", None),
        (b"multipart/form-data; boundary=x", "multipart"),
        (b"multipart/form-data", None),
        (b"multipart/mixed; boundary=x", None),
        (b"\xff\xfe", None),
    ],
)
def test_what_can_be_read(header: bytes | None, reads_as: str | None) -> None:
    assert media_type(header).reads_as == reads_as


@given(st.binary(max_size=50))
def test_any_header_has_a_media_type(header: bytes) -> None:
    assert media_type(header).reads_as in {"json", "form", None}
