"""The spool's log: whatever happens to its bytes, no earlier record is lost and no wrong one is read."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.spool import record
from gateway.spool.log import SegmentLog
from gateway.spool.record import MAGIC, OVERHEAD
from tidemill.kernel.errors import SettingsError

KEY = b"k" * 16
PAYLOADS = st.lists(
    st.binary(max_size=60) | st.just(MAGIC) | st.just(record.encode(3, b"forged", b"")), max_size=8
)
FREELY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)


def bytes_of(payloads: list[bytes]) -> tuple[bytes, list[int]]:
    """Return a log's bytes, and where each record ends."""
    data, ends = b"", []
    for seq, payload in enumerate(payloads, 1):
        data += record.encode(seq, payload, KEY)
        ends.append(len(data))
    return data, ends


@given(payloads=PAYLOADS)
def test_records_are_read_as_they_were_written(payloads: list[bytes]) -> None:
    data, ends = bytes_of(payloads)
    assert [(one.seq, one.payload, one.end) for one in record.scan(data, KEY)] == [
        (seq, payload, end) for seq, (payload, end) in enumerate(zip(payloads, ends, strict=True), 1)
    ]
    assert list(record.scan(data, b"another key")) == []


@given(payloads=PAYLOADS, data=st.data())
def test_a_truncated_log_has_what_was_whole(payloads: list[bytes], data: st.DataObject) -> None:
    whole, ends = bytes_of(payloads)
    cut = data.draw(st.integers(0, len(whole)))
    found = list(record.scan(whole[:cut], KEY))
    assert [one.payload for one in found] == payloads[: sum(end <= cut for end in ends)]


@given(payloads=PAYLOADS, data=st.data())
def test_damage_takes_only_what_it_hits(payloads: list[bytes], data: st.DataObject) -> None:
    whole, ends = bytes_of(payloads)
    begin = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.integers(1, 40))
    dirt = data.draw(st.binary(min_size=length, max_size=length))
    damaged = (whole[:begin] + dirt + whole[begin + length :])[: len(whole)]
    hit = {
        index
        for index, (start, end) in enumerate(zip([0, *ends], ends, strict=False))
        if damaged[start:end] != whole[start:end]
    }
    found = {one.seq - 1: one.payload for one in record.scan(damaged, KEY)}
    assert found == {index: payload for index, payload in enumerate(payloads) if index not in hit}


@given(payloads=PAYLOADS, place=st.integers(0, 10_000), dirt=st.binary(max_size=80))
def test_inserted_bytes_are_passed_over(payloads: list[bytes], place: int, dirt: bytes) -> None:
    whole, ends = bytes_of(payloads)
    place = min(place, len(whole))
    found = {(one.seq, one.payload) for one in record.scan(whole[:place] + dirt + whole[place:], KEY)}
    starts = [0, *ends[:-1]] if ends else []
    torn = {index + 1 for index, start in enumerate(starts) if start < place < ends[index]}
    written = set(enumerate(payloads, 1))
    assert {pair for pair in written if pair[0] not in torn} <= found <= written


def test_a_record_inside_of_a_payload_is_none() -> None:
    inner = record.encode(1, b"forged", b"")
    data = bytearray(record.encode(1, inner, KEY))
    data[len(data) // 2] ^= 1
    assert list(record.scan(bytes(data), KEY)) == []


def fill(log: SegmentLog, *payloads: bytes) -> list[int]:
    return [seq for payload in payloads for seq in log.append([payload])]


def reopened(folder: Path, limit: int = 1 << 20) -> tuple[SegmentLog, list[tuple[int, bytes]]]:
    log = SegmentLog(folder, limit)
    return log, [(one.seq, one.payload) for one in log.recover()]


def test_what_was_appended_is_there_after_a_restart(tmp_path: Path) -> None:
    log, found = reopened(tmp_path / "spool")
    assert found == []
    assert log.append([b"a", b"b"]) == [1, 2]
    assert fill(log, b"c") == [3]
    log.close()
    log, found = reopened(tmp_path / "spool")
    assert found == [(1, b"a"), (2, b"b"), (3, b"c")]
    log.drain(2)
    assert fill(log, b"d") == [4]
    log.close()
    log, found = reopened(tmp_path / "spool")
    assert found == [(3, b"c"), (4, b"d")]
    assert [one.payload for one in log.batch(2, 10)] == [b"c"]
    assert [one.payload for one in log.batch(3, 10)] == [b"d"]
    assert log.batch(4, 10) == []
    log.drain(4)
    assert (log.size, sorted(path.name for path in log.folder.iterdir())) == (0, ["lock", "position"])
    assert fill(log, b"e") == [5]
    log.close()


def test_segments_are_deleted_one_by_one(tmp_path: Path) -> None:
    log, _ = reopened(tmp_path)
    payloads = [bytes([number]) * 30_000 for number in range(20)]
    fill(log, *payloads)
    assert len(list(tmp_path.glob("*.log"))) > 3
    seen, after, sizes = [], 0, []
    while batch := log.batch(after, 3):
        seen += [one.payload for one in batch]
        after = batch[-1].seq
        log.drain(after)
        sizes.append(log.size)
    assert seen == payloads
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0
    log.close()


def test_a_folder_is_one_gateway_s(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path, 1000)
    with pytest.raises(SettingsError, match="another gateway"):
        SegmentLog(tmp_path, 1000)
    log.close()
    log.close()
    SegmentLog(tmp_path, 1000).close()
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="can't be in"):
        SegmentLog(tmp_path / "file", 1000)


