"""Forks from outside, without any worker: what is taken over, whose it is, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import orjson
import pytest

from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.errors import ConflictError, NotFoundError, PayloadError
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT
from tidemill.kernel.protocol.records import Claim, End, Item, News, Record, Spawned, Step, encode
from tidemill.kernel.services import registry
from tidemill.kernel.services.broker import Broker, open_broker
from tidemill.kernel.services.forks import Forks
from tidemill.kernel.services.run_view import RunView
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.subjects import run_of_fork
from tidemill.kernel.trigger import parse_request

if TYPE_CHECKING:
    from conftest import BrokerProcess

    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration


@pytest.fixture
async def opened(broker: BrokerProcess, names: Names, bus: object) -> AsyncIterator[Broker]:
    assert bus  # it deletes the namespace's streams
    settings = Settings.load(None, {}, {"nats": {"url": broker.url, "namespace": names.namespace}})
    async with open_broker(settings, name="test") as opened:
        await registry.publish(opened.tasks, TaskDefinition(id="free", payload_schema=None))
        yield opened


async def lived(opened: Broker, *records: Record, payload: bytes = b"1") -> str:
    """Return a run whose journal holds these records behind its beginning."""
    view = await Runs(opened).trigger(parse_request("free", payload, {"tags": ["a"]}))
    tail = view.state.tail
    for record in records:
        tail = await opened.journal.append(view.id, encode(record), expect=tail)
    return view.id


def claimed(*steps: Record) -> tuple[Record, ...]:
    return (Claim(rid="c", q=1, n=1, worker="w", at=90.0), *steps)


async def in_journal(opened: Broker, fork: RunView) -> RunView:
    return await Runs(opened).get(fork.id)


async def test_a_fork_begins_with_what_was_finished_and_the_same_input(opened: Broker) -> None:
    run = await lived(
        opened,
        *claimed(Step(rid="1", key="one", result=[1]), Step(rid="2", key="two", after="one")),
        payload=orjson.dumps("x" * (INLINE_LIMIT + 1)),
    )
    fork = await in_journal(opened, await Forks(Runs(opened)).fork(run, "two"))
    created = fork.state.created
    assert created is not None
    assert created.blob is not None
    assert created.blob.startswith(f"{fork.id}/")
    assert (created.replayof, created.tags, created.parent) == (run, ("a",), None)
    assert {key: step.result for key, step in fork.state.steps.items()} == {"one": [1]}
    assert fork.facts()["forkof"] == {
        "run": run,
        "at": created.taken.at if created.taken else 0,
        "key": "two",
    }
    assert fork.timeline()[0]["taken"] == ["one"]
    assert fork.status == "queued"


async def test_a_request_that_is_repeated_starts_one_fork_and_another_point_is_refused(
    opened: Broker,
) -> None:
    run = await lived(opened, *claimed(Step(rid="1", key="one"), Step(rid="2", key="two", after="one")))
    forks = Forks(Runs(opened))
    several = await asyncio.gather(*[forks.fork(run, "two", key="k") for _ in range(5)])
    assert len({view.id for view in several}) == 1
    assert (await forks.fork(run, "two", key="k")).id == several[0].id
    assert (await forks.fork(run, "two")).id != several[0].id
    with pytest.raises(ConflictError, match="another point"):
        await forks.fork(run, "one", key="k")
    with pytest.raises(PayloadError):
        await forks.fork(run, "one", key="")


async def test_a_fork_whose_creator_died_before_its_ticket_is_carried_on_by_the_repetition(
    opened: Broker,
) -> None:
    run = await lived(opened, *claimed(Step(rid="1", key="one"), Step(rid="2", key="two", after="one")))
    forks = Forks(Runs(opened))
    record = (await forks.fork(run, "two", key="first")).state.created
    assert record is not None
    fork = run_of_fork(run, "second")
    await opened.journal.append(fork, encode(record), expect=0)
    tickets = opened.names.stream("TICKETS")
    before = (await opened.bus.api(f"STREAM.INFO.{tickets}"))["state"]["messages"]
    for _ in range(2):
        assert (await forks.fork(run, "two", key="second")).id == fork
        assert (await opened.bus.api(f"STREAM.INFO.{tickets}"))["state"]["messages"] == before + 1


async def test_large_results_are_copied_and_too_much_of_them_travels_in_objects(opened: Broker) -> None:
    runs = Runs(opened)
    big = "y" * 100_000
    steps = [Step(rid=f"s{number}", key=f"step#{number}", result=f"{number}{big}") for number in range(12)]
    run = await lived(opened, *claimed(*steps))
    blob = await opened.blobs.put(run, orjson.dumps("large"))
    tail = (await runs.get(run)).state.tail
    item = Item(id="i", box="signal:s", who="i", blob=blob)
    tail = await opened.journal.append(run, encode(Step(rid="b", key="blob", blob=blob)), expect=tail)
    await opened.journal.append(run, encode(News(rid="n", items=(item,))), expect=tail)
    fork = await in_journal(opened, await Forks(runs).fork(run))
    found = fork.state.steps
    assert len(found) == 13
    for number in range(12):
        step = found[f"step#{number}"]
        value = orjson.loads(await opened.blobs.get(step.blob)) if step.blob else step.result
        assert value == f"{number}{big}"
        assert step.blob is None or step.blob.startswith(f"{fork.id}/")
    assert any(step.blob for key, step in found.items() if key != "blob")
    await opened.blobs.delete_of(run)
    for name in (found["blob"].blob, fork.state.boxes["signal:s"]["i"].blob):
        assert name is not None
        assert await opened.blobs.get(name) == b'"large"'


async def test_more_than_a_record_holds_is_refused_and_leaves_nothing(opened: Broker) -> None:
    items = tuple(Item(id=f"item-{n}", box="signal:s", who=f"item-{n}", data=n) for n in range(15_000))
    run = await lived(
        opened, *claimed(*(News(rid=f"n{n}", items=items[n : n + 3_000]) for n in range(0, 15_000, 3_000)))
    )
    with pytest.raises(ConflictError, match="a record holds") as caught:
        await Forks(Runs(opened)).fork(run)
    assert "earlier point" in caught.value.hint
    info = await opened.bus.api(f"STREAM.INFO.{opened.blobs._stream}")
    assert info["state"]["messages"] == 0
    assert len(await Runs(opened).list()) == 1


async def test_points_that_arent_there_are_named_with_those_that_are(opened: Broker) -> None:
    forks = Forks(Runs(opened))
    run = await lived(opened, *claimed(Step(rid="1", key="one"), Spawned(rid="2", key="call:x", task="x")))
    for point in ("two", 1, "9" * 400, "\x00", "\ud800"):
        with pytest.raises(PayloadError) as caught:
            await forks.fork(run, point)
        assert "one, call:x" in caught.value.hint
    for point in ("", "x" * 1_001):
        with pytest.raises(PayloadError, match="characters"):
            await forks.fork(run, point)
    with pytest.raises(NotFoundError):
        await forks.fork("run_00000000000000000000000000", "one")
    fork = await forks.fork(run, "call:x")
    with pytest.raises(PayloadError, match="taken 'one' over") as caught:
        await forks.fork(fork.id, "one")
    assert run in caught.value.hint


async def test_a_closed_journal_and_a_task_that_is_gone_are_refused(opened: Broker) -> None:
    runs = Runs(opened)
    run = await lived(opened, *claimed(Step(rid="1", key="one")))
    await registry.remove(opened.tasks, "free")
    with pytest.raises(NotFoundError, match="free"):
        await Forks(runs).fork(run, "one")
    await registry.publish(opened.tasks, TaskDefinition(id="free", payload_schema=None))
    view = await runs.get(run)
    end = End(rid="e", outcome="completed", task="free", records=tuple(entry.seq for entry in view.entries))
    tail = await opened.journal.append(run, encode(end), expect=view.state.tail)
    assert (await Forks(runs).look(run)).taken.at == tail + 1
    await opened.journal.delete(view.entries[1].seq)  # a closer has begun
    with pytest.raises(ConflictError, match="closed"):
        await Forks(runs).fork(run, "one")
    await opened.journal.close(run, expect=tail, keep=60)
    with pytest.raises(ConflictError, match="closed") as caught:
        await Forks(runs).fork(run)
    assert "journal.keep" in caught.value.hint


async def test_results_of_children_are_copied_from_their_journals(opened: Broker) -> None:
    child = await lived(opened, *claimed(End(rid="e", outcome="completed", task="free", result="z" * 9_000)))
    told = Item(id="end", box="call:x", who="0", run=child)
    run = await lived(
        opened, *claimed(Spawned(rid="2", key="call:x", task="x"), News(rid="n", items=(told,)))
    )
    fork = await in_journal(opened, await Forks(Runs(opened)).fork(run))
    item = fork.state.boxes["call:x"]["0"]
    assert (item.run, fork.state.spawned["call:x"].run) == (None, run)
    assert item.blob is not None
    assert orjson.loads(await opened.blobs.get(item.blob)) == "z" * 9_000
    gone = await lived(
        opened,
        *claimed(
            Spawned(rid="2", key="call:x", task="x"),
            News(
                rid="n", items=(Item(id="end", box="call:x", who="0", run="run_00000000000000000000000000"),)
            ),
        ),
    )
    with pytest.raises(ConflictError, match="closed"):
        await Forks(Runs(opened)).fork(gone)
