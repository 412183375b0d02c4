"""`tidemill worker`, `engine` and `gateway` as processes: ready lines, logs, exit codes, several at once."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Call, Service

Start = Callable[..., "Service"]
Gone = Callable[[list[int]], bool]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import nothing_of_that_name", ["broken.py:1", "broken.py doesn't import: ModuleNotFoundError"]),
        ("x = 1\ny = (", ["broken.py:2", "SyntaxError"]),
        ("x = 1", ["broken.py defines no task"]),
        ("from tidemill import task\n@task(retires=3)\ndef a() -> None: ...", ["broken.py:2", "'retires'"]),
        (
            "from tidemill import task\n@task(id='a')\ndef b(): ...\n@task(id='a')\ndef c(): ...\n",
            ["two tasks are called 'a'", "broken.py:2", "broken.py:4"],
        ),
    ],
)
def test_a_module_that_cant_be_served_ends_it_with_2(
    call: Call, project: Path, text: str, told: list[str]
) -> None:
    (project / "broken.py").write_text(text)
    result = call("worker", "broken.py")
    assert result.code == 2
    assert [words for words in told if words not in result.err] == []
    assert "hint: " in result.err
    assert "Traceback" not in result.err
    assert not (project / ".tidemill").exists()


def test_a_wrong_option_ends_it_with_2(call: Call, project: Path) -> None:
    assert project.is_dir()
    assert call("worker").code == 2
    assert call("worker", "tasks.py", "--slots", "0").code == 2
    result = call("engine", "--roles", "router,conductor")
    assert result.code == 2
    assert "engine.roles" in result.err


@pytest.mark.integration
def test_gateway_engine_and_worker_as_processes(service: Start, project: Path, call: Call) -> None:
    with (project / "tidemill.toml").open("a") as file:
        file.write('[log]\nformat = "json"\n[control]\nlisten = "127.0.0.1:0"\n')
    text = (project / "tidemill.toml").read_text()
    (project / "tidemill.toml").write_text(text.replace("127.0.0.1:8080", "127.0.0.1:0"))
    gateway = service("gateway")
    public = gateway.wait_for(r"^public listener on (http://\S+)$")[1]
    gateway.wait_for(r"^control listener on http://\S+$")
    engine = service("engine", "--roles", "router,mailman")
    engine.wait_for(r"^engine runs mailman, router$")
    worker = service("worker", "tasks.py", "--no-engine", "--slots", "3")
    worker.wait_for(r"^worker \S+ serves announce, doomed, elsewhere, mend, puzzled, ship$")
    (alive,) = call("workers", "list", "--json").json()
    assert alive["slots"] == 3
    assert call("send", "github", "push", "--to", public).code == 0
    line = worker.wait_for(r'^\{.*"announcing".*\}$')[0]
    facts = json.loads(line)
    assert (facts["task"], facts["attempt"], facts["logger"]) == ("announce", 1, "tidemill.task.announce")
    assert facts["run_id"].startswith("run_")
    for one in (worker, engine, gateway):
        assert one.end() == 0, one.lines
        assert not [line for line in one.lines if "Traceback" in line]


@pytest.mark.crash
@pytest.mark.integration
@pytest.mark.usefixtures("project")
def test_several_processes_are_kept_running(service: Start, gone: Gone) -> None:
    fleet = service("worker", "tasks.py", "--processes", "2")
    fleet.wait_for(r"^3 processes: worker 1, worker 2, engine$")
    pids = [int(fleet.wait_for(r"^worker w(\d+)-\S+ serves")[1]) for _ in range(2)]
    os.kill(pids[0], signal.SIGKILL)
    fleet.wait_for(r"worker \d ended with exit code 137: it is started again in")
    again = int(fleet.wait_for(r"^worker w(\d+)-\S+ serves")[1])
    assert again not in pids
    family = fleet.descendants()
    assert {again, pids[1]} <= set(family)
    assert fleet.end() == 0, fleet.lines
    assert gone(family)


@pytest.mark.integration
def test_several_processes_end_with_2_where_none_can_work(service: Start, project: Path) -> None:
    (project / "broken.py").write_text("x = 1")
    fleet = service("worker", "broken.py", "--processes", "2", "--no-engine")
    fleet.wait_for("broken.py defines no task")
    assert fleet.end(None) == 2
