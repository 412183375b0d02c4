"""How alerts stand as Prometheus' samples: read from the broker when somebody scrapes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.scrape import scraped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.core import Metric

    from tidemill.kernel.services.alerts import Alerts

_OUTCOMES: Final = ("sent", "failed", "held_back")


async def alert_metrics(alerts: Alerts) -> bytes:
    """Return the samples, none while the broker doesn't answer."""
    return await scraped("alerts", alerts.show, AlertCollector)


class AlertCollector(Collector):
    """The samples. Labels are bounded by the rules and channels of the settings."""

    def __init__(self, shown: Mapping[str, Any]) -> None:
        self._shown = shown

    def collect(self) -> Iterator[Metric]:
        """Yield the samples."""
        evaluated = float(self._shown["evaluated"])
        yield GaugeMetricFamily("tidemill_alerts_evaluated", "1 while an engine evaluates", value=evaluated)
        numbers = Counter(one["rule"] for one in self._shown["alerts"] if one["status"] == "firing")
        firing = GaugeMetricFamily("tidemill_alerts_firing", "Alerts that fire", labels=("rule",))
        for rule in self._shown["rules"]:
            firing.add_metric((rule["name"],), numbers[rule["name"]])
        yield firing
        messages = CounterMetricFamily(
            "tidemill_alert_messages", "Messages by what became of them", labels=("channel", "outcome")
        )
        waiting = GaugeMetricFamily(
            "tidemill_alert_messages_waiting", "Messages that a channel has yet to take", labels=("channel",)
        )
        for channel in self._shown["channels"]:
            waiting.add_metric((channel["name"],), channel["waiting"])
            for outcome in _OUTCOMES:
                messages.add_metric((channel["name"], outcome), channel[outcome])
        yield messages
        yield waiting
