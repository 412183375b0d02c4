"""Signals on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.errors import PayloadError
from tidemill.kernel.signals import KINDS, Kind, read_signal, write_signal
from tidemill.kernel.subjects import Names


@given(st.sampled_from(KINDS), st.text(), st.text())
def test_signals_are_read_as_they_were_written(kind: Kind, reason: str, reply: str) -> None:
    names = Names("prod")
    signal, answer = read_signal(names, names.signal("run_x"), write_signal(kind, reason, reply), 12)
    assert (signal.run, signal.kind, signal.reason, answer) == ("run_x", kind, reason, reply)
    assert signal.id == "signal-12"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"cancel"', b"7", b"{}", b'{"kind":"dance"}', b'{"kind":["cancel"]}', b"null"],
)
def test_what_is_no_signal_is_refused_with_its_subject(body: bytes) -> None:
    with pytest.raises(PayloadError, match=r"signals\.run_x"):
        read_signal(Names(), "signals.run_x", body, 1)


def test_a_sender_may_leave_reason_and_reply_out() -> None:
    signal, reply = read_signal(Names(), "signals.run_x", b'{"kind":"retry"}', 1)
    assert (signal.kind, signal.reason, reply) == ("retry", "", "")
