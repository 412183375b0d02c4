from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.strictjson import EXAMINED, MAX_DEPTH, UnsoundJsonError, loads
from tests.gateway.json_oracle import depth as depth_of
from tests.gateway.json_oracle import judged, judged_slowly

_NAMES = st.sampled_from(["a", "b", ":", "a:b", "\\u003a", "\\u003A", "\\u0061", "\\\\u003a", '\\"', "é"])
_SCALARS = st.sampled_from(
    [
        "1",
        "-0",
        "1.5",
        "1e5",
        "1e400",
        "-1e999",
        "NaN",
        "Infinity",
        "-Infinity",
        "true",
        "null",
        '"x:y"',
        '"\\u003a"',
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        '"{["',
        "18446744073709551616",
        "9" * 310,
        "01",
        '"\t"',
        "0.1e-400",
        '""',
    ]
)


def _object(members: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f'"{name}":{value}' for name, value in members) + "}"


_DOCUMENTS = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(st.tuples(_NAMES, inner), max_size=4).map(_object),
        st.lists(inner, max_size=4).map(lambda items: "[ " + " , ".join(items) + " ]"),
    ),
    max_leaves=12,
)


@given(_DOCUMENTS)
@example('{"a":1,"\\u0061":2}')
@example('{"\\u003a":1,"a:":{"a":1,"a":":"}}')
@example('{"a":{"b":1},"a":{"b":1}}')
def test_agrees_with_the_slow_reader_on_almost_json(text: str) -> None:
    assert judged(text.encode()) == judged_slowly(text.encode())


@given(st.binary(max_size=60))
@example(b'\xef\xbb\xbf{"a":1}')
@example(b"")
def test_agrees_with_the_slow_reader_on_any_bytes(raw: bytes) -> None:
    assert judged(raw) == judged_slowly(raw)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_reads_every_sound_document(document: Any) -> None:
    for ascii_only in (True, False):
        assert loads(json.dumps(document, ensure_ascii=ascii_only, indent=1).encode()) == document


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 1000, 5000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_is_bounded(depth: int, opening: str, closing: str) -> None:
    raw = (opening * depth + "1" + closing * depth).encode()
    if depth <= MAX_DEPTH:
        assert depth_of(loads(raw)) == depth
        return
    with pytest.raises(UnsoundJsonError) as caught:
        loads(raw)
    assert caught.value.reason.code == "too_deep"


def test_names_the_place_of_what_nests_too_deep() -> None:
    with pytest.raises(UnsoundJsonError) as caught:
        loads(b'{"ok":[],"x":' + b"[" * 64 + b"]" * 64 + b"}")
    assert caught.value.reason.path == "$.x" + "[0]" * 63


def test_a_deep_value_under_a_name_that_stands_twice_is_found() -> None:
    with pytest.raises(UnsoundJsonError) as caught:
        loads(b'{"a":' + b"[" * 1000 + b"]" * 1000 + b',"a":1}')
    assert caught.value.reason.code in {"too_deep", "duplicate_key"}


@pytest.mark.parametrize(
    ("raw", "code", "path"),
    [
        (b"", "not_json", None),
        (b"  \n", "not_json", None),
        (b"{", "not_json", None),
        (b"payload=%7B%7D", "not_json", None),
        (b'{"a":NaN}', "not_finite", None),
        (b'{"a":-Infinity}', "not_finite", None),
        (b"[1e400]", "not_finite", None),
        (b"[" + b"9" * 400 + b"]", "not_finite", None),
        (b"[" + b"9" * 5000 + b"]", "not_finite", None),
        (b'{"c":[{"id":1},{"id":1,"id":2}]}', "duplicate_key", "$.c[1].id"),
        (b'{"a b":{"x":1,"\\u0078":2}}', "duplicate_key", '$["a b"].x'),
        (b"\xef\xbb\xbf{}", "bad_encoding", None),
        (b'{"a":"\xff"}', "bad_encoding", None),
        ('{"a":1}'.encode("utf-16"), "bad_encoding", None),
        (b'{"a":"\\ud800"}', "bad_encoding", None),
        (b'{"a":"\xed\xa0\x80"}', "bad_encoding", None),
    ],
)
def test_says_what_is_wrong(raw: bytes, code: str, path: str | None) -> None:
    with pytest.raises(UnsoundJsonError) as caught:
        loads(raw)
    assert (caught.value.reason.code, caught.value.reason.path) == (code, path)


def test_integers_beyond_64_bits_are_read_as_the_nearest_double() -> None:
    assert loads(b"[18446744073709551615, 18446744073709551616]") == [
        18446744073709551615,
        1.8446744073709552e19,
    ]


_FILLER = b'"' + b"x" * EXAMINED + b'"'


@pytest.mark.parametrize(
    ("inside", "code"),
    [
        (b'{"a":1,"a":2}', "duplicate_key"),
        (b'{"a":1,"\\u0061":2}', "duplicate_key"),
        (b'{"\\u003a":1}', None),
        (b"[" * 70 + b"]" * 70, "too_deep"),
        (b'{"a":' + b"[" * 1000 + b"]" * 1000 + b',"a":1}', "too_deep|duplicate_key"),
        (b"NaN", "not_json"),
        (b"1e400", "not_json"),
        (b'"\xff"', "bad_encoding"),
        (b'"\\ud800"', "not_json"),
    ],
)
def test_a_large_document_is_judged_without_looking_for_the_place(inside: bytes, code: str | None) -> None:
    raw = b"[" + _FILLER + b"," + inside + b"]"
    if code is None:
        assert len(loads(raw)) == 2
        return
    with pytest.raises(UnsoundJsonError) as caught:
        loads(raw)
    assert caught.value.reason.code in code.split("|")
    assert caught.value.reason.path is None
