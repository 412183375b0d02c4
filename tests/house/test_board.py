"""The Grafana board and the alert rules: every documented metric is shown, nothing else is asked for."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT = Path(__file__).parents[2]
NOT_SHOWN: Final[dict[str, str]] = {}
"""Documented metrics that have no place on the board, each with the reason."""
BUCKET: Final = {"le"}
SCRAPED: Final = {"instance", "job"}
PANELS: Final[list[dict[str, Any]]] = json.loads((ROOT / "deploy/grafana/tidemill.json").read_text())[
    "panels"
]
RULES: Final[list[dict[str, Any]]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]


def documented() -> dict[str, set[str]]:
    """Return the labels of every documented metric."""
    found: dict[str, set[str]] = {}
    for row in re.findall(r"^\| (`tidemill_.*)$", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE):
        names, _, labels, *_ = row.split(" | ")
        for name in re.findall(r"`(tidemill_[a-z_]+)`", names):
            found[name] = set(re.findall(r"`([a-z]+)`", labels))
    return found


METRICS: Final = documented()


def asked(expression: str) -> set[str]:
    """Return the metrics that an expression asks for."""
    return {
        re.sub(r"_(bucket|sum|count)$", "", name) if name not in METRICS else name
        for name in re.findall(r"tidemill_[a-z_]+", expression)
    }


def labels(expression: str) -> set[str]:
    """Return the labels that an expression selects or groups by."""
    grouped = {
        one for group in re.findall(r"\bby \(([^)]*)\)", expression) for one in re.split(r",\s*", group)
    }
    return grouped | set(re.findall(r"[{,]\s*([a-z_]+)\s*(?:=|!=|=~)", expression))


def shown(expression: str) -> set[str]:
    return set().union(*(METRICS[name] for name in asked(expression)))


def test_every_metric_stands_on_the_board_or_says_why_not() -> None:
    on_board = set().union(*(asked(target["expr"]) for panel in PANELS for target in panel["targets"]))
    assert len(METRICS) > 40
    assert set(METRICS) - on_board == set(NOT_SHOWN), "a metric without a panel, or without need of a reason"
    assert on_board <= set(METRICS)
    assert all(NOT_SHOWN.values())


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_groups_and_names_by_labels_that_there_are(panel: dict[str, Any]) -> None:
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in panel["targets"]:
        expression = target["expr"]
        assert labels(expression) <= shown(expression) | BUCKET, expression
        named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert named <= labels(expression), "the legend names what the query doesn't group by"
        assert expression.count("(") == expression.count(")")
        counters = [name for name in asked(expression) if name.endswith("_total")]
        assert panel["type"] == "stat" or not counters or re.search(r"\b(rate|increase)\(", expression)


def test_panels_have_places_and_names_of_their_own() -> None:
    assert sorted(panel["id"] for panel in PANELS) == list(range(1, len(PANELS) + 1))
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_labels_that_there_are(rule: dict[str, Any]) -> None:
    expression = rule["expr"]
    assert asked(expression) <= set(METRICS)
    assert labels(expression) <= shown(expression)
    told = " ".join(rule["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", told)) <= shown(expression) | SCRAPED


def test_rules_have_names_of_their_own() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
