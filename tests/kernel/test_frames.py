"""Frames: facts and bytes, apart and together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.errors import PayloadError
from tidemill.kernel.frames import pack, unpack

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
FACTS = st.dictionaries(
    TEXT, st.recursive(TEXT | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.none(), st.lists)
)


@given(FACTS, st.binary())
def test_a_frame_comes_apart_as_it_was_packed(facts: dict[str, object], raw: bytes) -> None:
    assert unpack(pack(facts, raw)) == (facts, raw)


@given(FACTS)
def test_the_facts_are_one_line(facts: dict[str, object]) -> None:
    assert pack(facts).count(b"\n") == 1


@given(st.binary())
def test_any_bytes_are_a_frame_or_refused(frame: bytes) -> None:
    try:
        facts, raw = unpack(frame)
    except PayloadError:
        return
    assert isinstance(facts, dict)
    assert frame.endswith(b"\n" + raw)


@pytest.mark.parametrize("frame", [b"", b"\n", b"{}", b"[]\n", b"null\n", b"{\n}", b"\xff\n"])
def test_what_is_no_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(PayloadError, match="not a frame"):
        unpack(frame)