def test_the_limit_counts_what_is_on_the_disk(tmp_path: Path) -> None:
    log, _ = reopened(tmp_path, 1000)
    assert log.room_for(b"x" * (1000 - OVERHEAD))
    assert not log.room_for(b"x" * (1001 - OVERHEAD))
    fill(log, b"x" * 500)
    assert not log.room_for(b"x" * 500)
    assert log.room_for(b"x" * 300)
    assert not log.room_for(b"x" * 300, pending=300)
    log.close()


class Faulty:
    """Fails as a disk does, at the calls that it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing: set[str] = set()
        for name in ("pwrite", "fsync", "ftruncate"):
            monkeypatch.setattr(os, name, self.wrapped(name, getattr(os, name)))

    def wrapped(self, name: str, real: Any) -> Any:
        def call(descriptor: int, *arguments: Any) -> Any:
            if name not in self.failing:
                return real(descriptor, *arguments)
            if name == "pwrite" and len(arguments[0]) > 8:  # a part of it is written, then the disk is full
                return real(descriptor, arguments[0][:8], arguments[1])
            raise OSError(errno.ENOSPC, "no space left on device")

        return call


@pytest.mark.parametrize(
    "failing",
    [{"pwrite"}, {"fsync"}, {"fsync", "ftruncate"}, {"pwrite", "ftruncate"}],
    ids=lambda names: " and ".join(sorted(names)),
)
def test_what_could_not_be_written_takes_nothing_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: set[str]
) -> None:
    disk = Faulty(monkeypatch)
    log, _ = reopened(tmp_path)
    fill(log, b"before")
    disk.failing = failing
    if failing == {"pwrite"}:
        monkeypatch.setattr("gateway.spool.log._write_at", failing_write)
    for _ in range(2):
        with pytest.raises(OSError, match="space"):
            log.append([b"lost", b"lost too"])
    disk.failing = set()
    monkeypatch.undo()
    assert len(list(tmp_path.glob("*.log"))) <= 3
    fill(log, b"behind")
    assert [one.payload for one in log.batch(0, 10)] == [b"before"]
    assert [one.payload for one in log.batch(1, 10)] == [b"behind"]
    log.close()
    log, found = reopened(tmp_path)
    kept = [payload for _, payload in found if not payload.startswith(b"lost")]
    assert kept == [b"before", b"behind"]
    assert [seq for seq, _ in found] == sorted({seq for seq, _ in found})
    log.close()


def failing_write(descriptor: int, data: bytes, offset: int) -> None:
    os.pwrite(descriptor, data[: len(data) // 2], offset)
    raise OSError(errno.ENOSPC, "no space left on device")


@FREELY
@given(place=st.integers(0, 10_000), dirt=st.binary(min_size=1, max_size=50), cut=st.booleans())
def test_damage_on_the_disk_loses_no_other_record(
    tmp_path_factory: pytest.TempPathFactory,
    place: int,
    dirt: bytes,
    cut: bool,  # noqa: FBT001 - drawn
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    log, _ = reopened(folder)
    payloads = [b"%d" % number * 20 for number in range(10)]
    fill(log, *payloads)
    log.close()
    (segment,) = folder.glob("*.log")
    whole = segment.read_bytes()
    place = min(place, len(whole) - 1)
    segment.write_bytes(whole[:place] if cut else whole[:place] + dirt + whole[place + len(dirt) :])
    log, found = reopened(folder)
    size = len(whole) // 10
    first, last = place // size, 10 if cut else min(9, (place + len(dirt) - 1) // size)
    untouched = [(seq + 1, payload) for seq, payload in enumerate(payloads) if not first <= seq <= last]
    assert set(found) >= set(untouched)
    assert set(found) <= set(enumerate(payloads, 1))
    (seq,) = fill(log, b"new")
    assert seq > max((seq for seq, _ in found), default=0)
    drained, after = [], 0
    while batch := log.batch(after, 4):
        drained += [(one.seq, one.payload) for one in batch]
        after = batch[-1].seq
        log.drain(after)
    assert drained == [*found, (seq, b"new")]
    log.close()


def test_a_lost_position_drains_again_and_a_segment_with_a_hole_is_kept(tmp_path: Path) -> None:
    log, _ = reopened(tmp_path)
    fill(log, b"a" * 50, b"b" * 50, b"c" * 50)
    log.drain(1)
    log.close()
    (tmp_path / "position").write_bytes(b"rubbish")
    (segment,) = tmp_path.glob("*.log")
    data = bytearray(segment.read_bytes())
    data[OVERHEAD + 60] ^= 1
    segment.write_bytes(data)
    log, found = reopened(tmp_path)
    assert found == [(1, b"a" * 50), (3, b"c" * 50)]
    log.drain(3)
    assert len(list(tmp_path.glob("*.damaged"))) == 1
    path = log.set_aside(3, b"c")
    assert path.read_bytes() == b"c"
    log.close()
