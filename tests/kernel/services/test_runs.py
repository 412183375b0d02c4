"""Runs from the outside: triggers, looks, listings, signals and replays, without any worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import orjson
import pytest

from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.errors import ConflictError, NotFoundError, PayloadError
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT
from tidemill.kernel.jetstream.journal import Journal, LastEntry
from tidemill.kernel.protocol.records import Claim, Created, End, encode
from tidemill.kernel.services import runs as runs_module
from tidemill.kernel.services.broker import Broker, open_broker
from tidemill.kernel.services.registry import publish
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.trigger import parse_request

if TYPE_CHECKING:
    from conftest import BrokerProcess

    from tidemill.kernel.subjects import Names


@pytest.mark.integration
@pytest.mark.usefixtures("bus")  # it deletes the namespace's streams
async def test_a_run_that_moves_on_during_the_listing_is_listed_once(
    broker: BrokerProcess, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = Journal.runs

    async def twice(self: Journal, *, headers_only: bool = False) -> AsyncIterator[LastEntry]:
        for _ in range(2):
            async for entry in once(self, headers_only=headers_only):
                yield entry

    settings = Settings.load(None, {}, {"nats": {"url": broker.url, "namespace": names.namespace}})
    async with open_broker(settings, name="test") as opened:
        await publish(opened.tasks, TaskDefinition(id="a"))
        runs = Runs(opened)
        started = [(await runs.trigger(parse_request("a", b"1", {}))).id for _ in range(2)]
        monkeypatch.setattr(Journal, "runs", twice)
        assert [view.id for view in await runs.list()] == started[::-1]


SCHEMA = {"type": "object", "properties": {"size": {"type": "integer"}}, "required": ["size"]}


@pytest.fixture
async def opened(broker: BrokerProcess, names: Names, bus: object) -> AsyncIterator[Broker]:
    assert bus  # it deletes the namespace's streams
    settings = Settings.load(None, {}, {"nats": {"url": broker.url, "namespace": names.namespace}})
    async with open_broker(settings, name="test") as opened:
        await publish(opened.tasks, TaskDefinition(id="measure", aliases=("old",), payload_schema=SCHEMA))
        await publish(opened.tasks, TaskDefinition(id="free", payload_schema=None))
        yield opened


@pytest.mark.integration
async def test_a_trigger_creates_a_run_that_waits_for_its_worker(opened: Broker) -> None:
    runs = Runs(opened)
    view = await runs.trigger(parse_request("measure", b'{"size": 3}', {"tags": ["a", "b"], "ttl": 60}))
    seen = await runs.get(view.id)
    assert (seen.status, seen.ended, seen.state.task) == ("queued", False, "measure")
    facts = seen.facts()
    assert (facts["attempt"], facts["tags"], facts["result"], facts["error"]) == (0, ["a", "b"], None, None)
    created = seen.state.created
    assert created is not None
    assert created.expires_at is not None
    assert (created.raw, round(created.expires_at - seen.state.began_at)) == (b'{"size": 3}', 60)
    assert [entry["kind"] for entry in seen.timeline()] == ["created"]


@pytest.mark.integration
async def test_a_trigger_is_checked_before_anything_is_stored(opened: Broker) -> None:
    runs = Runs(opened)
    for payload, words in ((b'{"size": "x"}', "payload.size"), (b"{}", "size"), (b"{", "no JSON")):
        with pytest.raises(PayloadError, match=words):
            await runs.trigger(parse_request("measure", payload, {}))
    with pytest.raises(NotFoundError, match="no task 'measur'") as caught:
        await runs.trigger(parse_request("measur", b"{}", {}))
    assert "measure" in caught.value.hint
    assert await runs.list() == []


@pytest.mark.integration
async def test_an_idempotency_key_gives_the_same_run(opened: Broker) -> None:
    runs = Runs(opened)
    first = await runs.trigger(parse_request("free", b"1", {"idempotency_key": "k"}))
    assert (await runs.trigger(parse_request("free", b"1", {"idempotency_key": "k"}))).id == first.id
    with pytest.raises(ConflictError, match="another payload"):
        await runs.trigger(parse_request("free", b"2", {"idempotency_key": "k"}))
    assert len(await runs.list()) == 1


@pytest.mark.integration
async def test_a_run_may_start_later_and_under_an_old_name(opened: Broker) -> None:
    runs = Runs(opened)
    by_delay = await runs.trigger(parse_request("old", b'{"size": 1}', {"delay": 60}))
    moment = datetime.now(UTC) + timedelta(hours=1)
    by_time = await runs.trigger(parse_request("free", b"1", {"at": moment}))
    for view, task in ((by_delay, "measure"), (by_time, "free")):
        seen = await runs.get(view.id)
        assert (seen.status, seen.state.task) == ("delayed", task)
    assert by_time.state.created is not None
    assert by_time.state.created.start_at == moment.timestamp()


@pytest.mark.integration
async def test_a_definition_that_changed_counts_for_the_next_trigger(
    opened: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs_module, "STALE_SECONDS", 0.0)
    runs = Runs(opened)
    with pytest.raises(PayloadError):
        await runs.trigger(parse_request("measure", b"{}", {}))
    await publish(opened.tasks, TaskDefinition(id="measure", payload_schema={"type": "object"}))
    assert await runs.trigger(parse_request("measure", b"{}", {}))


@pytest.mark.integration
async def test_listings_pick_by_task_and_status_and_pass_over_what_they_can_not_read(
    opened: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    runs = Runs(opened)
    first = await runs.trigger(parse_request("free", b"1", {}))
    second = await runs.trigger(parse_request("measure", b'{"size": 1}', {"delay": 60}))
    await opened.journal.append("run_alien", b'{"kind":"hologram"}\n', expect=0)
    assert [view.id for view in await runs.list()] == [second.id, first.id]
    assert [view.id for view in await runs.list(task="free")] == [first.id]
    assert [view.id for view in await runs.list(status="delayed")] == [second.id]
    assert [view.id for view in await runs.list(limit=1)] == [second.id]
    assert "run_alien" in caplog.text
    with pytest.raises(NotFoundError, match="no status"):
        await runs.list(status="asleep")


@pytest.mark.integration
async def test_what_a_run_came_to_is_shown(opened: Broker) -> None:
    blob = await opened.blobs.put("run_x", orjson.dumps("x" * INLINE_LIMIT))
    tail = 0
    for record in (
        Created(rid="c", task="free"),
        Claim(rid="k", q=1, n=1, worker="w"),
        End(rid="e", outcome="completed", blob=blob),
    ):
        tail = await opened.journal.append("run_x", encode(record), expect=tail)
    view = await Runs(opened).get("run_x")
    assert (view.status, view.ended, view.result) == ("completed", True, "x" * INLINE_LIMIT)
    assert view.facts()["attempt"] == 1
    await opened.journal.close("run_x", expect=tail, keep=60)
    closed = await Runs(opened).get("run_x")
    assert (closed.status, closed.ended) == ("closed", True)
    with pytest.raises(NotFoundError, match="no run 'run_y'"):
        await Runs(opened).get("run_y")


@pytest.mark.integration
async def test_a_signal_without_a_mailman_is_stored_and_queued(
    opened: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs_module, "ANSWER_SECONDS", 0.1)
    runs = Runs(opened)
    view = await runs.trigger(parse_request("free", b"1", {}))
    assert await runs.signal(view.id, "cancel", "why") == "queued"
    info = await opened.bus.api(f"STREAM.INFO.{opened.names.stream('SIGNALS')}")
    assert info["state"]["messages"] == 1


@pytest.mark.integration
@pytest.mark.parametrize("size", [10, INLINE_LIMIT + 1])
async def test_a_replay_is_a_new_run_with_the_same_input(opened: Broker, size: int) -> None:
    runs = Runs(opened)
    payload = orjson.dumps("x" * size)
    old = await runs.trigger(parse_request("free", payload, {"tags": ["a"], "idempotency_key": "k"}))
    new = await runs.replay(old.id)
    created = (await runs.get(new.id)).state.created
    assert created is not None
    assert (new.id != old.id, created.replayof, created.tags, created.key) == (True, old.id, ("a",), None)
    raw = await opened.blobs.get(created.blob) if created.blob else created.raw
    assert raw == payload
    assert created.blob is None or created.blob.startswith(new.id)  # a copy of its own
    with pytest.raises(NotFoundError):
        await runs.replay("run_unknown")
