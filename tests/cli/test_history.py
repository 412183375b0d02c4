"""`tidemill history` beside a running worker with its engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import PATIENCE, Call, Service

pytestmark = pytest.mark.integration


def _when(call: Call, there: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the status, as soon as it is as it should be."""
    deadline = time.monotonic() + PATIENCE
    while True:
        status: dict[str, Any] = call("history", "status", "--json").json()
        if there(status):
            return status
        assert time.monotonic() < deadline, status
        time.sleep(0.1)


def _has_runs(number: int) -> Callable[[dict[str, Any]], bool]:
    def look(status: dict[str, Any]) -> bool:
        notes = status["histories"]
        return status["database"].get("runs") == number and all(note["lag"] == 0 for note in notes)

    return look


def test_a_history_is_looked_after(call: Call, service: Callable[..., Service], project: Path) -> None:
    worker = service("worker", "tasks.py")
    worker.wait_for(" serves ")
    for number in range(3):
        call("trigger", "doomed", "--payload", str(number))
    (note,) = _when(call, _has_runs(3))["histories"]
    assert note["name"] == "history"
    assert "history.db" in call("history", "status").out
    assert call("history", "backup", "copy.db").code == 0
    again = call("history", "backup", "copy.db")
    assert (again.code, "exists" in again.err) == (1, True)
    refused = call("history", "restore", "copy.db", "--yes")
    assert (refused.code, "being written" in refused.err) == (1, True)
    assert call("history", "rebuild", "--yes").code == 0
    _when(call, _has_runs(3))
    worker.end()
    assert call("history", "rebuild", "--yes").code == 0
    assert call("history", "status", "--json").json()["database"]["runs"] == 0
    assert call("history", "restore", "copy.db", "--yes").code == 0
    assert call("history", "status", "--json").json()["database"]["runs"] == 3
    assert call("history", "forget", "history").code == 0
    assert call("history", "forget", "history").code == 1
    assert (project / ".tidemill" / "history.db").exists()


def test_what_is_not_there_is_said(call: Call, project: Path) -> None:
    missing = call("history", "backup", "copy.db")
    assert (missing.code, "there is no history" in missing.err) == (1, True)
    assert not (project / "copy.db").exists()
    remote = call("--url", "http://127.0.0.1:9", "history", "status")
    assert (remote.code, "not over HTTP" in remote.err) == (2, True)
