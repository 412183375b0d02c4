"""Fixtures of the gateway's tests: GitHub's example payloads, from npm."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

OCTOKIT = "@octokit/webhooks-examples@7.6.1"


@pytest.fixture(scope="session")
def octokit_examples(request: pytest.FixtureRequest) -> list[tuple[str, dict[str, Any]]]:
    """All 329 payloads of the package with the names of their events; kept between sessions."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"npm isn't installed, which fetches {OCTOKIT}")
    folder = request.config.cache.mkdir("octokit-7.6.1")
    index = folder / "node_modules/@octokit/webhooks-examples/api.github.com/index.json"
    if not index.exists():
        command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", OCTOKIT]
        subprocess.run(command, check=True, capture_output=True, timeout=100)
    events = json.loads(index.read_text())
    return [(event["name"], example) for event in events for example in event["examples"]]
