"""Events as they come: on a running mill, in a process of its own, until Ctrl-C or nobody reads any more."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import PATIENCE, Service
from tidemill.cli.events_tail import Tail
from tidemill.kernel.errors import BrokerUnavailableError

if TYPE_CHECKING:
    from conftest import Call, Mill


@pytest.mark.integration
def test_they_are_shown_until_ctrl_c(call: Call, mill: Mill, way: tuple[str, ...]) -> None:
    def send(kind: str) -> str:
        event: str = call("send", "github", kind, "--to", mill.public, "--json").json()["answer"]["id"]
        return event

    before = send("push")
    shown = Service((*way, "events", "tail", "--type", "github.>"), mill.folder)
    announced = Service((*way, "events", "tail", "--task", "announce", "--json", "-n", "0"), mill.folder)
    try:
        shown.wait_for(before)
        other, event = send("ping"), send("push")
        assert f"  github.push  github  {event}" in shown.wait_for(event).string
        row = json.loads(announced.wait_for("seq").string)
        while row["id"] != event:  # others may have been sent before it began
            assert row["type"] == "github.push"
            row = json.loads(announced.wait_for("seq").string)
    finally:
        codes = [one.end(signal.SIGINT) for one in (shown, announced)]
    assert codes == [0, 0], shown.lines + announced.lines
    assert any(other in line for line in shown.lines)
    assert not any(other in line for line in announced.lines)
    assert not any("Traceback" in line or "Aborted" in line for line in shown.lines + announced.lines)


@pytest.mark.integration
def test_it_ends_when_nobody_reads_any_more(call: Call, mill: Mill) -> None:
    words = [sys.executable, "-m", "tidemill.cli.main", "events", "tail", "--json"]
    call("send", "github", "push", "--to", mill.public)
    process = subprocess.Popen(
        words, cwd=mill.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["seq"]
    process.stdout.close()
    call("send", "github", "push", "--to", mill.public)
    assert process.wait(PATIENCE) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.integration
def test_a_task_that_nobody_knows_is_named(call: Call, way: tuple[str, ...]) -> None:
    result = call(*way, "events", "tail", "--task", "nobody")
    assert (result.code, "nobody" in result.err) == (1, True)


class Events:
    """Gives pages of numbered events out, and is away at times."""

    def __init__(self) -> None:
        self.newest = 3
        self.answers: list[int | Exception] = [0, BrokerUnavailableError("away"), 250, 1]

    async def events(self, *, before: int | None, limit: int, **_: Any) -> list[dict[str, Any]]:
        if before is None:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            self.newest += answer
        top = self.newest if before is None else before - 1
        return [{"seq": seq} for seq in range(top, max(0, top - limit), -1)]


async def test_none_is_left_out_or_told_twice_however_many_come(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tidemill.cli.events_tail.PAUSE", 0.001)
    tail, seen = Tail(Events(), None, None, None), list[int]()  # type: ignore[arg-type] # a fake
    async for row in tail.events(2):
        seen.append(row["seq"])
        if row["seq"] == 254:
            break
    assert seen == list(range(2, 255))
    assert "again in" in capsys.readouterr().err
