from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.patience import until
from tidemill.kernel.errors import BrokerUnavailableError
from tidemill.kernel.jetstream.budget import Budget
from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.jetstream.pull import Delivery, Puller
from tidemill.kernel.subjects import Names

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import BrokerProcess


class Work:
    """A work queue with consumers, and a puller for each."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.stream = bus.names.stream("WORK")
        self.pullers: list[tuple[Puller, asyncio.Task[None]]] = []

    async def prepare(self, *consumers: str, ack_wait: float = 30.0) -> None:
        subjects = [self.bus.names.subject("work", ">")]
        config = {"name": self.stream, "subjects": subjects, "retention": "workqueue"}
        await self.bus.api(f"STREAM.CREATE.{self.stream}", config)
        for consumer in consumers:
            await self.consumer(consumer, ack_wait=ack_wait)

    async def consumer(self, name: str, *, ack_wait: float = 30.0) -> None:
        config = {
            "durable_name": name,
            "ack_policy": "explicit",
            "filter_subject": self.bus.names.subject("work", name),
            "ack_wait": int(ack_wait * 1e9),
            "max_ack_pending": -1,
        }
        await self.bus.api(
            f"CONSUMER.DURABLE.CREATE.{self.stream}.{name}", {"stream_name": self.stream, "config": config}
        )

    async def fill(self, consumer: str, number: int, *, first: int = 0) -> None:
        subject = self.bus.names.subject("work", consumer)
        await asyncio.gather(
            *(self.bus.publish(subject, str(n).encode()) for n in range(first, first + number))
        )

    def pull(
        self, consumer: str, budget: Budget, deliver: Callable[[Delivery], None], **options: object
    ) -> Puller:
        puller = Puller(self.bus, self.stream, consumer, budget, deliver, **options)  # type: ignore[arg-type]
        self.pullers.append((puller, asyncio.create_task(puller.run())))
        return puller

    async def stop(self) -> None:
        for puller, task in self.pullers:
            await asyncio.wait_for(puller.stop(), 10)
            await task

    async def left(self, consumer: str) -> tuple[int, int]:
        info = await self.bus.api(f"CONSUMER.INFO.{self.stream}.{consumer}")
        return info["num_pending"], info["num_ack_pending"]


async def test_every_message_is_delivered_once_and_the_budget_holds(bus: Bus) -> None:
    work = Work(bus)
    await work.prepare("a")
    await work.fill("a", 3000)
    budget, arrived = Budget(50), asyncio.Queue[Delivery]()
    held = most = 0
    seen: list[int] = []

    def deliver(delivery: Delivery) -> None:
        nonlocal held, most
        held += 1
        most = max(most, held)
        arrived.put_nowait(delivery)

    async def worker() -> None:
        nonlocal held
        while True:
            delivery = await arrived.get()
            seen.append(int(delivery.body))
            await delivery.ack()
            held -= 1
            budget.give_back()
            arrived.task_done()

    work.pull("a", budget, deliver)
    workers = [asyncio.create_task(worker()) for _ in range(60)]
    await until(lambda: len(seen) == 3000)
    await work.stop()
    for task in workers:
        task.cancel()
    assert sorted(seen) == list(range(3000))
    assert 10 < most <= 50
    assert budget.free == 50
    assert await work.left("a") == (0, 0)


async def test_a_delivery_tells_its_numbers(bus: Bus) -> None:
    work = Work(bus)
    await work.prepare("a")
    stored = await bus.publish(bus.names.subject("work", "a"), b"body", headers={"Key": "value"})
    budget, arrived = Budget(4), asyncio.Queue[Delivery]()
    work.pull("a", budget, arrived.put_nowait)
    first = await asyncio.wait_for(arrived.get(), 20)
    assert (first.subject, first.body) == (bus.names.subject("work", "a"), b"body")
    assert first.headers == {"Key": "value"}
    assert (first.stream_seq, first.attempt, first.consumer_seq, first.pending) == (stored.seq, 1, 1, 0)
    assert 0 < first.stored_at < 4e9
    await first.nak()
    budget.give_back()
    second = await asyncio.wait_for(arrived.get(), 20)
    assert (second.stream_seq, second.attempt, second.consumer_seq) == (stored.seq, 2, 2)
    await second.progress()
    await second.term("no such thing")
    budget.give_back()
    await work.stop()
    assert await work.left("a") == (0, 0)


async def test_a_delayed_nak_comes_back_later(bus: Bus) -> None:
    work = Work(bus)
    await work.prepare("a")
    await work.fill("a", 1)
    budget, arrived = Budget(4), asyncio.Queue[Delivery]()
    work.pull("a", budget, arrived.put_nowait)
    loop = asyncio.get_running_loop()
    await (await asyncio.wait_for(arrived.get(), 20)).nak(0.3)
    naked = loop.time()
    budget.give_back()
    again = await asyncio.wait_for(arrived.get(), 20)
    assert again.attempt == 2
    assert loop.time() - naked > 0.25
    await again.ack()
    budget.give_back()
    await work.stop()


async def test_a_busy_consumer_leaves_a_place_to_a_quiet_one(bus: Bus) -> None:
    work = Work(bus)
    await work.prepare("busy", "quiet")
    await work.fill("busy", 200)
    budget, busy, quiet = Budget(10), asyncio.Queue[Delivery](), asyncio.Queue[Delivery]()
    work.pull("quiet", budget, quiet.put_nowait)
    work.pull("busy", budget, busy.put_nowait)
    for _ in range(9):  # nobody gives back: busy takes all but the one place that is kept
        await asyncio.wait_for(busy.get(), 20)
    await work.fill("quiet", 1)
    assert (await asyncio.wait_for(quiet.get(), 20)).body == b"0"
    assert busy.empty()
    assert budget.free == 0
    budget.give_back(9)
    await asyncio.wait_for(busy.get(), 20)
    await work.stop()


async def test_with_one_place_all_take_turns(bus: Bus) -> None:
    work = Work(bus)
    consumers = ["a", "b", "c"]
    await work.prepare(*consumers)
    budget, arrived = Budget(1), asyncio.Queue[Delivery]()
    for consumer in consumers:
        await work.fill(consumer, 20)
        work.pull(consumer, budget, arrived.put_nowait)
    order = []
    for _ in range(60):
        delivery = await asyncio.wait_for(arrived.get(), 20)
        assert arrived.empty()
        order.append(delivery.subject.rpartition(".")[2])
        await delivery.ack()
        budget.give_back()
    assert Counter(order) == {"a": 20, "b": 20, "c": 20}
    assert set(order[:9]) == {"a", "b", "c"}
    await work.stop()
    assert budget.free == 1


async def test_idle_pullers_hold_few_places(bus: Bus) -> None:
    work = Work(bus)
    consumers = [f"c{number}" for number in range(10)]
    await work.prepare(*consumers)
    budget, arrived = Budget(100), asyncio.Queue[Delivery]()
    for consumer in consumers:
        work.pull(consumer, budget, arrived.put_nowait)
    await until(lambda: all(puller._share.held > 0 for puller, _ in work.pullers))
    assert budget.free >= 70
    await work.fill("c3", 75)
    for _ in range(75):
        await asyncio.wait_for(arrived.get(), 20)
    await work.stop()


async def test_the_lost_answer_of_a_request_gives_its_places_back(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(bus)
    await work.prepare("a")
    budget, arrived = Budget(1), asyncio.Queue[Delivery]()
    dropped = asyncio.Event()
    real = bus.send

    async def drops_the_first_request(subject: str, body: bytes = b"", **options: object) -> None:
        if "MSG.NEXT" in subject and not dropped.is_set():
            dropped.set()
            return
        await real(subject, body, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(bus, "send", drops_the_first_request)
    work.pull("a", budget, arrived.put_nowait, expires=0.2)
    await asyncio.wait_for(dropped.wait(), 20)
    await work.fill("a", 1)
    await (await asyncio.wait_for(arrived.get(), 10)).ack()
    budget.give_back()
    await work.stop()
    assert budget.free == 1


async def test_stop_gives_back_what_was_not_handed_out(bus: Bus) -> None:
    work = Work(bus)
    await work.prepare("a", ack_wait=600)
    seen: list[int] = []

    async def pull_some(number: int) -> None:
        """Pull until `number` have been seen, then stop in the middle of it."""
        budget, enough = Budget(20), asyncio.Event()
        acks: list[asyncio.Task[None]] = []

        def deliver(delivery: Delivery) -> None:
            seen.append(int(delivery.body))
            acks.append(asyncio.create_task(delivery.ack()))
            budget.give_back()
            if len(seen) >= number:
                enough.set()

        puller = Puller(bus, work.stream, "a", budget, deliver)
        task = asyncio.create_task(puller.run())
        await asyncio.wait_for(enough.wait(), 20)
        await asyncio.wait_for(puller.stop(), 10)
        await task
        await asyncio.gather(*acks)
        assert budget.free == 20

    await work.fill("a", 4000)
    # A delivery that were lost at a stop would come back after ack_wait only: in ten minutes.
    for goal in range(100, 4000, 150):
        await pull_some(goal)
    await pull_some(4000)
    assert sorted(seen) == list(range(4000))


async def test_a_missing_consumer_is_reported_and_found_when_it_comes(bus: Bus) -> None:
    work = Work(bus)
    await work.prepare()
    budget, arrived, missing = Budget(4), asyncio.Queue[Delivery](), asyncio.Event()
    free: list[int] = []

    def report() -> None:
        free.append(budget.free)
        missing.set()

    work.pull("a", budget, arrived.put_nowait, on_missing=report)
    await asyncio.wait_for(missing.wait(), 20)
    assert free == [4]
    await work.consumer("a")
    await work.fill("a", 1)
    assert (await asyncio.wait_for(arrived.get(), 10)).body == b"0"
    missing.clear()
    await bus.api(f"CONSUMER.DELETE.{work.stream}.a")
    await asyncio.wait_for(missing.wait(), 10)
    await work.stop()


async def test_failures_do_not_spin(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(bus)
    await work.prepare()
    asked = 0
    real = bus.send

    async def counts(subject: str, body: bytes = b"", **options: object) -> None:
        nonlocal asked
        asked += 1
        await real(subject, body, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(bus, "send", counts)
    missing = asyncio.Queue[None]()
    work.pull("a", Budget(4), lambda _: None, on_missing=lambda: missing.put_nowait(None))
    for _ in range(4):
        await asyncio.wait_for(missing.get(), 10)
    await work.stop()
    assert asked < 20


async def test_pulling_goes_on_after_the_broker_was_killed(own_broker: BrokerProcess) -> None:
    async with await Bus.connect([own_broker.url], name="pull", names=Names("p")) as bus:
        work = Work(bus)
        await work.prepare("a", ack_wait=1.0)
        await work.fill("a", 2000)
        budget, done = Budget(64), asyncio.Event()
        seen: Counter[int] = Counter()
        tasks: set[asyncio.Task[None]] = set()

        async def handle(delivery: Delivery) -> None:
            try:
                await asyncio.sleep(0.01)
                await delivery.ack()
                seen[int(delivery.body)] += 1
            except BrokerUnavailableError:
                pass  # it will be delivered again
            finally:
                budget.give_back()
            if len(seen) == 2000:
                done.set()

        def deliver(delivery: Delivery) -> None:
            task = asyncio.create_task(handle(delivery))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        work.pull("a", budget, deliver)
        for share in (400, 1200):
            await until(lambda share=share: len(seen) >= share)  # type: ignore[misc]
            own_broker.kill()
            own_broker.start()
        await asyncio.wait_for(done.wait(), 30)
        await work.stop()
        await asyncio.gather(*tasks)
        assert sorted(seen) == list(range(2000))
        assert budget.free == 64
        assert budget.sharers == 0


async def test_a_cancelled_run_leaves_nothing_behind(bus: Bus) -> None:
    work = Work(bus)
    await work.prepare("a")
    budget = Budget(8)
    puller = Puller(bus, work.stream, "a", budget, lambda _: None)
    task = asyncio.create_task(puller.run())
    await until(lambda: budget.free < 8)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert budget.free == 8
    assert budget.sharers == 0
    await puller.stop()
