"""An installation's pulse: what waits, executes and sleeps, as the broker knows it."""

from __future__ import annotations

import asyncio
import time

import orjson
import pytest

from tidemill.kernel.errors import BrokerError
from tidemill.kernel.jetstream.bus import Bus, Message
from tidemill.kernel.jetstream.task_consumers import ensure_task_consumer
from tidemill.kernel.jetstream.topology import apply, wanted
from tidemill.kernel.services.broker import Access, Broker
from tidemill.kernel.services.pulse import Pulses, Queue

pytestmark = pytest.mark.integration


@pytest.fixture
async def broker_of_test(bus: Bus) -> Broker:
    topology = wanted(bus.names)
    await apply(bus, topology)
    return Broker(Access((), bus.names), bus, topology, patient=False)


async def test_an_idle_installation_has_a_pulse(broker_of_test: Broker) -> None:
    pulse = await Pulses(broker_of_test).take()
    assert (pulse.queues, pulse.asleep, pulse.workers) == ((), 0, ())
    assert pulse.lags == {"router": 0, "mailman": 0}
    assert {store.messages for store in pulse.stores} == {0}


async def test_it_tells_what_waits_executes_and_sleeps(broker_of_test: Broker) -> None:
    bus, names = broker_of_test.bus, broker_of_test.names
    begun = time.time()
    for task, limit in (("team.deploy", 2), ("mail", None)):
        await ensure_task_consumer(bus, task, limit=limit)
    for number in range(5):
        await bus.publish(names.ticket("team.deploy", f"run_{number}", 1), b"{}")
    timer = {
        "Nats-Schedule": "@at 2099-01-01T00:00:00Z",
        "Nats-Schedule-Target": names.ticket("mail", "run_9", 3),
    }
    await bus.publish(names.timer("mail", "run_9", 3), b"{}", headers=timer)
    await bus.publish(names.event("github", "github.push"), b"{}")
    await broker_of_test.workers.put(
        "w1", orjson.dumps({"id": "w1", "slots": 3, "busy": 1, "tasks": ["mail"]})
    )
    pull = f"$JS.API.CONSUMER.MSG.NEXT.{names.stream('TICKETS')}.{names.consumer_of('team.deploy')}"
    taken: asyncio.Queue[Message] = asyncio.Queue()
    inbox = bus.new_inbox()
    await bus.subscribe(inbox, taken.put_nowait)
    await bus.send(pull, b'{"batch":1}', reply=inbox)
    assert (await asyncio.wait_for(taken.get(), 20)).reply

    pulse = await Pulses(broker_of_test).take()
    mail, deploy = pulse.queues
    assert mail == Queue("mail", 0, 0, None, None)
    assert (deploy.task, deploy.waiting, deploy.executing, deploy.limit) == ("team.deploy", 4, 1, 2)
    assert deploy.since is not None
    assert begun - 5 <= deploy.since <= time.time()
    assert pulse.asleep == 1
    assert pulse.lags == {"router": 1, "mailman": 0}
    assert pulse.store("EVENTS").messages == 1
    assert [worker["id"] for worker in pulse.workers] == ["w1"]
    assert orjson.loads(orjson.dumps(pulse.facts()))["queues"][1]["waiting"] == 4


async def test_askers_share_a_fresh_one(broker_of_test: Broker) -> None:
    pulses = Pulses(broker_of_test, fresh=60)
    assert await pulses.take() is await pulses.take()
    eager = Pulses(broker_of_test, fresh=0)
    assert await eager.take() is not await eager.take()


async def test_a_broker_without_streams_is_an_error(bus: Bus) -> None:
    bare = Broker(Access((), bus.names), bus, wanted(bus.names), patient=False)
    with pytest.raises(BrokerError):
        await Pulses(bare).take()
