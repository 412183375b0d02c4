"""A worker process: publishes its tasks' definitions, pulls their tickets, and executes them."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

import orjson

from consumers.desk import Desk
from consumers.execution import Tools
from consumers.journal_port import Surroundings
from consumers.lease import LeaseKeeper
from consumers.loader import AnyTask
from consumers.memory import resident_bytes
from consumers.processes import HandlerProcesses
from consumers.run_logs import RunLogs
from consumers.shared import Shared, interrupt, look_at_journal
from consumers.threads import HandlerThreads
from consumers.watchdog import Watchdog
from tidemill.client import Client, use
from tidemill.durable.branch import follow_tasks
from tidemill.injection import WorkerScope, serving
from tidemill.kernel.errors import BrokerError, SettingsError
from tidemill.kernel.jetstream.bus import Bus, Message
from tidemill.kernel.jetstream.pull import Budget, Puller
from tidemill.kernel.jetstream.reconcile import SECOND
from tidemill.kernel.jetstream.task_consumers import ensure_task_consumer, has_task_consumer, pause_consumer
from tidemill.kernel.protocol.conclusions import Interrupted
from tidemill.kernel.protocol.hooks import hooks_task
from tidemill.kernel.services import registry
from tidemill.kernel.services.broker import Broker
from tidemill.kernel.services.overrides import Override, Overrides, enforce
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.settings.run_logs import RunLogsSettings
from tidemill.kernel.settings.sections import WorkerSettings
from tidemill.nats_transport import NatsTransport

MAX_CRASHES: Final = 3
"""Owners of a run that may die without progress before it counts as crashed."""
RELEASE_SECONDS: Final = 10.0
"""How long handlers may take to stop once they were interrupted."""
LAST_SECONDS: Final = 2.0
"""How long they may take once their tasks were cancelled, and the broker to take what is said last."""
PRESENCE_SECONDS: Final = 10.0
MEMORY_SECONDS: Final = 1.0
"""How often the memory is looked at."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this worker is; `id` is one subject token."""

    id: str
    host: str
    pid: int

    @classmethod
    def fresh(cls) -> Identity:
        """Return an identity that no other process has."""
        pid = os.getpid()
        return cls(f"w{pid}-{secrets.token_hex(4)}", socket.gethostname(), pid)


