"""Metrics of a gateway process, in Prometheus' text format; docs/metrics.md describes each.

The hot path counts in plain dictionaries, which one event loop owns; they become samples when somebody
scrapes. Labels are bounded: sources are the configured ones (`unknown` for all others), verdicts, checks
and routes are words of the product.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.alert_metrics import alert_metrics
from gateway.pulse_metrics import pulse_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gateway.keys.store import KeyStore
    from tidemill.kernel.services.alerts import Alerts
    from tidemill.kernel.services.pulse import Pulses

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
UNKNOWN: Final = "unknown"
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Labels = tuple[str, ...]


class Histogram:
    """Counts of durations by upper bound, in seconds."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Return the buckets as Prometheus wants them: each counts all that are below its bound."""
        bounds = [*map(str, BUCKETS), "+Inf"]
        running, buckets = 0, []
        for bound, count in zip(bounds, self.counts, strict=True):
            running += count
            buckets.append((bound, float(running)))
        return buckets


class Metrics(Collector):
    """All that a gateway process counts.

    Attributes:
        spool: says what the spool holds, where there is one.
    """

    def __init__(self) -> None:
        self.requests: dict[Labels, int] = defaultdict(int)
        self.received_bytes: dict[Labels, int] = defaultdict(int)
        self.refused: dict[Labels, int] = defaultdict(int)
        self.secrets: dict[Labels, int] = defaultdict(int)
        self.publish_failures: dict[Labels, int] = defaultdict(int)
        self.replies: dict[Labels, int] = defaultdict(int)
        self.records_dropped: dict[Labels, int] = defaultdict(int)
        self.control_requests: dict[Labels, int] = defaultdict(int)
        self.unreadable: dict[Labels, int] = defaultdict(int)
        self.durations: dict[Labels, Histogram] = defaultdict(Histogram)
        self._validated: Mapping[Labels, int] = {}
        self._looked: Mapping[Labels, int] = {}
        self._drifting: Mapping[Labels, int] = {}
        self._key_fetches: Mapping[Labels, int] = {}
        self.spool: Callable[[], Mapping[str, Any]] | None = None
        self._connected: Callable[[], bool] = lambda: False
        self._pulses: Pulses | None = None
        self._alerts: Alerts | None = None
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def watch_broker(self, connected: Callable[[], bool]) -> None:
        """Say how to find out whether the broker is connected."""
        self._connected = connected

    def watch_installation(self, pulses: Pulses, alerts: Alerts | None = None) -> None:
        """Say how to find out how the installation is, and how its alerts stand."""
        self._pulses, self._alerts = pulses, alerts

    def watch_schemas(
        self,
        validated: Mapping[Labels, int],
        looked: Mapping[Labels, int],
        drifting: Mapping[Labels, int],
    ) -> None:
        """Say where validated events and drift are counted."""
        self._validated, self._looked, self._drifting = validated, looked, drifting

    def watch_keys(self, keys: KeyStore) -> KeyStore:
        """Say who counts fetches of published keys; return it."""
        self._key_fetches = keys.outcomes
        return keys

    def request(self, source: str, verdict: str, size: int, seconds: float) -> None:
        """Count one webhook request that was answered."""
        self.requests[source, verdict] += 1
        self.received_bytes[source,] += size
        self.durations[source,].observe(seconds)

    async def scrape(self) -> bytes:
        """Return the metrics of this process, and those of the installation as the broker knows it."""
        pulse = await pulse_metrics(self._pulses) if self._pulses is not None else b""
        alerts = await alert_metrics(self._alerts) if self._alerts is not None else b""
        return self.text() + pulse + alerts

    def text(self) -> bytes:
        """Return the metrics of this process in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the present samples."""
        yield _counter("tidemill_webhook_requests", "Webhook requests", ("source", "verdict"), self.requests)
        yield _counter("tidemill_webhook_bytes", "Bytes of webhook bodies", ("source",), self.received_bytes)
        yield _counter("tidemill_webhook_refused", "Refused by check", ("source", "check"), self.refused)
        yield _counter(
            "tidemill_webhook_secret", "Genuine requests by secret", ("source", "secret"), self.secrets
        )
        yield self._duration()
        yield _counter(
            "tidemill_publish_failures",
            "Events the broker didn't take",
            ("reason",),
            self.publish_failures,
        )
        yield _counter(
            "tidemill_records_dropped",
            "Records not kept: sampled or the broker was away",
            ("kind",),
            self.records_dropped,
        )
        yield _counter(
            "tidemill_webhook_replies",
            "Senders that waited for a run's answer",
            ("source", "outcome"),
            self.replies,
        )
        yield _counter(
            "tidemill_http_unreadable",
            "Connections ended below HTTP's rules",
            ("listener", "reason"),
            self.unreadable,
        )
        yield _counter(
            "tidemill_control_requests",
            "Control API requests",
            ("method", "route", "status"),
            self.control_requests,
        )
        yield _counter(
            "tidemill_events_validated",
            "Data held against schemas",
            ("source", "outcome"),
            self._validated,
        )
        yield _counter(
            "tidemill_drift_looked", "Events looked at for drift", ("source", "type"), self._looked
        )
        yield _counter(
            "tidemill_drift",
            "Of them events that differ from what was known",
            ("source", "type", "kind"),
            self._drifting,
        )
        yield _counter(
            "tidemill_key_fetches", "Fetches of published keys", ("host", "outcome"), self._key_fetches
        )
        yield from self._states()

    def _states(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "tidemill_broker_connected", "1 while the broker is connected", value=float(self._connected())
        )
        if self.spool is not None:
            yield from _of_spool(self.spool())

    def _duration(self) -> Metric:
        family = HistogramMetricFamily(
            "tidemill_webhook_duration_seconds",
            "From a request's head to its answer",
            labels=("source",),
        )
        for labels, histogram in self.durations.items():
            family.add_metric(labels, histogram.cumulative(), histogram.total)
        return family


def _of_spool(facts: Mapping[str, Any]) -> Iterator[Metric]:
    for name, text in _SPOOL_GAUGES.items():
        yield GaugeMetricFamily(f"tidemill_spool_{name}", text, value=float(facts[name]))
    for name, text in _SPOOL_COUNTERS.items():
        yield CounterMetricFamily(f"tidemill_spool_{name}", text, value=float(facts[name]))


_SPOOL_GAUGES: Final = {
    "records": "Deliveries that the spool holds",
    "bytes": "Bytes of the spool on the disk",
    "limit": "Bytes that it may have",
    "oldest_seconds": "Age of its oldest delivery",
}
_SPOOL_COUNTERS: Final = {
    "taken": "Deliveries that the spool took",
    "drained": "Deliveries of the spool that the broker has",
    "set_aside": "Deliveries of the spool that can't be drained",
}


def _counter(name: str, text: str, labels: Labels, values: Mapping[Labels, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
