"""`tidemill tasks pause|resume|limit`, on the broker and over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Call

pytestmark = pytest.mark.integration
Way = tuple[str, ...]


def test_a_task_is_paused_and_shown_so_everywhere(call: Call, way: Way) -> None:
    paused = call(*way, "tasks", "pause", "mend", "--reason", "it leaks", "--json").json()
    try:
        assert (paused["task"], paused["paused"], paused["reason"]) == ("mend", True, "it leaks")
        run = call(*way, "trigger", "mend", "--payload", '"x"', "--json").json()["run_id"]
        assert "mend is paused since" in call(*way, "runs", "why", run).out
        rows = {row["id"]: row for row in call(*way, "tasks", "list", "--json").json()}
        assert (rows["mend"]["paused"], rows["doomed"]["paused"]) == (True, False)
        assert "mend (paused)" in call(*way, "top", "--once").out
        assert "mend is paused" in call("doctor", "--check", "paused").out
    finally:
        resumed = call(*way, "tasks", "resume", "mend", "--json").json()
    assert (resumed["paused"], resumed["reason"]) == (False, "")
    assert "no task is paused" in call("doctor", "--check", "paused").out
    (last, *_) = call(*way, "audit", "list", "--action", "tasks.resume", "--json").json()
    assert (last["target"], last["outcome"]) == ("mend", "done")


def test_a_task_is_limited_and_given_back(call: Call, way: Way) -> None:
    assert call(*way, "tasks", "limit", "mend", "2", "--json").json()["limit"] == 2
    assert call(*way, "tasks", "limit", "mend", "--reset", "--json").json()["limit"] is None
    for words in (("mend",), ("mend", "2", "--reset"), ("mend", "0"), ("nobody", "2"), ("mend", "x")):
        assert call(*way, "tasks", "limit", *words).code != 0
