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
from tidemill.kernel.where import Filtered, Matched, compile_where
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


async def test_what_starts_a_task_and_what_ends_it(module: ModuleType) -> None:
    async with testing.play(module.build, module.note) as stage:
        run = await stage.start(module.build, module.Push("refs/heads/main", "6113728f27ae"))
        assert await run.result() == "built 6113728"
        deleted = await stage.start(module.build, module.Push("refs/heads/main", "0" * 40))
        with pytest.raises(RunFailedError, match="the branch was deleted"):
            await deleted.result()
    where = compile_where(module.build.definition.where)
    refs: tuple[dict[str, str], ...] = ({}, {"ref": "refs/heads/main"})
    judged = [where.evaluate(data, "github.push", "github", None, {}) for data in refs]
    assert [type(verdict) for verdict in judged] == [Filtered, Matched]


@pytest.mark.parametrize("option", NAMES)
def test_it_speaks_of_every_option(option: str) -> None:
    assert f"`{option}`" in PAGE.split("**What starts it.**")[0]
