"""Help that teaches: every command has examples, and says how to get JSON where it prints data."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from tidemill.cli import main

SERVING = {"dev", "gateway", "worker", "engine"}
PRINTS_JSON_ANYWAY = {"schemas show", "schemas infer"}
WRITES_PYTHON = {"schemas models"}


def leaves(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in getattr(command, "commands", {}).items():
        path = f"{name} {key}".strip()
        if hasattr(inner, "commands"):
            yield from leaves(inner, path)
        else:
            yield path, inner


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    if not main.app.registered_groups:
        main.register()
    return dict(leaves(typer.main.get_command(main.app)))


def test_there_are_the_commands_of_the_contract(commands: dict[str, Any]) -> None:
    assert {"init", "dev", "gateway", "worker", "engine", "send", "trigger", "doctor"} <= set(commands)
    assert {"runs list", "runs show", "runs cancel", "runs retry", "runs replay"} <= set(commands)
    assert {"dead list", "dead show", "dead retry", "quarantine release", "events save"} <= set(commands)


def test_every_command_has_examples_that_are_commands(commands: dict[str, Any]) -> None:
    for path, command in commands.items():
        if path == "init":
            continue
        assert "$ tidemill" in (command.epilog or ""), path
        assert path in command.epilog, path


def test_every_command_that_prints_data_speaks_json(commands: dict[str, Any]) -> None:
    mute = {
        path
        for path, command in commands.items()
        if "--json" not in {name for parameter in command.params for name in parameter.opts}
    }
    assert mute == SERVING | PRINTS_JSON_ANYWAY | WRITES_PYTHON


def test_help_starts_nothing_heavy() -> None:
    """Broker's client, HTTP server and watcher would delay every --help and every completion."""
    code = (
        "import sys\nfrom tidemill.cli import main\nmain.register()\n"
        "heavy = ('nats', 'starlette', 'uvicorn', 'watchfiles', 'jsonschema')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == "[]\n"
