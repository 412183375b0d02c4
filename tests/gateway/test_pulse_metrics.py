"""Metrics of the installation: their samples, and that all names and labels are sound and documented."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import Metrics
from gateway.pulse_metrics import PulseCollector, pulse_metrics
from tidemill.kernel.errors import BrokerUnavailableError
from tidemill.kernel.services.pulse import Pulse, Queue, Store

ROOT = Path(__file__).parents[2]
UNITS = ("_seconds", "_bytes", "_total")
PULSE = Pulse(
    at=1000.0,
    queues=(Queue("deploy", 4, 2, 2, 940.0), Queue("mail", 0, 0, None, None)),
    stores=(Store("EVENTS", 7, 700, 1000), Store("DEAD", 1, 10, None)),
    lags={"router": 3, "mailman": 0},
    asleep=5,
    workers=({"id": "a", "slots": 10, "busy": 4}, {"id": "b", "slots": 10, "busy": 0}),
    abandoned=6,
)


class Away:
    async def take(self) -> Pulse:
        raise BrokerUnavailableError("the broker is away")


def text() -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PulseCollector(PULSE))
    return generate_latest(registry).decode() + Metrics().text().decode()


def samples() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text())
        for sample in family.samples
    }


def families() -> list[Any]:
    return list(text_string_to_metric_families(text()))


def test_queues_stores_roles_and_workers_are_samples() -> None:
    found = samples()
    assert found["tidemill_queue_depth", frozenset({("task", "deploy")})] == 4
    assert found["tidemill_queue_executing", frozenset({("task", "deploy")})] == 2
    assert found["tidemill_queue_limit", frozenset({("task", "deploy")})] == 2
    assert found["tidemill_queue_age_seconds", frozenset({("task", "deploy")})] == 60
    assert found["tidemill_queue_age_seconds", frozenset({("task", "mail")})] == 0
    assert ("tidemill_queue_limit", frozenset({("task", "mail")})) not in found
    assert found["tidemill_stream_limit_bytes", frozenset({("stream", "EVENTS")})] == 1000
    assert found["tidemill_role_lag", frozenset({("role", "router")})] == 3
    assert found["tidemill_runs_asleep", frozenset()] == 5
    assert found["tidemill_worker_slots", frozenset()] == 20
    assert found["tidemill_history_abandoned_total", frozenset()] == 6
    assert found["tidemill_worker_slots_busy", frozenset()] == 4


async def test_a_scrape_goes_on_without_the_broker() -> None:
    assert await pulse_metrics(Away()) == b""  # type: ignore[arg-type] # a fake
    metrics = Metrics()
    metrics.watch_installation(Away())  # type: ignore[arg-type] # a fake
    assert b"tidemill_broker_connected 0.0" in await metrics.scrape()


def test_names_follow_prometheus_conventions() -> None:
    """What `promtool check metrics` looks at: help, a prefix, snake case, units in full, counters' suffix."""
    for family in families():
        assert family.documentation, family.name
        assert re.fullmatch(r"tidemill(_[a-z]+)+", family.name), family.name
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_info")), family.name
        assert not re.search(r"_(ms|milliseconds|kb|kib|mb|minutes|hours)(_|$)", family.name), family.name
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith(("_total", "_created")), sample.name
            assert all(re.fullmatch(r"[a-z_]+", label) for label in sample.labels), sample


_ELSEWHERE = ("tidemill_history_", "tidemill_spool_", "tidemill_alert")


def test_every_metric_is_documented_and_nothing_else_is() -> None:
    documented = set(
        re.findall(r"^\| `(tidemill_[a-z_]+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    )
    real = {family.name + ("_total" if family.type == "counter" else "") for family in families()}
    elsewhere = {name for name in documented if name.startswith(_ELSEWHERE)}
    assert real <= documented
    assert documented - real - elsewhere == set()


def test_rules_and_board_ask_for_metrics_that_exist() -> None:
    documented = set(re.findall(r"`(tidemill_[a-z_]+)`", (ROOT / "docs/metrics.md").read_text()))
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    board = (ROOT / "deploy/grafana/tidemill.json").read_text()
    asked = set(re.findall(r"tidemill_[a-z_]+", " ".join(expressions) + board))
    asked = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert asked - documented == set()
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert {"alert", "expr", "for", "labels", "annotations"} <= rule.keys(), rule
            assert {"summary", "description"} <= rule["annotations"].keys(), rule
            assert rule["labels"]["severity"] in {"page", "ticket"}, rule
            assert rule["expr"].count("(") == rule["expr"].count(")"), rule
