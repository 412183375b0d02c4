"""Tasks that operators pause and limit, on a real broker with real workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.consumers.conftest import until
from tidemill import Context, Ok, task
from tidemill.kernel.errors import NotFoundError, PayloadError
from tidemill.kernel.protocol.hooks import hooks_task
from tidemill.kernel.services.overrides import MOST, NOTHING_DECIDED, Overrides
from tidemill.kernel.services.pulse import Pulses
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.services.run_signals import RunSignals

if TYPE_CHECKING:
    from tests.consumers.conftest import Mill
    from tidemill.kernel.definition import TaskDefinition

pytestmark = pytest.mark.integration


@task(aliases=("echoed",))
async def echo(value: int) -> int:
    return value


@task(concurrency=3)
async def stay(key: str, ctx: Context) -> str:
    await ctx.wait_for_signal(key, str, timeout="1h")
    return key


GATES: dict[int, asyncio.Event] = {}
BUSY: set[int] = set()


@task(concurrency=3)
async def busy(key: int) -> int:
    BUSY.add(key)
    await GATES.setdefault(key, asyncio.Event()).wait()
    BUSY.discard(key)
    return key


HEARD: list[int] = []


@task(aliases=("tolled",))
async def told(key: int) -> int:
    BUSY.add(key)
    await GATES.setdefault(key, asyncio.Event()).wait()
    return key


@told.on_success
async def hear(end: Ok[int]) -> None:
    HEARD.append(end.value)


@pytest.fixture(autouse=True)
def fresh() -> None:
    HEARD.clear()
    GATES.clear()
    BUSY.clear()


async def definition(mill: Mill, name: str) -> TaskDefinition:
    definitions = Definitions(mill.broker.tasks)
    await definitions.refresh()
    return definitions.find(name)


async def test_a_paused_task_holds_its_runs_and_lets_go_of_all(mill: Mill) -> None:
    overrides = Overrides(mill.broker)
    async with mill.worker(echo, busy), mill.engine("mailman"):
        executing = await mill.trigger("busy", 1)
        await until(lambda: 1 in BUSY)
        for name in ("echo", "busy"):
            await overrides.pause(await definition(mill, name), reason="it burns", by="Ada")
        waiting = [await mill.trigger("echo", number) for number in range(5)]
        GATES[1].set()
        assert (await mill.ended(executing)).result == 1
        view = await mill.runs.explained(waiting[0])
        assert "echo is paused since" in view.details()["why"]
        assert "by Ada (it burns)" in view.details()["why"]
        paused = {queue.task: queue.paused for queue in (await Pulses(mill.broker).take()).queues}
        assert paused == {"echo": True, "echoed": True, "busy": True}
        assert {(await mill.runs.get(run)).status for run in waiting} == {"queued"}
        await overrides.resume(await definition(mill, "echo"), by="Bob")
        assert [(await mill.ended(run)).result for run in waiting] == list(range(5))
        assert (await overrides.of("echo")).by == "Bob"
        assert (await mill.runs.explained(waiting[0])).override is None


async def test_a_pause_outlives_workers_and_a_consumer_that_is_deleted(mill: Mill) -> None:
    overrides = Overrides(mill.broker)
    async with mill.worker(echo):
        await overrides.pause(await definition(mill, "echo"))
    async with mill.worker(echo):
        assert (await mill.consumer("echo"))["paused"]
        stream, consumer = mill.names.stream("TICKETS"), mill.names.consumer_of("echo")
        await mill.broker.bus.api(f"CONSUMER.DELETE.{stream}.{consumer}")
        run = await mill.trigger("echo", 7)

        async def restored() -> bool:
            names = (await mill.broker.bus.api(f"CONSUMER.NAMES.{stream}"))["consumers"]
            return consumer in names

        await until(restored)
        assert (await mill.consumer("echo"))["paused"]
        assert (await mill.runs.get(run)).status == "queued"
        await overrides.resume(await definition(mill, "echo"))
        assert (await mill.ended(run)).result == 7


async def test_one_that_was_never_served_is_paused_from_the_first_moment(mill: Mill) -> None:
    async with mill.worker(echo):
        pass
    for name in ("echo", "echoed"):
        consumer = f"{mill.names.stream('TICKETS')}.{mill.names.consumer_of(name)}"
        await mill.broker.bus.api(f"CONSUMER.DELETE.{consumer}")
    run = await mill.trigger("echo", 1)
    await Overrides(mill.broker).pause(await definition(mill, "echo"))
    async with mill.worker(echo):
        assert (await mill.consumer("echo"))["num_pending"] == 1
        assert (await mill.runs.get(run)).state.starts == 0
        await Overrides(mill.broker).resume(await definition(mill, "echo"))
        assert (await mill.ended(run)).result == 1


async def test_hooks_are_held_with_their_task(mill: Mill) -> None:
    overrides = Overrides(mill.broker)
    queue = hooks_task("told")
    async with mill.worker(told), mill.engine("mailman"):
        executing = await mill.trigger("told", 1)
        await until(lambda: 1 in BUSY)
        await overrides.limit(await definition(mill, "told"), 1)
        await overrides.pause(await definition(mill, "told"), reason="it burns")
        GATES[1].set()
        await mill.ended(executing)
        (hooks,) = [view.id for view in await mill.runs.list(task=queue)]
        assert (await mill.runs.get(hooks)).status == "queued"
        assert "told is paused since" in (await mill.runs.explained(hooks)).details()["why"]
        assert "`tidemill tasks resume told`" in (await mill.runs.explained(hooks)).details()["why"]
    async with mill.worker(told):
        assert (await mill.consumer(queue))["paused"]
        stream, consumer = mill.names.stream("TICKETS"), mill.names.consumer_of(queue)
        await mill.broker.bus.api(f"CONSUMER.DELETE.{stream}.{consumer}")

        async def restored() -> bool:
            return consumer in (await mill.broker.bus.api(f"CONSUMER.NAMES.{stream}"))["consumers"]

        await until(restored)
        restored_consumer = await mill.consumer(queue)
        assert restored_consumer["paused"]
        assert restored_consumer["config"]["max_ack_pending"] != 1
        assert HEARD == []
        await overrides.resume(await definition(mill, "told"))
        assert (await mill.ended(hooks)).status == "completed"
        assert HEARD == [1]


async def test_a_run_whose_worker_dies_in_a_pause_goes_on_afterwards(mill: Mill) -> None:
    overrides = Overrides(mill.broker)
    async with mill.worker(stay), mill.engine("mailman"):
        run = await mill.trigger("stay", "go")
        await mill.when(run, lambda view: view.status == "waiting")
        await overrides.pause(await definition(mill, "stay"))
        await RunSignals(mill.broker, mill.runs).send(run, "go", b'"x"')
        await mill.when(run, lambda view: view.state.satisfied)
        assert "is paused" in (await mill.runs.explained(run)).details()["why"]
    async with mill.worker(stay):
        await overrides.resume(await definition(mill, "stay"))
        assert (await mill.ended(run)).status == "completed"


async def test_a_limit_stands_above_the_code_and_is_given_back(mill: Mill) -> None:
    overrides = Overrides(mill.broker)
    async with mill.worker(busy):
        await overrides.limit(await definition(mill, "busy"), 1, by="Ada")
        runs = [await mill.trigger("busy", number) for number in range(4)]
        await until(lambda: len(BUSY) == 1)
        assert (await mill.consumer("busy"))["config"]["max_ack_pending"] == 1
        await overrides.limit(await definition(mill, "busy"), None)
        await until(lambda: len(BUSY) == 3)
        await overrides.limit(await definition(mill, "busy"), 4)
        await until(lambda: len(BUSY) == 4)
        for gate in GATES.values():
            gate.set()
        for run in runs:
            await mill.ended(run)
    async with mill.worker(busy):
        assert (await mill.consumer("busy"))["config"]["max_ack_pending"] == 4
    await overrides.limit(await definition(mill, "busy"), None)
    async with mill.worker(busy):
        assert (await mill.consumer("busy"))["config"]["max_ack_pending"] == 3


async def test_many_who_decide_at_once_leave_one_decision(mill: Mill) -> None:
    overrides = Overrides(mill.broker)
    async with mill.worker(echo):
        what = await definition(mill, "echo")
        await asyncio.gather(
            *(overrides.limit(what, number) for number in range(1, 9)),
            overrides.pause(what),
            overrides.pause(what),
        )
        decided = await overrides.of("echo")
        assert (decided.paused, decided.limit in range(1, 9)) == (True, True)
        assert (await mill.consumer("echo"))["paused"]
        await overrides.resume(what)
        await overrides.limit(what, None)
        assert (await overrides.of("echo")).empty
    assert await overrides.of("nobody") == NOTHING_DECIDED


@pytest.mark.parametrize("limit", [0, -1, MOST + 1, True])
async def test_a_limit_that_cant_be_is_refused(mill: Mill, limit: int) -> None:
    async with mill.worker(echo):
        with pytest.raises(PayloadError):
            await Overrides(mill.broker).limit(await definition(mill, "echo"), limit)
    with pytest.raises(NotFoundError):
        await definition(mill, "nobody")
