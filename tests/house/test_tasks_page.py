"""docs/tasks.md: its module runs as the page says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

from tests.house import pages
from tidemill import testing
from tidemill.kernel.errors import RunFailedError
from tidemill.options import NAMES

PAGE: Final = pages.read("tasks.md")


@pytest.fixture
def module(tmp_path: Path) -> Iterator[ModuleType]:
    """The page's examples as one module."""
    with pages.imported("tasks.md", tmp_path) as loaded:
        yield loaded


async def test_its_tasks_do_what_it_says(module: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    async with testing.play(module.store, module.primes) as stage:
        run = await stage.start(module.store, 3)
        assert await run.result() == 1
        await stage.still()
        said = capsys.readouterr().out.splitlines()
        around = ["store begins, attempt 1", "store is over"]
        assert said == [f"{run.id} begins", *around, "1 stored", "completed"]
        with pytest.raises(RunFailedError):
            await (await stage.start(module.store, -1)).result()
        await stage.still()
        assert capsys.readouterr().out.splitlines()[-1] == "not completed"
        assert await (await stage.start(module.primes, 10)).result() == 4
    fake = module.Db()
    with testing.active(overrides={module.get_db: lambda: fake}):
        assert await module.store(7) == 1
    assert fake.orders == [7]


@pytest.mark.parametrize("option", ["middleware", "timeout", "max_duration", "executor"])
def test_it_speaks_of_the_options(option: str) -> None:
    assert option in NAMES
    assert f"`{option}" in PAGE
