"""docs/durable-runs.md and docs/testing.md: their handlers run, and their tests pass."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.house import pages
from tidemill.testing import play

TESTS: Final = pages.read("testing.md")
PATIENCE: Final = 90.0


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """Everything that the code of the page about runs defines."""
    return pages.executed("durable-runs.md")


async def test_the_order_is_charged_checked_and_shipped(page: dict[str, Any]) -> None:
    async with play(page["ship"], page["run_suite"]) as stage:
        run = await stage.start(page["ship"], page["Order"](7, ["unit", "smoke"]))
        assert await run.result() == "receipt 7, 9 checks"
        assert stage.executed(run.id) == {"charge": 1}


async def test_the_journey_is_compensated_for_once(page: dict[str, Any]) -> None:
    async with play() as stage:
        assert await (await stage.start(page["travel"])).result() == "stayed at home"
    log = [line for line in page["log"] if line != "unwound"]
    assert log == ["book flight", "book car", "book hotel", "cancel car", "cancel flight"]
    assert page["log"].count("unwound") == 3


async def test_the_album_tells_what_failed(page: dict[str, Any]) -> None:
    async with play(page["resize"]) as stage:
        run = await stage.start(page["album"], ["a.png", "broken.png", "b.png"])
        assert await run.result() == {"done": ["small-a.png", "small-b.png"], "failed": ["not an image"]}


async def test_the_patch_is_taken_by_new_runs(page: dict[str, Any]) -> None:
    async with play() as stage:
        assert await (await stage.start(page["archive"], "a.pdf")).result() == "stored scanned a.pdf"


def write_files(folder: Path) -> list[str]:
    """Write the files of the page about tests, and return the names of those that hold tests."""
    blocks = re.findall(r"^<!-- file: (\S+) -->\n```python\n(.*?)^```", TESTS, re.MULTILINE | re.DOTALL)
    for name, text in blocks:
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n", encoding="utf-8")
    return [name for name, _ in blocks if name.startswith("test_")]


@pytest.mark.integration
def test_the_pages_tests_pass(tmp_path: Path) -> None:
    names = write_files(tmp_path)
    assert names == ["test_direct.py", "test_play.py", "test_crashes.py", "test_real.py"]
    assert TESTS.count("```python") == len(names) + 1
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *names]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "7 passed" in done.stdout
