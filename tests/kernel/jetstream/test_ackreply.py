from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.errors import BrokerError
from tidemill.kernel.jetstream.ackreply import AckReply, parse

token = st.text("abcXYZ019-_%", min_size=1, max_size=12)
number = st.integers(0, 2**63)


@given(token, token, st.tuples(number, number, number, number, number))
def test_both_versions_say_the_same(stream: str, consumer: str, numbers: tuple[int, ...]) -> None:
    tail = ".".join([stream, consumer, *map(str, numbers)])
    attempt, stream_seq, consumer_seq, stored, pending = numbers
    wanted = AckReply(stream, consumer, attempt, stream_seq, consumer_seq, stored / 1e9, pending)
    assert parse(f"$JS.ACK.{tail}") == wanted
    assert parse(f"$JS.ACK.domain.hash.{tail}") == wanted
    assert parse(f"$JS.ACK._.hash.{tail}.random") == wanted


@given(st.text(max_size=80))
def test_anything_else_is_refused(reply: str) -> None:
    with pytest.raises(BrokerError):
        parse(reply)


@pytest.mark.parametrize(
    "reply", ["$JS.ACK.S.C.1.2.3.4", "$JS.ACK.S.C.1.2.x.4.5", "$JS.FC.S.C.1.2.3.4.5", ""]
)
def test_near_misses_are_refused(reply: str) -> None:
    with pytest.raises(BrokerError):
        parse(reply)
