"""docs/quickstart.md: what it adds to the project that `tidemill init` writes does what the page says."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Final

import pytest

from tests.house import pages
from tidemill import testing

MODULE: Final = "quickstart_tasks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The code that the reader appends."""
    (code,) = (block for block in pages.blocks(pages.read("quickstart.md")) if "import" in block)
    made = ModuleType(MODULE)
    monkeypatch.setitem(sys.modules, MODULE, made)
    exec(compile(code, "docs/quickstart.md", "exec", dont_inherit=True), vars(made))
    return made


async def test_the_run_waits_and_is_forked_without_building_again(module: ModuleType) -> None:
    async with testing.play(module.release, module.tidy) as stage:
        run = await stage.start(module.release, "1.2")
        await stage.still()
        await stage.advance("5s")
        stage.approve("go", by="ann")
        assert await run.result() == "image-1.2 is out"
        fork = await stage.fork(run.id, "approval:go")
        await stage.still()
        assert stage.executed(fork) == {}
        assert stage.status(fork) == "waiting"
