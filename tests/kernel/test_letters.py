"""Dead letters: what they hold, and that they always fit into a message."""

from __future__ import annotations

import orjson
import pytest

from tidemill.kernel.letters import letter, open_letter, undecodable
from tidemill.kernel.protocol.records import Claim, Created, End, Fault, Suspend
from tidemill.kernel.protocol.state import State

MAX_PAYLOAD = 1 << 20


def _ended(faults: list[Fault], raw: bytes = b"{}") -> State:
    state = State()
    state.apply(1, Created(rid="c", task="deploy", event={"id": "e1", "type": "x.y"}, raw=raw))
    seq = 2
    for number, fault in enumerate(faults[:-1]):
        state.apply(seq, Claim(rid=f"k{number}", q=1, n=number, worker="w"))
        state.apply(seq + 1, Suspend(rid=f"s{number}", q=1, wait="retry", until=1.0, fault=fault))
        seq += 2
    state.apply(seq, Claim(rid="k", q=1, n=99, worker="w"))
    state.apply(seq + 1, End(rid="end", outcome="failed", fault=faults[-1]))
    return state


def test_a_letter_holds_facts_errors_and_input() -> None:
    faults = [Fault("ValueError", f"number {n}", "trace", n, float(n)) for n in (1, 2)]
    facts, raw = open_letter(letter("run_x", _ended(faults, b'{"ref": "main"}')))
    assert raw == b'{"ref": "main"}'
    assert (facts["run"], facts["task"], facts["outcome"]) == ("run_x", "deploy", "failed")
    assert [error["message"] for error in facts["attempts"]] == ["number 1", "number 2"]
    assert facts["attempts"][0]["traceback"] == "trace"
    assert (facts["event"]["id"], facts["seq"]) == ("e1", 5)


@pytest.mark.parametrize("attempts", [1, 60, 3000])
def test_a_letter_fits_into_a_message_however_much_went_wrong(attempts: int) -> None:
    faults = [Fault("E", "é\n" * 2000, "\x01" * 16_384, n, 0.0) for n in range(1, attempts + 1)]
    body = letter("run_x", _ended(faults, b"x" * 131_072))
    facts, raw = open_letter(body)
    assert len(body) < MAX_PAYLOAD * 0.9
    assert len(raw) == 131_072
    kept = facts["attempts"]
    assert kept[-1]["attempt"] == attempts
    assert kept[-1]["traceback"]
    assert [error["attempt"] for error in kept] == list(range(attempts - len(kept) + 1, attempts + 1))
    assert len(kept) == attempts or len(orjson.dumps(kept)) > 300_000


def test_a_message_that_nobody_can_read_is_kept_as_it_came() -> None:
    facts, raw = open_letter(undecodable("tickets.x.y.z", b"\x00\n\xff", "no ticket"))
    assert raw == b"\x00\n\xff"
    assert (facts["outcome"], facts["subject"], facts["bytes"]) == ("undecodable", "tickets.x.y.z", 3)
    assert facts["attempts"] == [{"message": "no ticket"}]
    assert len(undecodable("s", b"x" * MAX_PAYLOAD, "r" * MAX_PAYLOAD)) < MAX_PAYLOAD * 0.9


def test_a_run_that_has_not_ended_leaves_no_letter() -> None:
    with pytest.raises(AssertionError):
        letter("run_x", State())
