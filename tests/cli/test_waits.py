"""Signals, tokens and `runs why` on a running mill, straight to its broker and over its control API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.patience import until_seen

if TYPE_CHECKING:
    from conftest import Call, Mill

pytestmark = pytest.mark.integration
Way = tuple[str, ...]


def waits_for(call: Call, way: Way, run: str, word: str) -> str:
    """Wait until a run says that it waits for something."""

    def look() -> str | None:
        said = call(*way, "runs", "why", run).out
        return said if word in said else None

    said: str = until_seen(look)
    return said


def test_a_run_is_moved_by_a_signal_an_approval_and_a_token(call: Call, way: Way) -> None:
    run = call(*way, "trigger", "ship", "--json").json()["run_id"]
    assert f"`tidemill runs signal {run} word`" in waits_for(call, way, run, "It waits for signal 'word'")
    sent = call(*way, "runs", "signal", run, "word", "--data", '"hello"', "--key", "k", "--json").json()
    assert (sent["run_id"], sent["answer"]) == (run, "done")
    assert call(*way, "runs", "signal", run, "word", "--data", '"hello"', "--key", "k").code == 0

    assert "0 of 1 yes" in waits_for(call, way, run, "approval 'go'")
    token = f"{run}.go"
    (listed,) = call(*way, "tokens", "list", "--run", run, "--json").json()
    assert (listed["id"], listed["approvers"]) == (token, ["ann"])
    refused = call(*way, "tokens", "approve", token, "--by", "eve")
    assert (refused.code, "eve isn't asked" in refused.err) == (1, True)
    said = call(*way, "tokens", "approve", token, "--by", "ann", "--comment", "fine", "--json").json()
    assert said["status"] == "approved"
    again = call(*way, "tokens", "reject", token, "--by", "ann")
    assert (again.code, "was approved by ann" in again.err) == (1, True)
    assert "fine" in call(*way, "tokens", "show", token).out

    waits_for(call, way, run, "token 'address'")
    wrong = call(*way, "tokens", "complete", f"{run}.address", "--data", "7")
    assert (wrong.code, "data: 7 is not of type" in wrong.err) == (1, True)
    assert call(*way, "tokens", "complete", f"{run}.address", "--data", '"Main St"').code == 0
    until_seen(lambda: call(*way, "runs", "show", run, "--json").json()["status"] == "completed")

    row = call(*way, "runs", "show", run, "--json").json()
    assert row["result"] == {"word": "hello", "by": "ann", "approved": True, "address": "Main St"}
    assert row["why"] == "It has ended and is completed."
    shown = call(*way, "runs", "show", run).out
    assert "signal signal:word until" in shown
    assert "token:go yes from ann" in shown
    assert [f"\n{entry['seq']} " in shown for entry in row["timeline"]] == [True] * len(row["timeline"])
    late = call(*way, "runs", "signal", run, "word")
    assert (late.code, "has ended and is completed" in late.err) == (1, True)


def test_what_isnt_there_is_named(call: Call, way: Way) -> None:
    for words in (
        ("runs", "signal", "run_x", "go"),
        ("tokens", "show", "nonsense"),
        ("runs", "why", "run_x"),
    ):
        result = call(*way, *words)
        assert (result.code, "there is no" in result.err) == (1, True)
    assert call(*way, "runs", "signal", "run_x", "go", "--data", "{").code == 1


def test_a_run_that_failed_says_why(call: Call, way: Way) -> None:
    run = call(*way, "trigger", "doomed", "--payload", "7", "--json").json()["run_id"]
    waits_for(call, way, run, "It has ended and is failed")
    assert "no 7" in call(*way, "runs", "why", run).out
    assert call(*way, "runs", "why", run, "--json").json()["status"] == "failed"


def test_new_code_is_checked_against_unfinished_runs(call: Call, mill: Mill) -> None:
    run = call("trigger", "ship", "--json").json()["run_id"]
    waits_for(call, (), run, "signal 'word'")
    call("runs", "signal", run, "word", "--data", '"hello"')
    waits_for(call, (), run, "approval 'go'")
    fits = [row for row in call("runs", "check", "tasks.py", "--json").json() if row["run"] == run]
    assert [row["verdict"] for row in fits] == ["fits"]
    new = (mill.folder / "tasks.py").read_text().replace('wait_for_signal("word"', 'wait_for_signal("words"')
    (mill.folder / "new_tasks.py").write_text(new)
    broken = call("runs", "check", "new_tasks.py")
    assert broken.code == 1
    assert run in broken.out
    assert "would break" in broken.out
    over_http = call("--url", mill.control, "runs", "check", "tasks.py")
    assert (over_http.code, "control API doesn't give out" in over_http.err) == (2, True)
    assert call("runs", "cancel", run).code == 0
