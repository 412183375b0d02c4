from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernel.protocol.strategies import RECORDS
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.frames import pack, unpack
from tidemill.kernel.protocol.records import Claim, Created, Record, decode, encode


@given(RECORDS)
def test_a_record_comes_back_as_it_was_written(record: Record) -> None:
    assert decode(encode(record)) == record


@given(RECORDS)
def test_what_has_its_default_is_left_out(record: Record) -> None:
    facts, _ = unpack(encode(Created(rid=record.rid, task="t")))
    assert facts == {"kind": "created", "rid": record.rid, "task": "t"}


def test_the_input_is_stored_byte_for_byte_behind_the_facts() -> None:
    assert encode(Created(rid="c", task="t", raw=b"\x00\n\xff")).endswith(b"}\n\x00\n\xff")


def test_an_empty_body_is_a_tombstone() -> None:
    assert decode(b"") is None


def test_a_record_of_a_newer_version_is_an_error_that_says_so() -> None:
    with pytest.raises(PayloadError, match="unknown journal record 'teleported'") as caught:
        decode(pack({"kind": "teleported", "rid": "x"}))
    assert "upgrade" in caught.value.hint


@pytest.mark.parametrize(
    "body", [pack({"kind": "claim", "rid": "x"}), pack({"kind": "claim", "rid": "x", "colour": "red"})]
)
def test_a_record_with_missing_or_foreign_facts_is_an_error(body: bytes) -> None:
    with pytest.raises(PayloadError, match="malformed 'claim' record") as caught:
        decode(body)
    assert "newer version" in caught.value.hint


@given(st.binary(min_size=1))
def test_any_other_bytes_are_an_error_of_the_tree(body: bytes) -> None:
    with pytest.raises(PayloadError):
        decode(body)


def test_a_kind_is_part_of_the_bytes() -> None:
    assert encode(Claim(rid="x", q=1, n=1, worker="w")).startswith(b'{"kind":"claim"')


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind":"suspend","rid":"r","q":1,"wait":"retry","fault":{"kind":"other"}}',
        b'{"kind":"suspend","rid":"r","q":1,"wait":"retry","fault":"text"}',
        b'{"kind":"end","rid":"r","outcome":"failed","records":7}',
        b'{"kind":"created","rid":"r","task":"t","tags":7}',
    ],
)
def test_a_record_whose_parts_are_malformed_is_named(line: bytes) -> None:
    with pytest.raises(PayloadError, match="malformed"):
        decode(line + b"\n")
