from __future__ import annotations

import asyncio

import pytest

from consumers.history.gate import HistoryGate
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.jetstream.topology import apply, wanted
from tidemill.kernel.protocol.closer import Keeping, Mark
from tidemill.kernel.services.histories import NOBODY, HistoryFloor, HistoryNote, abandoned, all_notes, lag

NOW = 1_000_000.0


def _gate(bucket: Bucket, now: float) -> HistoryGate:
    return HistoryGate(bucket, Keeping(journal=100.0), 50.0, clock=lambda: now)


def _note(**seqs: int) -> bytes:
    return HistoryNote(database="d", place="p", writer="w", seqs=seqs).pack()


@pytest.fixture
async def bucket(bus: Bus) -> Bucket:
    """The bucket of the histories' notes."""
    await apply(bus, wanted(bus.names))
    return Bucket(bus, "HISTORY")


@pytest.mark.integration
async def test_the_floor_is_the_lowest_note_s(bucket: Bucket) -> None:
    moments = iter(range(0, 1000, 10))
    floor = HistoryFloor(bucket, clock=lambda: next(moments))
    assert await floor.now() == NOBODY
    await bucket.put("one", _note(JOURNAL=7, EVENTS=1))
    await bucket.put("two", _note(JOURNAL=5))
    assert await floor.now() == 5
    await bucket.put("two", _note(EVENTS=9))
    assert await floor.now() == 0
    await bucket.put("two", b"of another version")
    assert await floor.now() == 0
    await bucket.delete("two")
    assert await floor.now() == 7


@pytest.mark.integration
async def test_what_a_history_lacks_is_counted_over_all_streams(bus: Bus, bucket: Bucket) -> None:
    for number in range(3):
        await bus.publish(bus.names.subject("events", "s", "t"), str(number).encode())
    await bucket.put("one", _note(EVENTS=1, JOURNAL=0))
    note = (await all_notes(bucket))["one"]
    assert await lag(bus, note) == 2


@pytest.mark.parametrize(
    ("seq", "ended", "lets", "unseen"),
    [(5, NOW, True, 0), (6, NOW, False, 0), (6, NOW - 149.0, False, 0), (6, NOW - 151.0, True, 1)],
)
def test_a_journal_goes_when_it_was_taken_in_or_has_waited_long_enough(
    seq: int, ended: float, *, lets: bool, unseen: int
) -> None:
    gate = _gate(None, NOW)  # type: ignore[arg-type]  # it isn't asked
    assert gate.lets(Mark("run_1", "deploy", seq, ended), 5) is lets
    assert gate.abandoned == unseen


def test_where_no_history_is_written_nothing_waits() -> None:
    gate = _gate(None, NOW)  # type: ignore[arg-type]  # it isn't asked
    assert gate.lets(Mark("run_1", "deploy", 10**12, NOW), NOBODY)


@pytest.mark.integration
async def test_journals_that_nobody_has_seen_are_counted_on_the_broker(bucket: Bucket) -> None:
    await bucket.put("one", _note(JOURNAL=5))
    gates = [_gate(bucket, NOW) for _ in range(3)]
    for number, gate in enumerate(gates):
        for _ in range(number + 1):
            assert gate.lets(Mark("run_1", "deploy", 6, NOW - 151.0), 5)
    await asyncio.gather(*(gate.tell() for gate in gates), *(gate.tell() for gate in gates))
    assert await abandoned(bucket) == 6
    assert list(await all_notes(bucket)) == ["one"]
    assert await HistoryFloor(bucket).now() == 5
    counter = HistoryNote.unpack((await bucket.items())["journals.abandoned"])
    assert counter.seqs == {"JOURNAL": NOBODY}  # an older version waits for nothing


@pytest.mark.parametrize("stored", [b"", b"[]", b"{}", b'{"database": 1}', b"\xff"])
def test_a_note_that_can_not_be_read_is_an_error(stored: bytes) -> None:
    with pytest.raises(PayloadError):
        HistoryNote.unpack(stored)


def test_a_note_of_a_newer_version_is_read() -> None:
    stored = _note(JOURNAL=1).replace(b'"database"', b'"of_tomorrow":1,"database"')
    assert HistoryNote.unpack(stored).seqs == {"JOURNAL": 1}
