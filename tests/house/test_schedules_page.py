"""docs/schedules.md: its examples run, its tables are those of the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final, get_args

import pytest

from tests.house import pages
from tidemill import Cron, testing
from tidemill.kernel.schedules.decide import GRACE, MOST_CAUGHT_UP, MOST_COUNTED, SET_BACK
from tidemill.kernel.schedules.fields import MACROS
from tidemill.kernel.schedules.rhythm import rhythm
from tidemill.kernel.schedules.rule import Missed, Overlap

PAGE: Final = pages.read("schedules.md")


@pytest.fixture
def module(tmp_path: Path) -> Iterator[ModuleType]:
    """The page's examples as one module."""
    with pages.imported("schedules.md", tmp_path) as loaded:
        yield loaded


async def test_its_tasks_are_tested_as_it_says(module: ModuleType) -> None:
    await module.test_report()
    assert [rule.id for rule in module.tidy.definition.schedules] == ["tidy", "tidy:monthly"]
    assert [rule.tick for rule in module.tidy.definition.schedules] == [False, False]
    with testing.active():
        assert module.poll(testing.tick(module.poll)) == "poll"


def test_every_expression_in_its_table_is_one() -> None:
    table = PAGE.partition("| `expr` | means |")[2].partition("\n\n")[0]
    found = [one for row in table.splitlines()[2:] for one in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(found) > 12
    assert all(next(rhythm(expr, "UTC").after(0)) for expr in found)
    assert {expr for expr in found if expr in MACROS} == set(MACROS) - {"@annually", "@midnight"}


@pytest.mark.parametrize("words", [get_args(Missed), get_args(Overlap)])
def test_its_words_are_those_of_the_code(words: Any) -> None:
    for word in words:
        assert f'| `"{word}"` |' in PAGE


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"on time for {GRACE:.0f} seconds" in PAGE
    assert f"the latest {MOST_CAUGHT_UP} at most" in PAGE
    assert MOST_COUNTED == 1000
    assert "up to a thousand" in PAGE
    assert SET_BACK == 3600
    assert "by more than an hour" in PAGE
    assert 'Cron(expr, tz="UTC", missed="once", overlap="skip", name=None, spread=0)' in PAGE
    assert Cron("@daily") == Cron("@daily", "UTC", "once", "skip", None, 0)
