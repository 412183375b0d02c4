from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tidemill.kernel.errors import WrongSequenceError
from tidemill.kernel.jetstream import records
from tidemill.kernel.jetstream.journal import Journal

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus


@pytest.fixture
async def journal(bus: Bus) -> Journal:
    made = Journal(bus)
    await bus.api(
        f"STREAM.CREATE.{made.stream}",
        {
            "name": made.stream,
            "subjects": [bus.names.journal(">")],
            "allow_direct": True,
            "allow_rollup_hdrs": True,
            "allow_msg_ttl": True,
        },
    )
    return made


async def test_appends_read_back_in_order_byte_for_byte(journal: Journal) -> None:
    tail = 0
    bodies = [b"", b"\x00\r\n\xff", b"x" * 100_000]
    for body in bodies:
        tail = await journal.append("run_a", body, expect=tail)
    for entries in (await journal.read("run_a"), await journal.read_leader("run_a")):
        assert [entry.body for entry in entries] == bodies
        assert entries[-1].seq == tail
        assert all(earlier.at <= later.at for earlier, later in pairwise(entries))


async def test_both_ways_of_reading_agree(journal: Journal) -> None:
    await journal.append("run_a", b"one", expect=0, headers={"Extra": "header"})
    assert await journal.read("run_a") == await journal.read_leader("run_a")
    assert await journal.tail_leader("run_a") == (await journal.read("run_a"))[-1]


async def test_a_run_without_a_journal_is_empty(journal: Journal) -> None:
    assert await journal.read("run_none") == []
    assert await journal.read_leader("run_none") == []
    assert await journal.tail_leader("run_none") is None


async def test_an_append_at_another_tail_is_refused_and_changes_nothing(journal: Journal) -> None:
    first = await journal.append("run_a", b"one", expect=0)
    await journal.append("run_b", b"other run", expect=0)
    for wrong in (0, first + 1):
        with pytest.raises(WrongSequenceError):
            await journal.append("run_a", b"two", expect=wrong)
    assert [entry.body for entry in await journal.read("run_a")] == [b"one"]


async def test_racing_writers_lose_no_record_and_write_none_twice(journal: Journal) -> None:
    async def writer(number: int) -> None:
        tail = 0
        for step in range(20):
            while True:
                try:
                    tail = await journal.append("run_a", f"{number}.{step}".encode(), expect=tail)
                    break
                except WrongSequenceError:
                    tail = (await journal.read_leader("run_a"))[-1].seq

    await asyncio.gather(*(writer(number) for number in range(4)))
    bodies = [entry.body.decode() for entry in await journal.read("run_a")]
    assert sorted(bodies) == sorted(f"{number}.{step}" for number in range(4) for step in range(20))
    for number in range(4):
        assert [body for body in bodies if body.startswith(f"{number}.")] == [
            f"{number}.{s}" for s in range(20)
        ]


async def test_more_than_a_thousand_records_and_more_than_one_answer_holds(
    journal: Journal, bus: Bus
) -> None:
    subject = bus.names.journal("run_big")
    await asyncio.gather(*(bus.publish(subject, str(number).encode()) for number in range(2500)))
    entries = await journal.read("run_big")
    assert sorted(int(entry.body) for entry in entries) == list(range(2500))
    assert len({entry.seq for entry in entries}) == 2500
    large = bus.names.journal("run_large")
    for _ in range(90):  # the broker answers a batch with no more than 64 MiB
        await bus.publish(large, b"x" * 900_000)
    first_page, more = await records.page(bus, journal.stream, large)
    assert more
    assert len(first_page) < 90
    assert len(await journal.read("run_large")) == 90


async def test_a_read_below_what_must_be_there_goes_to_the_leader(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await journal.append("run_a", b"one", expect=0)
    second = await journal.append("run_a", b"two", expect=first)

    real = records.page

    async def stale(*args: object, **options: object) -> tuple[list[records.Record], bool]:
        found, more = await real(*args, **options)  # type: ignore[arg-type]
        return [record for record in found if record.seq < second], more

    monkeypatch.setattr(records, "page", stale)
    assert [entry.seq for entry in await journal.read("run_a")] == [first]
    assert [entry.seq for entry in await journal.read("run_a", at_least=first)] == [first]
    assert [entry.seq for entry in await journal.read("run_a", at_least=second)] == [first, second]


async def test_a_tombstone_replaces_all_and_keeps_the_run_from_starting_anew(journal: Journal) -> None:
    tail = await journal.append("run_a", b"one", expect=0)
    tail = await journal.append("run_a", b"two", expect=tail)
    with pytest.raises(WrongSequenceError):
        await journal.close("run_a", expect=tail - 1, keep=60)
    assert len(await journal.read("run_a")) == 2
    tomb = await journal.close("run_a", expect=tail, keep=60)
    (left,) = await journal.read("run_a")
    assert (left.seq, left.body) == (tomb, b"")
    assert await journal.read_leader("run_a") == [left]
    with pytest.raises(WrongSequenceError):
        await journal.append("run_a", b"again", expect=0)


async def test_a_tombstone_is_gone_after_its_time(journal: Journal) -> None:
    tail = await journal.append("run_a", b"one", expect=0)
    await journal.close("run_a", expect=tail, keep=0.2)
    async with asyncio.timeout(15):
        while await journal.read_leader("run_a"):  # noqa: ASYNC110 - the broker tells nobody of an expiry
            await asyncio.sleep(0.1)
    assert await journal.read("run_a") == []
    await journal.append("run_a", b"anew", expect=0)


async def test_runs_yields_the_last_record_of_each(journal: Journal, bus: Bus) -> None:
    assert [run async for run in journal.runs()] == []
    await asyncio.gather(
        *(bus.publish(bus.names.journal(f"run_{n % 700}"), str(n).encode()) for n in range(1400))
    )
    tail = (await journal.read("run_5"))[-1].seq
    await journal.close("run_5", expect=tail, keep=60)
    found = {last.run: last async for last in journal.runs()}
    assert len(found) == 700
    assert found["run_7"].body == (await journal.read("run_7"))[-1].body
    assert [run for run, last in found.items() if last.tombstone] == ["run_5"]
    bare = {last.run: last async for last in journal.runs(headers_only=True)}
    assert {run: last.seq for run, last in bare.items()} == {run: last.seq for run, last in found.items()}
    assert all(last.body == b"" for last in bare.values())
    assert [run for run, last in bare.items() if last.tombstone] == ["run_5"]
    consumers = await bus.api(f"CONSUMER.NAMES.{journal.stream}")
    assert consumers["consumers"] == []
