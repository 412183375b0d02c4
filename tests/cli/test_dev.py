"""`tidemill dev`: one command for all, a new worker when code changes, and nobody left behind."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.patience import until_seen
from tidemill.cli.development import watched

if TYPE_CHECKING:
    from conftest import Call, Service

Start = Callable[..., "Service"]
Gone = Callable[[list[int]], bool]
DEV = ("dev", "tasks.py", "--port", "0")


def ready(dev: Service) -> None:
    """Wait until both are there: the worker's line and the gateway's greeting come in any order."""
    dev.wait_for(r"serves announce|control API")
    dev.wait_for(r"serves announce|control API")


@pytest.mark.integration
@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_order_and_leaves_nobody(service: Start, gone: Gone, number: signal.Signals) -> None:
    dev = service(*DEV)
    ready(dev)
    family = dev.descendants()
    assert len(family) >= 6  # a guard each for broker, gateway and worker
    assert dev.end(number) == 0, dev.lines
    assert gone(family)
    told = "\n".join(dev.lines)
    assert "gateway | " in told
    assert "Traceback" not in told
    assert "lost" not in told


@pytest.mark.crash
@pytest.mark.integration
@pytest.mark.usefixtures("project")
def test_nobody_outlives_it_when_it_is_killed(service: Start, gone: Gone) -> None:
    dev = service(*DEV)
    ready(dev)
    family = dev.descendants()
    dev.end(signal.SIGKILL)
    assert gone(family)


@pytest.mark.integration
def test_a_module_that_breaks_is_said_and_waited_for(service: Start, project: Path, call: Call) -> None:
    dev = service(*DEV)
    ready(dev)
    tasks = project / "tasks.py"
    sound = tasks.read_text()
    tasks.write_text(sound + "\nimport nothing_of_that_name\n")
    dev.wait_for("tasks.py doesn't import: ModuleNotFoundError.*nothing_of_that_name")
    dev.wait_for("worker waits for a change")
    assert call("trigger", "announce", "--payload", '{"ref": "a", "after": "b"}').code == 0
    tasks.write_text(sound.replace("[:7]", "[:1].upper()"))
    dev.wait_for("serves announce")
    done = call("trigger", "announce", "--payload", '{"ref": "a", "after": "b"}', "--wait", "--json").json()
    assert done["result"] == "B"


@pytest.mark.integration
def test_a_module_that_breaks_ends_it_with_2_where_nobody_watches(service: Start, project: Path) -> None:
    (project / "tasks.py").write_text("import nothing_of_that_name\n")
    dev = service(*DEV, "--no-reload")
    dev.wait_for("tasks.py doesn't import: ModuleNotFoundError.*nothing_of_that_name")
    assert dev.end(None) == 2


@pytest.mark.integration
def test_a_change_that_is_taken_back_is_in_force_again(service: Start, project: Path, call: Call) -> None:
    dev = service(*DEV)
    ready(dev)
    tasks = project / "tasks.py"
    before = tasks.read_text()
    changed = before.replace('on="github.push")', 'on="github.release.*")')
    for text, pattern in ((changed, "github.release.*"), (before, "github.push")):
        tasks.write_text(text)
        dev.wait_for("serves announce")
        assert call("tasks", "show", "announce", "--json").json()["on"] == [pattern]
    assert dev.end() == 0


@pytest.mark.crash
@pytest.mark.integration
@pytest.mark.usefixtures("project")
def test_what_dies_is_started_again_on_the_same_ports(service: Start, call: Call) -> None:
    dev = service(*DEV)
    dev.wait_for("control API")
    public = dev.wait_for(r"--to (http://\S+)")[1]
    gateway, others = _family(dev)
    os.kill(gateway, signal.SIGKILL)
    dev.wait_for("gateway ended with exit code 137: it is started again in")
    until_seen(lambda: call("send", "github", "push", "--to", public).code == 0)  # it is back on its port
    again, still = _family(dev)
    assert again != gateway
    assert others <= still, "whatever else it had started goes on"
    assert dev.end() == 0


def _family(dev: Service) -> tuple[int, set[int]]:
    """Return the gateway's process, and all others but its guard."""
    commands = {pid: _command(pid) for pid in dev.descendants()}
    (gateway,) = [pid for pid, words in commands.items() if words[-1] == "gateway" and "-S" not in words]
    return gateway, {pid for pid, words in commands.items() if words[-1] != "gateway"}


def _command(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")


@pytest.mark.integration
@pytest.mark.usefixtures("project")
def test_a_port_that_is_taken_ends_it_with_2(service: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dev = service("dev", "tasks.py", "--port", str(taken.getsockname()[1]))
        dev.wait_for("gateway.listen: .* can't be listened on")
        assert dev.end(None) == 2


def test_the_folders_of_modules_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop" / "mail").mkdir(parents=True)
    for name in ("shop/__init__.py", "shop/mail/__init__.py", "alone.py"):
        (tmp_path / name).write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert watched(["shop.mail:send"]) == {tmp_path / "shop"}
    assert watched(["alone"]) == {tmp_path}
    assert watched(["shop/mail/x.py", "other.py"]) == {tmp_path / "shop/mail", tmp_path}
    assert watched(["not_yet_there"]) == {tmp_path}
