"""docs/schemas.md: its commands print what it says, and its handler runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.house import pages

PAGE: Final = pages.read("schemas.md")
TIDEMILL: Final = (sys.executable, "-m", "tidemill.cli.main")
ORDER: Final = {"id": 7, "state": "paid", "paid_at": "2026-10-26T07:33:20Z"}
STATE: Final = {"enum": ["open", "paid"]}
BEFORE: Final = {"properties": {"id": {"type": "integer"}, "state": STATE, "note": {"type": "string"}}}
AFTER: Final = {
    "required": ["at"],
    "properties": {"id": {"type": ["integer", "string"]}, "state": {"enum": ["paid"]}, "at": {}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that the page's examples begin with."""
    (tmp_path / "captured").mkdir()
    (tmp_path / "schemas/acme/order.paid").mkdir(parents=True)
    for number in range(4):
        note = {"note": "wet"} if number == 2 else {}
        (tmp_path / f"captured/{number}.json").write_text(json.dumps(ORDER | {"id": number} | note))
    (tmp_path / "before.json").write_text(json.dumps(BEFORE))
    (tmp_path / "after.json").write_text(json.dumps(AFTER))
    return tmp_path


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [*TIDEMILL, *command], cwd=folder, capture_output=True, text=True, timeout=40, check=False
    )
    return (done.stdout + done.stderr).rstrip()


def words(text: str) -> list[str]:
    """Return lines with single spaces: how wide a column is depends on the terminal."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_its_commands_print_what_it_says_and_its_handler_takes_a_sample(folder: Path) -> None:
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        for step in block.removeprefix("$ tidemill ").split("\n$ tidemill "):
            command, _, expected = step.partition("\n")
            assert words(run(folder, *command.split())) == words(expected.rstrip()), command
    handler, test = pages.blocks(PAGE)
    (folder / "tasks.py").write_text(f"{handler}\n{CALL}\n{test}")
    done = subprocess.run(
        [sys.executable, "tasks.py"], cwd=folder, capture_output=True, text=True, timeout=40, check=False
    )
    assert "SMEUb7VJz92Q noor@example.com" in done.stdout, done.stderr


CALL: Final = """
import asyncio
from tidemill.testing import sample

asyncio.run(thank(FormResponseEvent.model_validate(sample("typeform", "form_response"))))
"""
