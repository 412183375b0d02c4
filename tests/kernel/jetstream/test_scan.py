from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.frames import pack
from tidemill.kernel.jetstream import records
from tidemill.kernel.jetstream.blobs import Blobs
from tidemill.kernel.jetstream.scan import FIRST_WINDOW, message_at, newest, oldest
from tidemill.kernel.jetstream.topology import apply, wanted
from tidemill.kernel.services.events import Events
from tidemill.kernel.subjects import delivery_key

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus

pytestmark = pytest.mark.integration


async def fill(bus: Bus, subjects: list[str], **config: object) -> None:
    name = bus.names.stream("S")
    asked = {"name": name, "subjects": [bus.names.subject("s", ">")], "allow_direct": True, **config}
    await bus.api(f"STREAM.CREATE.{name}", asked)
    for number, subject in enumerate(subjects):
        await bus.publish(bus.names.subject("s", subject), b"%d" % number)


async def sequences(bus: Bus, subject: str, **options: Any) -> list[int]:
    return [message.seq async for message in newest(bus, "S", bus.names.subject("s", subject), **options)]


@pytest.mark.parametrize("count", [0, 1, FIRST_WINDOW, FIRST_WINDOW + 1, FIRST_WINDOW * 4])
async def test_all_come_newest_first_each_once(bus: Bus, count: int) -> None:
    await fill(bus, ["a"] * count)
    assert await sequences(bus, ">") == list(range(count, 0, -1))


async def test_only_what_fits_comes_also_where_it_is_rare(bus: Bus) -> None:
    await fill(bus, ["rare" if number in (3, 70, 199) else "common" for number in range(200)])
    assert await sequences(bus, "rare") == [200, 71, 4]
    assert await sequences(bus, "nothing") == []


async def test_a_listing_goes_on_before_a_sequence_and_looks_back_only_so_far(bus: Bus) -> None:
    await fill(bus, ["a"] * 100)
    assert await sequences(bus, ">", before=4) == [3, 2, 1]
    assert await sequences(bus, ">", before=1) == []
    assert await sequences(bus, ">", scan_limit=2) == [100, 99]
    assert await sequences(bus, ">", before=10_000, scan_limit=1) == [100]


async def test_deleted_messages_are_passed_over(bus: Bus) -> None:
    await fill(bus, ["a"] * 10)
    for seq in (1, 5, 10):
        await bus.api(f"STREAM.MSG.DELETE.{bus.names.stream('S')}", {"seq": seq})
    assert await sequences(bus, ">") == [9, 8, 7, 6, 4, 3, 2]
    assert await message_at(bus, "S", 5) is None
    found = await oldest(bus, "S", bus.names.subject("s", "a"), 2)
    assert [(message.seq, message.body) for message in found] == [(2, b"1"), (3, b"2")]


async def test_what_was_deleted_costs_few_requests_however_much_it_is(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(bus, ["old"] * 3 + ["gone"] * 3000 + ["old"] * 2)
    stream = bus.names.stream("S")
    await bus.api(f"STREAM.PURGE.{stream}", {"filter": bus.names.subject("s", "gone")})
    asked: list[int] = []
    page = records.page

    async def counted(*given: Any, **more: Any) -> Any:
        asked.append(1)
        return await page(*given, **more)

    monkeypatch.setattr(records, "page", counted)
    assert await sequences(bus, ">", scan_limit=None, most_at_once=4) == [3005, 3004, 3, 2, 1]
    assert len(asked) < 40
    assert await sequences(bus, ">", scan_limit=100) == [3005, 3004]


@pytest.mark.parametrize("most", [1, 3, 64])
async def test_every_gap_is_passed_over(bus: Bus, most: int) -> None:
    await fill(bus, ["a"] * 400)
    kept = [1, 2, 40, 41, 42, 170, 171, 300, 399]
    for seq in set(range(1, 401)) - set(kept):
        await bus.api(f"STREAM.MSG.DELETE.{bus.names.stream('S')}", {"seq": seq, "no_erase": True})
    assert await sequences(bus, ">", scan_limit=None, most_at_once=most) == kept[::-1]


async def test_large_messages_come_in_several_answers(bus: Bus) -> None:
    await fill(bus, [])
    for _ in range(40):
        await bus.publish(bus.names.subject("s", "a"), b"x" * 500_000)
    assert await sequences(bus, ">") == list(range(40, 0, -1))


async def test_an_event_is_found_by_id_key_and_source(bus: Bus) -> None:
    await apply(bus, wanted(bus.names))
    events = Events(bus, Blobs(bus))
    key = delivery_key("github/acme", "d-1")
    facts = {"id": "d-1", "source": "github/acme", "type": "github.push", "deliverykey": key}
    with pytest.raises(NotFoundError):
        await events.find("d-1", ["github"])
    subject = bus.names.event("github/acme", "github.push")
    stored = await bus.publish(subject, pack(facts, b"{}"), headers={"Nats-Msg-Id": key})
    for wanted_id, sources in (("d-1", ["github/acme"]), ("d-1", ["github"]), (key, [])):
        assert (await events.find(wanted_id, sources)).seq == stored.seq
    # Looking a message id up stores nothing.
    assert [event.seq for event in await events.list()] == [stored.seq]
    with pytest.raises(NotFoundError, match="d-2"):
        await events.find("d-2", ["github"])
