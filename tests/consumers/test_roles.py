"""Router, mailman, closer and sweeper on a real broker, alone and two of each side by side."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import orjson
import pytest

from consumers import role
from consumers.closer import Closer
from consumers.endings import report_endings
from consumers.history.gate import HistoryGate
from consumers.mailman import Mailman
from consumers.router import Router
from consumers.sweeper import Sweeper
from tests.consumers.conftest import Mill
from tests.patience import until
from tidemill import Retry, task
from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.jetstream.scan import oldest
from tidemill.kernel.protocol.closer import Keeping
from tidemill.kernel.services import registry
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.subjects import run_of_event

pytestmark = pytest.mark.integration
ONCE = Retry(max_attempts=1)


async def _bodies(mill: Mill, stream: str, count: int) -> list[dict[str, Any]]:
    """Wait for so many messages of a stream and return their JSON."""

    async def look() -> list[Any]:
        found = await oldest(mill.broker.bus, stream, mill.names.subject(stream.lower(), ">"), 100)
        return found if len(found) == count else []

    return [orjson.loads(message.body) for message in await until(look)]


async def test_one_event_starts_every_task_that_wants_it_once(mill: Mill) -> None:
    @task(on=["test.push", "test.*"], where="data.ref == 'main'")
    async def deploy(data: dict[str, Any]) -> str:
        return str(data["ref"])

    @task(on="test.>")
    async def record(data: dict[str, Any]) -> None: ...

    async with mill.engine(), mill.engine(), mill.worker(deploy, record):
        keys = [await mill.post("test.push", {"ref": "main"}, id=f"e{n}") for n in range(20)]
        runs = [run_of_event(key, name) for key in keys for name in ("deploy", "record")]
        await until(lambda: _known(mill, runs))
        assert {(await mill.ended(run)).status for run in runs} == {"completed"}
    assert len(await mill.runs.list(limit=100)) == 40
    assert {view.state.starts for view in await mill.runs.list(limit=100)} == {1}
    assert await mill.count("RECORDS") == 0


async def _known(mill: Mill, runs: list[str]) -> bool:
    try:
        for run in runs:
            await mill.runs.get(run)
    except NotFoundError:
        return False
    return True


async def test_what_starts_no_run_is_recorded_with_its_reason(mill: Mill) -> None:
    @task(on="test.push", where="data.ref == 'main'")
    async def deploy() -> None: ...

    @task(on="test.broken", where="data.missing.field > 1")
    async def breaks() -> None: ...

    @task(on="test.text", where="data.x == 1")
    async def reads() -> None: ...

    @task(on="test.text")
    async def looks_on() -> None: ...

    async with mill.engine(), mill.worker(deploy, breaks, reads, looks_on):
        await mill.post("test.push", {"ref": "feature"}, id="e1")
        await _bodies(mill, "RECORDS", 1)
        await mill.post("nobody.cares", {}, id="e2")
        await _bodies(mill, "RECORDS", 2)
        await mill.post("test.broken", {"ref": 1}, id="e3")
        await _bodies(mill, "RECORDS", 3)
        await mill.post("test.text", b"plain text", id="e4", datacontenttype="text/plain")
        filtered, unrouted, broken, text = await _bodies(mill, "RECORDS", 4)
        pairs = await _bodies(mill, "QUARANTINE", 2)
    [verdict] = filtered["verdicts"]
    assert (verdict["verdict"], verdict["task"], verdict["value"]) == ("filtered", "deploy", "feature")
    assert verdict["clause"] == "data.ref == 'main'"
    assert (unrouted["event"]["id"], unrouted["verdicts"]) == ("e2", [])
    assert broken["verdicts"][0]["verdict"] == "quarantined"
    assert {pair["pair"]["task"] for pair in pairs} == {"breaks", "reads"}
    assert "no JSON" in text["verdicts"][0]["reason"]
    assert await mill.count("DEAD") == 0


async def test_a_task_gets_the_event_that_arrives_just_after_its_definition(mill: Mill) -> None:
    @task(id="known", on="test.>")
    async def known() -> None: ...

    async with mill.engine("router"):
        await registry.publish(mill.broker.tasks, known.definition)
        for number in range(20):  # the router has a view, and somebody in it wants the event
            late = TaskDefinition(id=f"late-{number}", on=("test.push",))
            await registry.publish(mill.broker.tasks, late)
            key = await mill.post("test.push", {})
            await until(partial(_known, mill, [run_of_event(key, late.id)]))


async def test_a_definition_that_this_version_can_not_read_stops_no_other(
    mill: Mill, caplog: pytest.LogCaptureFixture
) -> None:
    @task(on="test.push")
    async def work() -> None: ...

    strange = TaskDefinition(id="strange", on=("test.push",), where="data.x.from_the_future(1) +")
    await registry.publish(mill.broker.tasks, strange)
    await mill.broker.tasks.put("alien", b'{"definition": 7}')
    async with mill.engine(), mill.worker(work):
        await asyncio.sleep(1.2)  # a second look at the definitions
        key = await mill.post("test.push", {})
        await until(lambda: _known(mill, [run_of_event(key, "work")]))
        [record] = await _bodies(mill, "RECORDS", 1)
    assert record["verdicts"][0]["task"] == "strange"
    assert caplog.text.count("task alien") == 1


async def test_what_is_no_event_is_given_up_at_once(mill: Mill) -> None:
    async with mill.engine("router"):
        await mill.broker.bus.publish(mill.names.event("test", "a.b"), b"nonsense")
        await mill.broker.bus.publish(mill.names.event("test", "a.b"), b'{"id": "e1"}\n')
        letters = await until(lambda: _when(mill, 2))
    assert {letter.task for letter in letters} == {"router"}
    assert {letter.raw for letter in letters} == {b"nonsense", b'{"id": "e1"}\n'}


async def _when(mill: Mill, count: int) -> list[Any]:
    letters = await mill.letters()
    return letters if len(letters) == count else []


async def test_a_message_that_fails_again_and_again_is_given_up(
    mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise LookupError("a bug in the house")

    monkeypatch.setattr(role, "POISON_LIMIT", 2)
    monkeypatch.setattr(Router, "_arrival", fail)
    router = Router(mill.broker, Definitions(mill.broker.tasks))
    running = asyncio.create_task(router.run())
    await mill.post("test.push", {"x": 1})
    [letter] = await until(lambda: _when(mill, 1))
    await router.stop()
    await running
    assert "LookupError: a bug in the house" in letter.facts["attempts"][0]["message"]
    assert (router._budget.free, dict(router._failures)) == (router.places, {})


async def test_a_signal_that_nobody_can_read_is_given_up(mill: Mill) -> None:
    async with mill.engine("mailman"):
        await mill.broker.bus.publish(mill.names.signal("run_x"), b'{"kind":"dance"}')
        [letter] = await until(lambda: _when(mill, 1))
    assert (letter.task, await mill.count("SIGNALS")) == ("mailman", 0)
    assert Mailman.name == "mailman"


async def test_the_closer_closes_ended_runs_and_they_never_run_again(mill: Mill) -> None:
    calls: list[int] = []

    @task(on="test.push", retry=ONCE)
    async def work(number: int) -> None:
        calls.append(number)
        if number < 0:
            raise ValueError

    keep = Settings.load(
        environ={},
        overrides={
            "nats": mill.settings.nats.model_dump(include={"url", "namespace"}),
            "journal": {"keep": 1, "tombstone": 60},
        },
    )
    stopping = asyncio.Event()
    reporting = asyncio.create_task(report_endings(mill.broker, stopping))
    async with mill.engine("router", "mailman", "closer", settings=keep), mill.worker(work):
        key = await mill.post("test.push", 1, id="e1")
        await until(lambda: _known(mill, [run_of_event(key, "work")]))
        event_run = run_of_event(key, "work")
        keyed, failed = await mill.trigger("work", 2, idempotency_key="k"), await mill.trigger("work", -3)
        epoch = (await mill.ended(event_run)).state.epoch
        for run in (event_run, keyed):
            await mill.when(run, lambda view: view.status == "closed")
        # The event, the key and the ticket once more: nothing runs again.
        assert await mill.trigger("work", 2, idempotency_key="k") == keyed
        await mill.post("test.push", 1, id="e1")
        await mill.broker.bus.publish(mill.names.ticket("work", event_run, epoch), b"{}\n")
        await mill.empty("TICKETS")
        assert (await mill.runs.get(failed)).status == "failed"  # its dead letter stands
        assert await mill.runs.signal(event_run, "retry") == "gone"
    stopping.set()
    await reporting
    assert sorted(calls) == [-3, 1, 2]
    for run in (event_run, keyed):
        assert len(await mill.broker.journal.read_leader(run)) == 1


class _Swept:
    """A sweeper that looks at once at whatever stands still, and how often it had to mend."""

    def __init__(self, mill: Mill, keeping: Keeping | None = None) -> None:
        gate = HistoryGate(mill.broker.history, keeping or Keeping(), patience=0)
        self.sweeper = Sweeper(mill.broker, keeping or Keeping(), gate, patience=0)

    async def __call__(self) -> int:
        return await self.sweeper.sweep()


async def _tickets_of(mill: Mill, subject: str) -> list[int]:
    found = await oldest(mill.broker.bus, "TICKETS", mill.names.subject(subject, ">"), 100)
    return [message.seq for message in found]


async def _delete(mill: Mill, subject: str) -> None:
    stream = mill.names.stream("TICKETS")
    for seq in await until(lambda: _tickets_of(mill, subject)):
        await mill.broker.bus.api(f"STREAM.MSG.DELETE.{stream}", {"seq": seq})


async def test_the_sweeper_carries_on_what_nothing_carries(mill: Mill) -> None:
    """A ticket and timers that are deleted by hand."""

    @task(retry=Retry(max_attempts=2, min_delay=0.3, jitter=False))
    async def work(kind: str) -> str:
        if kind == "fails once" and kind not in seen:
            seen.add(kind)
            raise ConnectionError
        return kind

    seen: set[str] = set()
    sweep = _Swept(mill)
    await registry.publish(mill.broker.tasks, work.definition)
    queued = await mill.trigger("work", "queued")
    assert await sweep() == 0
    await _delete(mill, "tickets")
    assert await sweep() == 1
    assert await sweep() == 0
    delayed = await mill.trigger("work", "delayed", delay=0.3)
    await _delete(mill, "timers")
    assert await sweep() == 1
    async with mill.worker(work):
        assert (await mill.ended(queued)).result == "queued"
        assert (await mill.ended(delayed)).result == "delayed"
        retrying = await mill.trigger("work", "fails once")
        await mill.when(retrying, lambda view: view.status == "delayed")
        await _delete(mill, "timers")
        assert await sweep() == 1
        assert (await mill.ended(retrying)).result == "fails once"
    await mill.empty("TICKETS")
    assert await sweep() == 0


async def test_the_sweeper_ends_what_nobody_begins_in_time(mill: Mill) -> None:
    """No worker runs: the run expires all the same, with a dead letter, and can be retried."""

    @task
    async def work(kind: str) -> str:
        return kind

    await registry.publish(mill.broker.tasks, work.definition)
    short = await mill.trigger("work", "late", ttl=0.3)
    long = await mill.trigger("work", "in time", ttl=600)
    gate = HistoryGate(mill.broker.history, Keeping(), patience=0)
    sweeper = Sweeper(mill.broker, Keeping(), gate, patience=600)
    assert await until(sweeper.sweep) == 1
    view = await mill.runs.get(short)
    assert (view.status, view.state.starts) == ("expired", 0)
    assert await mill.count("DEAD") == 1
    async with mill.engine(), mill.worker(work):
        assert (await mill.ended(long)).result == "in time"
        await mill.empty("TICKETS")
        assert (await mill.runs.get(short)).status == "expired"
        await mill.runs.signal(short, "retry")
        assert (await mill.ended(short)).result == "late"


async def test_the_sweeper_takes_over_an_owned_run_whose_ticket_is_gone(mill: Mill) -> None:
    calls: list[int] = []

    @task
    async def work() -> str:
        calls.append(1)
        await asyncio.sleep(60 if len(calls) == 1 else 0)
        return "second"

    async with mill.worker(work):
        run = await mill.trigger("work")
        await until(lambda: calls)
        await _delete(mill, "tickets")
        assert await _Swept(mill)() == 1
        view = await mill.ended(run)
    assert (view.result, view.state.starts) == ("second", 2)
    assert await mill.count("TICKETS") == 0


async def test_the_sweeper_leaves_living_runs_alone_and_survives_what_it_can_not_read(
    mill: Mill, caplog: pytest.LogCaptureFixture
) -> None:
    release = asyncio.Event()

    @task(retry=Retry(max_attempts=2, min_delay=60))
    async def work(kind: str) -> None:
        if kind == "fails":
            raise ConnectionError
        await release.wait()

    journal = mill.broker.journal
    await journal.append("run_alien", b'{"kind":"hologram","rid":"x"}\n', expect=0)
    await journal.append("run_garbled", b'{"kind":"end","fault":{"x":1}}\n', expect=0)
    await journal.append("run_marked", b"x\n", expect=0, headers={"Tidemill-End": '{"later":1}'})
    await journal.append("run_mad", b"x\n", expect=0, headers={"Tidemill-End": "{"})
    async with mill.worker(work):
        running = await mill.trigger("work", "waits")
        await mill.when(running, lambda view: view.status == "running")
        failing = await mill.trigger("work", "fails")
        await mill.when(failing, lambda view: view.status == "delayed")
        assert await _Swept(mill)() == 0
        release.set()
        assert (await mill.ended(running)).state.starts == 1
    assert "run_alien" in caplog.text
    assert "run_mad" in caplog.text
    assert "run_marked" not in caplog.text


async def test_the_sweeper_closes_what_the_closer_missed(mill: Mill) -> None:
    @task
    async def work() -> None: ...

    async with mill.engine("router"), mill.worker(work):
        run = await mill.trigger("work")
        await mill.ended(run)
        await _Swept(mill, Keeping(journal=0, tombstone=60))()
    assert (await mill.runs.get(run)).status == "closed"


async def test_closer_and_sweeper_stop_when_they_are_told(mill: Mill) -> None:
    gate = HistoryGate(mill.broker.history, Keeping(), patience=0)
    parts: list[Closer | Sweeper] = [
        Closer(mill.broker, Keeping(), gate),
        Sweeper(mill.broker, Keeping(), gate, interval=0.05),
    ]
    running = [asyncio.create_task(part.run()) for part in parts]
    await asyncio.sleep(0.2)
    assert not any(each.done() for each in running)
    await asyncio.gather(*(part.stop() for part in parts))
    await asyncio.wait_for(asyncio.gather(*running), 20)