class Worker:
    """Executes the runs of its tasks, at most `slots` at a time.

    With `republish` its definitions are put in force also where newer versions of them are.
    """

    def __init__(
        self,
        broker: Broker,
        tasks: Sequence[AnyTask],
        settings: WorkerSettings,
        *,
        republish: bool = False,
        run_logs: RunLogsSettings | None = None,
    ) -> None:
        self.identity = Identity.fresh()
        self.started_at = time.time()
        self._broker = broker
        self._tasks = tasks
        self._settings = settings
        self._republish = republish
        self._threads = HandlerThreads(settings.threads)
        self._processes = HandlerProcesses(settings.cpu_processes)
        self._logs = RunLogs(broker.bus, run_logs or RunLogsSettings())
        self.outgrown = False
        self._leases = LeaseKeeper(self._connect_leases, lease=settings.lease)
        self._watchdog = Watchdog(asyncio.get_running_loop())
        self.left_behind: tuple[str, ...] = ()
        self._shared = Shared(
            broker,
            self.identity.id,
            self._leases,
            Budget(settings.slots),
            Tools(self._threads, broker.performer, self._surroundings(), self._processes, self._logs),
            MAX_CRASHES,
            self._watchdog.arrival,
        )
        self._pullers: list[Puller] = []

    def _surroundings(self) -> Surroundings:
        broker = self._broker
        return Surroundings(
            broker.performer,
            Definitions(broker.tasks),
            broker.waiting,
            lambda call: asyncio.wrap_future(self._threads.submit(call)),
            broker.links,
            self._settings.linger,
            broker.replies,
            broker.traces,
        )

    @property
    def task_ids(self) -> tuple[str, ...]:
        """The ids of the tasks that it serves."""
        return tuple(task.id for task in self._tasks)

    async def run(self, stopping: asyncio.Event, ready: asyncio.Event | None = None) -> None:
        """Work until `stopping` is set, then finish or give back what is in work.

        `outgrown` says that it has stopped by itself, because of its memory;
        `left_behind` names the async handlers that didn't end even when their tasks were cancelled.
        """
        async with self._logs.storing():
            await self._run(stopping, ready)

    async def _run(self, stopping: asyncio.Event, ready: asyncio.Event | None) -> None:
        await self.prepare()
        hints = await self._broker.bus.subscribe(
            self._broker.names.subject("hints", self.identity.id), self._hinted
        )
        self._leases.start()
        self._watchdog.start()
        follow_tasks(asyncio.get_running_loop())
        with use(_client(self._broker)):
            scope = WorkerScope(lambda call: asyncio.wrap_future(self._threads.submit(call)))
        try:
            async with asyncio.TaskGroup() as group:
                # Handlers inherit these from who hands them their tickets.
                with use(_client(self._broker)), serving(scope):
                    for puller in self._pullers:
                        group.create_task(puller.run(), name="pull tickets")
                group.create_task(self._announce(stopping), name="announce the worker")
                group.create_task(self._watch_leases(stopping), name="watch the leases")
                if self._settings.max_memory is not None:
                    watching = self._watch_memory(self._settings.max_memory, stopping)
                    group.create_task(watching, name="watch the memory")
                if ready is not None:
                    ready.set()
                await stopping.wait()
                await self._shut_down()
        finally:
            await hints.stop()
            await self._cancel_work()
            await scope.close()
            self._processes.close()
            self._watchdog.stop()
            await asyncio.to_thread(self._leases.stop)
            self._threads.shutdown(wait=False, cancel_futures=True)

    def give_back(self, runs: Collection[str]) -> None:
        """Stop the handlers of some runs; these go back unharmed, for another worker or for later."""
        for held in tuple(self._shared.executions.values()):
            if held.run in runs and held.execution is not None:
                held.execution.stop(Interrupted())

    async def prepare(self) -> None:
        """Publish the definitions and make sure that every task has its consumer."""
        for task in self._tasks:
            in_force = await registry.publish(self._broker.tasks, task.definition, force=self._republish)
            if in_force.fingerprint != task.definition.fingerprint:
                _log.warning("%s: a newer version of the task is in force; this one only executes", task.id)
            await self._serve_as_decided(task, in_force.concurrency)

    async def _serve_as_decided(self, task: AnyTask, limit: int | None) -> None:
        overrides = Overrides(self._broker)
        override = await overrides.of(task.id)
        await self._serve(task, limit, override)
        await self._serve_hooks(task, replace(override, limit=None))
        # Who decides looks for consumers afterwards: one of both sees what the other has done.
        if (later := await overrides.of(task.id)) != override:
            await enforce(self._broker, _names(task), later, limit=limit)

    async def _serve(self, task: AnyTask, limit: int | None, override: Override) -> None:
        desk = Desk(task, self._shared)
        for name in _names(task):
            await self._ensure_consumer(name, limit, override)
            self._pullers.append(self._puller(name, task, desk))

    async def _serve_hooks(self, task: AnyTask, override: Override) -> None:
        """Execute a task's hooks; also where it has none any more, but an earlier version had some."""
        if task.definition.hooks or await has_task_consumer(self._broker.bus, hooks_task(task.id)):
            await self._serve(task.hooks_task(), None, override)

    async def _ensure_consumer(self, name: str, limit: int | None, override: Override) -> None:
        """Make sure that a task's consumer is there; what an operator has decided stands above the code."""
        bus, lease, paused = self._broker.bus, self._settings.lease, override.paused
        wanted = override.limit or limit
        change = await ensure_task_consumer(bus, name, limit=wanted, ack_wait=lease, paused=paused)
        if paused:
            await pause_consumer(bus, name, paused=True)
            _log.warning("%s is paused %s: nothing of it is executed", name, override.told())
        if change is not None:
            _log.info("%s", change)
        # A consumer keeps the lease that it was created with, which may be shorter than the settings' now.
        stream, consumer = self._broker.names.stream("TICKETS"), self._broker.names.consumer_of(name)
        config = (await bus.api(f"CONSUMER.INFO.{stream}.{consumer}"))["config"]
        self._leases.lease = min(self._leases.lease, config["ack_wait"] / SECOND)

    def _puller(self, name: str, task: AnyTask, desk: Desk) -> Puller:
        names = self._broker.names
        return Puller(
            self._broker.bus,
            names.stream("TICKETS"),
            names.consumer_of(name),
            self._shared.budget,
            desk.accept,
            on_missing=lambda: self._restore(name, task),
        )

    def _restore(self, name: str, task: AnyTask) -> None:
        """Create a task's consumer again that somebody has deleted."""
        self._shared.spawn(self._restore_consumer(name, task), f"restore the consumer of {name}")

    async def _restore_consumer(self, name: str, task: AnyTask) -> None:
        try:
            limit = None
            if task in self._tasks:
                limit = (await registry.publish(self._broker.tasks, task.definition)).concurrency
            await self._ensure_consumer(name, limit, await Overrides(self._broker).of(task.id))
        except BrokerError as error:
            _log.warning("the consumer of %s wasn't restored: %s", name, error.sentence)

    async def _shut_down(self) -> None:
        """Stop pulling, let handlers finish in time, interrupt the rest; leases live on meanwhile."""
        await asyncio.gather(*(puller.stop() for puller in self._pullers))
        if self._shared.work:
            _log.info("%d runs are being finished", len(self._shared.work))
            await asyncio.wait(self._shared.work, timeout=self._settings.shutdown_timeout)
        if self._shared.work:
            _log.warning("%d runs are interrupted and given back", len(self._shared.executions))
            interrupt(self._shared)
            await self._handlers_over()
            # What is left tells the broker what became of its runs; one that doesn't answer isn't waited for.
            if self._shared.work:
                await asyncio.wait(self._shared.work, timeout=LAST_SECONDS)

    async def _handlers_over(self) -> None:
        """Wait until no handler executes any more, for as long as they may take to stop."""
        executions = [held.execution for held in self._shared.executions.values() if held.execution]
        over = [asyncio.create_task(one.lingering(), name=f"the end of {one.name}") for one in executions]
        if over:
            _, going_on = await asyncio.wait(over, timeout=RELEASE_SECONDS)
            for one in going_on:
                one.cancel()

    async def _cancel_work(self) -> None:
        """End what is still in work, without a word to the broker: the leases run out."""
        executions = [held.execution for held in self._shared.executions.values() if held.execution]
        work = tuple(self._shared.work)
        for task in work:
            _log.error("%s didn't stop: its lease runs out", task.get_name())
            task.cancel()
        if work:
            await asyncio.wait(work, timeout=LAST_SECONDS)
        ended = await asyncio.gather(*(execution.ends_within(LAST_SECONDS) for execution in executions))
        self.left_behind = tuple(e.name for e, over in zip(executions, ended, strict=True) if not over)

    async def _announce(self, stopping: asyncio.Event) -> None:
        """Keep this worker's entry in the WORKERS bucket alive; it expires by itself afterwards."""
        while not stopping.is_set():
            try:
                await self._broker.workers.put(self.identity.id, self._presence())
            except BrokerError as error:
                _log.debug("the worker wasn't announced: %s", error.sentence)
            try:
                await asyncio.wait_for(stopping.wait(), PRESENCE_SECONDS)
            except TimeoutError:
                continue
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._broker.workers.delete(self.identity.id)
        except (BrokerError, TimeoutError) as error:
            _log.debug("the worker's entry is left to expire: %s", error)

    def _presence(self) -> bytes:
        return orjson.dumps(
            {
                "id": self.identity.id,
                "host": self.identity.host,
                "pid": self.identity.pid,
                "started_at": self.started_at,
                "seen_at": time.time(),
                "slots": self._settings.slots,
                "busy": len(self._shared.executions),
                "runs": sorted(held.run for held in tuple(self._shared.executions.values()))[:100],
                "tasks": self.task_ids,
            }
        )

    async def _watch_leases(self, stopping: asyncio.Event) -> None:
        """A worker without its lease thread would lose long runs: then it must not go on (P4)."""
        while not stopping.is_set():
            try:
                await asyncio.wait_for(stopping.wait(), 1.0)
            except TimeoutError:
                if not self._leases.alive:
                    raise RuntimeError("the lease thread has died") from self._leases.failure

    async def _watch_memory(self, limit: int, stopping: asyncio.Event) -> None:
        """Stop in order when the process holds too much memory: whoever has started it replaces it.

        Raises:
            SettingsError: it holds too much from the start.
        """
        if resident_bytes() > limit:
            raise SettingsError(
                f"worker.max_memory is {limit >> 20} MiB, and a worker that has executed nothing holds "
                f"{resident_bytes() >> 20} MiB",
                hint="allow it several times that, or leave the setting out",
            )
        while not stopping.is_set():
            try:
                await asyncio.wait_for(stopping.wait(), MEMORY_SECONDS)
            except TimeoutError:
                if (resident := resident_bytes()) > limit:
                    _log.warning("%d MiB of memory are too much: the worker is replaced", resident >> 20)
                    self.outgrown = True
                    stopping.set()

    def _hinted(self, message: Message) -> None:
        self._shared.spawn(look_at_journal(self._shared, message.body.decode()), "look at a journal")

    async def _connect_leases(self) -> Bus:
        return await self._broker.access.connect(f"{self.identity.id}-leases", connect_timeout=30.0)


def _names(task: AnyTask) -> tuple[str, ...]:
    return (task.id, *task.definition.aliases)


def _client(broker: Broker) -> Client:
    """Return the client of handlers: triggers go straight to the broker, from threads too."""
    return Client(NatsTransport(Runs(broker)), loop=asyncio.get_running_loop())
