"""The store: one fetch at a time, not too often, bounded, and no verdict of what it doesn't know."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from gateway.keys.places import AbsentError, Ask, FetchError, KeySetPlace, Reply
from gateway.keys.ring import PublicKey, Ring
from gateway.keys.store import INTERVAL, LONGEST, MAX_PLACES, MAX_WAITING, REFRESH, KeysAwayError, KeyStore
from gateway.keys.wanted import Wanted
from tests.clock import Clock

if TYPE_CHECKING:
    from gateway.keys.places import Fetch


@dataclass
class Server:
    """What a place holds; it is asked one at a time, and may be told to fail or to wait."""

    kids: list[str] = field(default_factory=lambda: ["a"])
    error: Exception | None = None
    gate: asyncio.Event | None = None
    asked: int = 0
    again: asyncio.Event = field(default_factory=asyncio.Event)

    async def ring(self) -> Ring:
        self.asked += 1
        if self.asked > 1:
            self.again.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return tuple(PublicKey(kid, f"key {kid} of {self.asked}") for kid in self.kids)


@dataclass(frozen=True)
class Place:
    server: Any = field(hash=False, compare=False)
    name: str = "one"
    family: str | None = None
    host: str = "keys.example.com"

    async def load(self, fetch: Fetch) -> Ring:
        assert fetch
        found: Ring = await self.server.ring()
        return found


async def nothing(ask: Ask) -> Reply:
    raise AssertionError(ask)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> KeyStore:
    return KeyStore(nothing, clock)


def kids(found: Any) -> list[str | None]:
    assert isinstance(found, tuple)
    assert not isinstance(found, Wanted)
    return [key.kid for key in found]


async def wanted(store: KeyStore, place: Place, kid: str | None = None) -> Wanted:
    found = store.find(place, kid)
    assert isinstance(found, Wanted)
    return found


async def test_keys_are_fetched_once_and_then_found(store: KeyStore, clock: Clock) -> None:
    server = Server(["a", "b"])
    place = Place(server)
    await store.fetch(await wanted(store, place, "a"))
    assert kids(store.find(place, "a")) == ["a"]
    assert kids(store.find(place)) == ["a", "b"]
    clock.now += REFRESH
    assert kids(store.find(place, "b")) == ["b"]
    assert server.asked == 1
    assert store.outcomes == {("keys.example.com", "ok"): 1}


async def test_a_hundred_that_wait_make_one_fetch(store: KeyStore) -> None:
    server = Server(gate=asyncio.Event())
    place = Place(server)
    waiting = [asyncio.ensure_future(store.fetch(Wanted(place, "a"))) for _ in range(100)]
    await asyncio.sleep(0)
    assert server.gate is not None
    server.gate.set()
    await asyncio.gather(*waiting)
    assert server.asked == 1


async def test_whoever_goes_away_takes_the_fetch_from_nobody(store: KeyStore) -> None:
    server = Server(gate=asyncio.Event())
    place = Place(server)
    first = asyncio.ensure_future(store.fetch(Wanted(place)))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(store.fetch(Wanted(place)))
    await asyncio.sleep(0)
    first.cancel()
    assert server.gate is not None
    server.gate.set()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert kids(store.find(place)) == ["a"]


async def test_an_unknown_key_is_asked_for_once_in_an_interval(store: KeyStore, clock: Clock) -> None:
    server = Server()
    place = Place(server)
    await store.fetch(await wanted(store, place, "b"))
    assert store.find(place, "b") is None  # looked for and not there
    with pytest.raises(KeysAwayError) as caught:
        await store.fetch(await wanted(store, place, "c"))  # nobody has looked for it yet
    assert caught.value.retry_after == INTERVAL
    assert kids(store.find(place, "a")) == ["a"]
    server.kids = ["b", "c"]
    clock.now += INTERVAL
    await store.fetch(await wanted(store, place, "b"))
    assert kids(store.find(place, "c")) == ["c"]
    assert store.find(place, "a") != ()
    assert server.asked == 2


async def test_a_server_that_is_away_is_no_verdict(store: KeyStore, clock: Clock) -> None:
    server = Server(error=FetchError("away"))
    place, waits = Place(server), []
    for _ in range(8):
        with pytest.raises(KeysAwayError) as caught:
            await store.fetch(await wanted(store, place, "a"))
        waits.append(caught.value.retry_after)
        with pytest.raises(KeysAwayError):
            await store.fetch(await wanted(store, place, "a"))
        clock.now += caught.value.retry_after
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]
    assert server.asked == 8
    server.error = None
    await store.fetch(await wanted(store, place, "a"))
    assert kids(store.find(place, "a")) == ["a"]


async def test_a_key_that_was_missed_counts_as_missed_no_longer_when_the_server_is_away(
    store: KeyStore, clock: Clock
) -> None:
    server = Server()
    place = Place(server)
    await store.fetch(await wanted(store, place, "b"))
    clock.now += INTERVAL
    server.error = FetchError("away")
    with pytest.raises(KeysAwayError):
        await store.fetch(await wanted(store, place, "b"))
    assert isinstance(store.find(place, "b"), Wanted)
    assert kids(store.find(place, "a")) == ["a"]


async def test_keys_count_for_a_day_without_their_server(store: KeyStore, clock: Clock) -> None:
    server = Server()
    place = Place(server)
    await store.fetch(Wanted(place))
    server.error = FetchError("away")
    clock.now += LONGEST
    assert kids(store.find(place, "a")) == ["a"]
    clock.now += 1
    assert isinstance(store.find(place, "a"), Wanted)


async def test_old_keys_are_fetched_again_in_the_background(store: KeyStore, clock: Clock) -> None:
    server = Server()
    place = Place(server)
    await store.fetch(Wanted(place))
    running = asyncio.ensure_future(store.run())
    server.kids = ["b"]
    clock.now += REFRESH + 1
    assert kids(store.find(place, "a")) == ["a"]
    async with asyncio.timeout(20):
        await server.again.wait()
    await asyncio.sleep(0)
    assert kids(store.find(place, "b")) == ["b"]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_key_that_there_isn_t_is_none(store: KeyStore, clock: Clock) -> None:
    server = Server(error=AbsentError())
    place = Place(server)
    await store.fetch(await wanted(store, place, "a"))
    assert store.find(place, "a") is None
    assert store.find(place) is None
    assert store.outcomes == {("keys.example.com", "absent"): 1}
    clock.now += INTERVAL
    assert isinstance(store.find(place, "a"), Wanted)


async def test_a_family_has_an_allowance(store: KeyStore, clock: Clock) -> None:
    servers = [Server(error=AbsentError()) for _ in range(20)]
    away = 0
    for index, server in enumerate(servers):
        try:
            await store.fetch(Wanted(Place(server, str(index), "family")))
        except KeysAwayError:
            away += 1
    assert away == 14
    await store.fetch(Wanted(Place(Server(), "x", "other")))
    clock.now += 10
    await store.fetch(Wanted(Place(servers[19], "19", "family")))
    with pytest.raises(KeysAwayError):
        await store.fetch(Wanted(Place(servers[18], "18", "family")))


async def test_places_are_bounded_and_useless_ones_go_first(store: KeyStore) -> None:
    useful = Place(Server(), "useful")
    await store.fetch(Wanted(useful))
    for index in range(MAX_PLACES + 50):
        await store.fetch(Wanted(Place(Server(error=AbsentError()), str(index))))
    assert len(store._entries) <= MAX_PLACES
    assert kids(store.find(useful)) == ["a"]


async def test_those_who_wait_are_bounded(store: KeyStore) -> None:
    server = Server(gate=asyncio.Event())
    place = Place(server)
    waiting = [asyncio.ensure_future(store.fetch(Wanted(place))) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(KeysAwayError):
        await store.fetch(Wanted(place))
    assert server.gate is not None
    server.gate.set()
    await asyncio.gather(*waiting)


async def test_what_is_under_way_ends_with_the_store(store: KeyStore) -> None:
    server = Server(gate=asyncio.Event())
    waiting = asyncio.ensure_future(store.fetch(Wanted(Place(server))))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("keys-")] == []


async def test_a_failure_that_nobody_waits_for_is_no_noise(
    store: KeyStore, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(error=FetchError("away"), gate=asyncio.Event())
    waiting = asyncio.ensure_future(store.fetch(Wanted(Place(server))))
    await asyncio.sleep(0)
    waiting.cancel()
    assert server.gate is not None
    server.gate.set()
    await asyncio.sleep(0.01)
    gc.collect()
    assert [record.name for record in caplog.records] == ["gateway.keys.store"]


def test_places_are_values() -> None:
    assert KeySetPlace("https://a/b") == KeySetPlace("https://a/b")
    assert hash(KeySetPlace("https://a/b")) == hash(KeySetPlace("https://a/b"))
    assert KeySetPlace("https://a/b") != KeySetPlace("https://a/b", public=False)
