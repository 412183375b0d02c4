"""The spool: what was answered is on the disk, once, and comes back after a restart."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.reason import Reason
from gateway.spool.log import SegmentLog
from gateway.spool.parcel import Body, Item, Parcel, Word, decode, summary
from gateway.spool.spool import TRIAL_SECONDS
from gateway.verdict import Accepted, Quarantined
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import BrokerUnavailableError, PayloadError, StreamFullError

Make = Callable[..., Accepted | Quarantined]


async def test_what_is_taken_is_there_after_a_restart(spooled: Callable[..., Any], make: Make) -> None:
    async with spooled() as spool:
        assert not spool.holds
        (one,) = await spool.take([make("1")], "client")
        (bad,) = await spool.take([make("2", sound=False)], "client")
        assert (one.envelope.id, one.status, bad.status) == ("1", "accepted", "quarantined")
        assert (spool.holds, spool.records, spool.taken) == (True, 2, 2)
    async with spooled() as spool:
        assert (spool.holds, spool.records) == (True, 2)
        assert spool.arrived.is_set()
        (again,) = await spool.take([make("2", sound=False)], "client")
        assert again.status == "duplicate"
        records = await spool.batch(spool.drained, 10)
        assert [decode(one.payload).items[0].verdict for one in records] == [
            make("1")._replace(secret=-1),  # type: ignore[union-attr] # it was accepted
            make("2", sound=False),
        ]
        await spool.drain(records[0].seq)
        assert (await spool.take([make("1")], "client"))[0].status == "accepted"
        await spool.drain(spool.last)
        assert (spool.holds, spool.size, spool.age) == (False, 0, 0)
        assert not spool.arrived.is_set()


async def test_many_at_once_cost_few_syncs(
    spooled: Callable[..., Any], make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (syncs.append(descriptor), real(descriptor)))
    async with spooled() as spool:
        taken = await asyncio.gather(*(spool.take([make(str(number))], "c") for number in range(500)))
        assert {one.status for (one,) in taken} == {"accepted"}
        assert spool.records == 500
        assert len(syncs) < 20


async def test_of_equal_deliveries_at_once_one_is_new(spooled: Callable[..., Any], make: Make) -> None:
    async with spooled() as spool:
        taken = await asyncio.gather(*(spool.take([make("1")], "c") for _ in range(50)))
        statuses = [one.status for (one,) in taken]
        assert sorted(statuses) == ["accepted"] + ["duplicate"] * 49
        assert spool.records == 1


async def test_a_batch_is_taken_whole_or_not_at_all(spooled: Callable[..., Any], make: Make) -> None:
    items = [make("1", b"a" * 100), make("2", sound=False), make("1"), make("3")]
    async with spooled(limit=1 << 16) as spool:
        taken = await spool.take(items, "c", None, Body("key", b"[...]"))
        assert [one.status for one in taken] == ["accepted", "quarantined", "duplicate", "accepted"]
        assert spool.records == 1
        (record,) = await spool.batch(0, 10)
        parcel = decode(record.payload)
        assert parcel.body == Body("key", b"[...]")
        assert [item.verdict.envelope.raw for item in parcel.items] == [b"a" * 100, b"{}", b"{}"]
        with pytest.raises(StreamFullError):
            await spool.take([make("4"), make("5", b"x" * 70_000)], "c")
        assert (await spool.take([make("4"), make("3")], "c"))[0].status == "accepted"
        assert await spool.take([], "c") == []


async def test_a_full_spool_takes_nothing_and_says_so(spooled: Callable[..., Any], make: Make) -> None:
    async with spooled(limit=1 << 16) as spool:
        taken = await asyncio.gather(
            *(spool.take([make(str(number), b"x" * 2000)], "c") for number in range(60)),
            return_exceptions=True,
        )
        full = [one for one in taken if isinstance(one, StreamFullError)]
        assert 0 < len(full) < 60
        assert spool.size <= 1 << 16
        assert spool.records == 60 - len(full)
        await spool.take([make("small")], "c")
        while not spool.problem:
            await spool.take([make(os.urandom(8).hex(), b"x" * 200)], "c")
        await spool.drain(spool.last)
        assert not spool.problem


async def test_a_disk_that_fails_is_tried_again(
    spooled: Callable[..., Any], make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    moment = [0.0]

    def fail(*_: object) -> None:
        raise OSError(30, "read-only file system")

    async with spooled(monotonic=lambda: moment[0]) as spool:
        with monkeypatch.context() as disk:
            disk.setattr(os, "fsync", fail)
            for _ in range(2):
                outcomes = await asyncio.gather(
                    *(spool.take([make("1")], "c") for _ in range(3)), return_exceptions=True
                )
                assert all(isinstance(one, BrokerUnavailableError) for one in outcomes)
            assert "read-only" in spool.problem
            assert not spool.holds
        assert caplog.text.count("read-only") == 1
        moment[0] += TRIAL_SECONDS
        assert not spool.problem
        assert (await spool.take([make("1")], "c"))[0].status == "accepted"


async def test_who_goes_while_it_is_written_loses_nothing(spooled: Callable[..., Any], make: Make) -> None:
    async with spooled() as spool:
        gone = asyncio.create_task(spool.take([make("1")], "c"))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await spool.take([make("1")], "c"))[0].status == "duplicate"
        assert spool.records == 1


async def test_a_window_is_kept_while_the_broker_can_t_be_asked(
    spooled: Callable[..., Any], make: Make
) -> None:
    moment = [1_000_000.0]
    async with spooled(clock=lambda: moment[0]) as spool:
        beats = [await spool.take([make("sha256-1")], "c", 60.0)]
        moment[0] += 59
        beats.append(await spool.take([make("sha256-1")], "c", 60.0))
        moment[0] += 2
        beats.append(await spool.take([make("sha256-1")], "c", 60.0))
        assert [one.status for (one,) in beats] == ["accepted", "duplicate", "accepted"]
        ids = [one.envelope.id for (one,) in beats]
        assert ids[0] == ids[1] != ids[2]
        assert all(one.startswith("sha256-1-") for one in ids)
    async with spooled(clock=lambda: moment[0]) as spool:
        (again,) = await spool.take([make("sha256-1")], "c", 60.0)
        assert (again.status, again.envelope.id) == ("duplicate", ids[2])
        assert spool.age == 61


TEXT = st.text(max_size=20)


@given(
    raws=st.lists(st.tuples(st.binary(max_size=200), TEXT, st.booleans()), min_size=1, max_size=5),
    client=TEXT,
    at=st.floats(0, 2**40),
    body=st.none() | st.tuples(TEXT, st.binary(max_size=100)),
)
def test_parcels_are_read_as_they_were_written(
    raws: list[tuple[bytes, str, bool]], client: str, at: float, body: tuple[str, bytes] | None
) -> None:
    items = []
    for raw, text, sound in raws:
        envelope = Envelope(
            id="i", source=text or "s", type="t", raw=raw, deliverykey=text, value={"a": text}
        )
        word = Word(text, 1.5, "w") if sound else None
        items.append(
            Item(Accepted(envelope, -1) if sound else Quarantined(envelope, Reason("c", text, None)), word)
        )
    parcel = Parcel(tuple(items), client, at, Body(*body) if body else None)
    assert decode(parcel.encode()) == parcel
    known = summary(parcel.encode())
    assert known.keys == tuple(item.key for item in items)
    assert known.words == tuple(item.word for item in items if item.word)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\n", b"{}\n", b'{"v":2}\n', b'{"v":1,"items":[{}],"body":null}\n', b'{"v":1,"items":5}\n'],
)
def test_what_is_no_parcel_is_said(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        decode(payload)


def test_an_unreadable_record_stops_no_start(tmp_path: Path, spooled: Callable[..., Any]) -> None:
    log = SegmentLog(tmp_path / "spool", 1 << 20)
    log.append([b"no parcel"])
    log.close()

    async def look() -> int:
        async with spooled() as spool:
            return int(spool.records)

    assert asyncio.run(look()) == 1
