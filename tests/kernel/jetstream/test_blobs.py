from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import nats
import pytest

from tests.patience import until
from tidemill.kernel.errors import BrokerError, NotFoundError
from tidemill.kernel.jetstream.blobs import Blobs
from tidemill.kernel.jetstream.topology import apply, wanted

if TYPE_CHECKING:
    from conftest import BrokerProcess

    from tidemill.kernel.jetstream.bus import Bus


@pytest.fixture
async def blobs(bus: Bus) -> Blobs:
    await apply(bus, wanted(bus.names))
    return Blobs(bus)


async def state(bus: Bus) -> dict[str, int]:
    info = await bus.api(f"STREAM.INFO.OBJ_{bus.names.stream('BLOBS')}")
    return info["state"]


async def messages(bus: Bus) -> int:
    return (await state(bus))["messages"]


async def last_sequence(bus: Bus) -> int:
    return (await state(bus))["last_seq"]


async def fewer_than(bus: Bus, number: int) -> bool:
    return await messages(bus) < number


@pytest.mark.parametrize("size", [0, 1, 512 * 1024, 512 * 1024 + 1, 3_000_000])
async def test_bytes_come_back_whole(blobs: Blobs, size: int) -> None:
    data = secrets.token_bytes(size)
    assert await blobs.get(await blobs.put("run_a", data)) == data


async def test_a_repeated_put_stores_nothing_more(blobs: Blobs, bus: Bus) -> None:
    name = await blobs.put("run_a", b"same")
    stored = await messages(bus)
    assert await blobs.put("run_a", b"same") == name
    assert await messages(bus) == stored
    assert await blobs.put("run_b", b"same") != name


async def test_concurrent_puts_of_the_same_bytes_leave_one_whole_blob(blobs: Blobs) -> None:
    data = secrets.token_bytes(1_200_000)
    names = set(await asyncio.gather(*(blobs.put("run_a", data) for _ in range(4))))
    assert len(names) == 1
    assert await blobs.get(names.pop()) == data


async def test_all_blobs_of_an_owner_are_deleted_and_no_others(blobs: Blobs, bus: Bus) -> None:
    kept = await blobs.put("run_ab", b"other")
    stored = await messages(bus)
    gone = [await blobs.put("run_a", secrets.token_bytes(600_000)) for _ in range(3)]
    gone.append(await blobs.put("run_a", b""))
    assert await blobs.delete_of("run_a") == 4
    for name in gone:
        with pytest.raises(NotFoundError, match=name):
            await blobs.get(name)
    assert await blobs.get(kept) == b"other"
    assert await messages(bus) == stored
    assert await blobs.delete_of("run_a") == 0


async def test_damage_is_noticed(blobs: Blobs, bus: Bus) -> None:
    name = await blobs.put("run_a", b"whole")
    bucket = bus.names.stream("BLOBS")
    await bus.api(f"STREAM.PURGE.OBJ_{bucket}", {"filter": f"$O.{bucket}.C.>"})
    with pytest.raises(BrokerError, match="damaged"):
        await blobs.get(name)


async def test_a_blob_with_a_term_is_removed_by_the_broker(blobs: Blobs, bus: Bus) -> None:
    kept = await blobs.put("delivery", b"x" * 20)
    stored, last = await messages(bus), await last_sequence(bus)
    name = await blobs.put("delivery", b"x" * 10, keep=0.5)
    assert await last_sequence(bus) > last, "it was stored"
    await until(lambda: fewer_than(bus, stored + 1))
    assert await messages(bus) == stored
    with pytest.raises(NotFoundError, match=name):
        await blobs.get(name)
    assert await blobs.get(kept) == b"x" * 20


async def test_other_clients_of_the_object_store_read_it(
    blobs: Blobs, bus: Bus, broker: BrokerProcess
) -> None:
    data = secrets.token_bytes(700_000)
    name = await blobs.put("run_a", data)
    client = await nats.connect(broker.url)
    store = await client.jetstream().object_store(bus.names.stream("BLOBS"))
    found = await store.get(name)
    assert found.data == data
    await client.close()
