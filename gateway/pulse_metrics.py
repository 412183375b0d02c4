"""The installation's state as Prometheus' samples: read from the broker when somebody scrapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.scrape import scraped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from tidemill.kernel.services.pulse import Pulse, Pulses


async def pulse_metrics(pulses: Pulses) -> bytes:
    """Return the samples, none while the broker doesn't answer."""
    return await scraped("queues and streams", pulses.take, PulseCollector)


class PulseCollector(Collector):
    """One pulse's samples. Labels are bounded by the tasks and streams that there are."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse

    def collect(self) -> Iterator[Metric]:
        """Yield the samples."""
        yield from self._queues()
        yield from self._stores()
        yield from self._workers()
        yield from self._schedules()
        lag = GaugeMetricFamily("tidemill_role_lag", "Messages a role has yet to handle", labels=("role",))
        for role, messages in self._pulse.lags.items():
            lag.add_metric((role,), messages)
        yield lag
        unseen = "Journals that were closed though no history had seen them"
        yield CounterMetricFamily("tidemill_history_abandoned", unseen, value=self._pulse.abandoned)
        yield GaugeMetricFamily("tidemill_runs_asleep", "Runs that wait for a time", value=self._pulse.asleep)

    def _queues(self) -> Iterator[Metric]:
        depth = _by_task("tidemill_queue_depth", "Runs that no worker has taken yet")
        executing = _by_task("tidemill_queue_executing", "Runs that workers have taken")
        limit = _by_task("tidemill_queue_limit", "Runs that may be taken at once")
        age = _by_task("tidemill_queue_age_seconds", "For how long the oldest waiting run has waited")
        paused = _by_task("tidemill_queue_paused", "1 while an operator has paused the task")
        for queue in self._pulse.queues:
            paused.add_metric((queue.task,), int(queue.paused))
            depth.add_metric((queue.task,), queue.waiting)
            executing.add_metric((queue.task,), queue.executing)
            age.add_metric((queue.task,), max(0.0, self._pulse.at - queue.since) if queue.since else 0.0)
            if queue.limit is not None:
                limit.add_metric((queue.task,), queue.limit)
        yield from (depth, executing, limit, age, paused)

    def _stores(self) -> Iterator[Metric]:
        messages = _by_stream("tidemill_stream_messages", "Messages in a stream")
        size = _by_stream("tidemill_stream_bytes", "Bytes in a stream")
        limit = _by_stream("tidemill_stream_limit_bytes", "Bytes that a stream may hold")
        for store in self._pulse.stores:
            messages.add_metric((store.name,), store.messages)
            size.add_metric((store.name,), store.bytes)
            if store.limit is not None:
                limit.add_metric((store.name,), store.limit)
        yield from (messages, size, limit)

    def _workers(self) -> Iterator[Metric]:
        workers = self._pulse.workers
        yield GaugeMetricFamily("tidemill_workers", "Worker processes that are alive", value=len(workers))
        slots = sum(int(worker["slots"]) for worker in workers)
        yield GaugeMetricFamily("tidemill_worker_slots", "Runs that they can execute at once", value=slots)
        busy = sum(int(worker["busy"]) for worker in workers)
        yield GaugeMetricFamily("tidemill_worker_slots_busy", "Runs that they execute", value=busy)

    def _schedules(self) -> Iterator[Metric]:
        told = self._pulse.schedules
        known = GaugeMetricFamily("tidemill_schedules", "Schedules", labels=("state",))
        known.add_metric(("active",), told.active)
        known.add_metric(("paused",), told.paused)
        ticks = CounterMetricFamily("tidemill_schedule_ticks", "Ticks of schedules", labels=("outcome",))
        for outcome in ("started", "missed", "skipped"):
            ticks.add_metric((outcome,), getattr(told, outcome))
        yield from (known, ticks)
        late, overdue = (
            "How late the latest starts were, at most",
            "For how long a due tick has waited, at most",
        )
        yield GaugeMetricFamily("tidemill_schedule_late_seconds", late, value=told.late)
        yield GaugeMetricFamily("tidemill_schedule_overdue_seconds", overdue, value=told.overdue)


def _by_task(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=("task",))


def _by_stream(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=("stream",))
