"""`tidemill runs cancel|retry|replay --where`, on the broker and over HTTP."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import PATIENCE

if TYPE_CHECKING:
    from tests.cli.conftest import Call

pytestmark = pytest.mark.integration
Way = tuple[str, ...]


def delayed(call: Call, way: Way, tag: str, number: int) -> list[str]:
    """Start runs that wait for an hour, and let the history have them."""
    words = ("trigger", "mend", "--payload", '"x"', "--delay", "1h", "--tag", tag, "--json")
    runs = [call(*way, *words).json()["run_id"] for _ in range(number)]
    deadline = time.monotonic() + PATIENCE
    while looked(call, way, tag)["total"] != number:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return runs


def looked(call: Call, way: Way, tag: str) -> Any:
    return call(*way, "runs", "cancel", "--where", f"tag={tag}", "--dry-run", "--json").json()


def test_all_that_fit_are_cancelled_and_counted(call: Call, way: Way) -> None:
    tag = uuid.uuid4().hex
    runs = delayed(call, way, tag, 3)
    first = looked(call, way, tag)
    assert sorted(row["id"] for row in first["first"]) == sorted(runs)
    assert first["state"] == "selected"
    shown = call(*way, "runs", "cancel", "--where", f"tag={tag}", "--dry-run")
    assert (shown.code, f"3 runs fit tag={tag}" in shown.out) == (0, True)
    where = ("--where", f"tag={tag}", "--where", "status=delayed", "--where", "status=queued")
    done = call(*way, "runs", "cancel", *where, "--reason", "why", "--yes", "--json")
    assert (done.code, done.json()["done"], done.json()["state"]) == (0, 3, "done")
    assert call(*way, "runs", "show", runs[0], "--json").json()["reason"] == "why"
    (entry,) = call(*way, "audit", "list", "--target", done.json()["token"], "--json").json()
    assert (entry["detail"]["runs"], entry["outcome"]) == ("3", "done")
    again = call(*way, "runs", "go-on", done.json()["token"], "--json")
    assert (again.code, again.json()["done"]) == (0, 3)
    unknown = call(*way, "runs", "go-on", "0" * 20)
    assert (unknown.code, "no selection" in unknown.err) == (1, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("cancel",), "name them by their ids"),
        (("cancel", "run_" + "0" * 26, "--where", "task=mend"), "name them by their ids"),
        (("cancel", "run_" + "0" * 26, "--dry-run"), "--where"),
        (("cancel", "--where", "task", "--yes"), "NAME=VALUE"),
        (("cancel", "--where", "tsak=mend", "--yes"), "tsak"),
        (("retry", "--where", "status=queued", "--yes"), "queued"),
        (("replay", "--where", "task=mend", "--payload", "1", "--yes"), "--payload"),
    ],
)
def test_what_cant_be_selected_is_told(call: Call, way: Way, words: tuple[str, ...], told: str) -> None:
    answer = call(*way, "runs", *words)
    assert (answer.code != 0, told in answer.err) == (True, True)
