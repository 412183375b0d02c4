"""Fixtures of the gateway's tests: GitHub's example payloads, from npm."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

OCTOKIT = "@octokit/webhooks-examples"
FETCH = "npm ci --prefix tests/npm"


@pytest.fixture(scope="session")
def octokit_examples() -> list[tuple[str, dict[str, Any]]]:
    """All 329 payloads of the package with the names of their events.

    They stand under tests/npm/node_modules, or in the folder that TIDEMILL_TEST_NPM names. CI must have them.
    """
    environ = os.environ  # noqa: TID251 - the tests' own switches, nothing of the product's
    modules = Path(environ.get("TIDEMILL_TEST_NPM") or Path(__file__).parents[1] / "npm/node_modules")
    index = modules / OCTOKIT / "api.github.com/index.json"
    if not index.exists():
        reason = f"{index} isn't there: {FETCH} fetches it"
        pytest.fail(reason) if environ.get("CI") else pytest.skip(reason)
    events = json.loads(index.read_text())
    return [(event["name"], example) for event in events for example in event["examples"]]
