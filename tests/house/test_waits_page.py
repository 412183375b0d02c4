"""docs/waits.md: its handlers run, on a stage; its links exist."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from gateway.api.openapi import control_document, public_document
from tests.house import pages
from tidemill.testing import Stage, play

PAGE: Final = pages.read("waits.md")


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """Everything that the page's code defines."""
    return pages.executed("waits.md")


async def ended(stage: Stage, task: Any, payload: Any) -> Any:
    run = await stage.start(task, payload)
    return await run.result()


async def test_a_signal_comes_or_doesnt(page: dict[str, Any]) -> None:
    async with play(page["delivery"]) as stage:
        stage.signal("address", "Main St 1", after="1d")
        assert await ended(stage, page["delivery"], "17") == "17 goes to Main St 1"
        run = await stage.start(page["delivery"], "18")
        await page["moved"](run)
        assert await run.result() == "18 goes to Main St 1"
        assert await ended(stage, page["delivery"], "19") == "19 stays here"


@pytest.mark.parametrize("said", ["yes", "no"])
async def test_people_decide(page: dict[str, Any], capsys: pytest.CaptureFixture[str], said: str) -> None:
    async with play(page["ship"]) as stage:
        if said == "yes":
            stage.approve("ship", by="ann@example.com", data={"start": "10:00"})
            assert await ended(stage, page["ship"], "v2") == "v2 ships at 10:00"
        else:
            stage.refuse("ship", by="bob@example.com", comment="not today")
            assert await ended(stage, page["ship"], "v2") == "v2 was rejected by bob@example.com: not today"
    assert "to bob@example.com: please decide at https://" in capsys.readouterr().out


async def test_a_token_brings_a_value(page: dict[str, Any]) -> None:
    async with play(page["scan"]) as stage:
        stage.complete("scanned", "the text")
        assert await ended(stage, page["scan"], "a.pdf") == "the text"


@pytest.mark.parametrize(("total", "answer"), [(100, "paid"), (99, "overdue")])
async def test_an_event_comes_or_doesnt(page: dict[str, Any], total: int, answer: str) -> None:
    async with play(page["invoice"]) as stage:
        stage.event("stripe.invoice.paid", {"invoice": {"number": 7, "total": total}}, after="2d")
        assert await ended(stage, page["invoice"], 7) == answer


def test_what_the_page_names_over_http_exists() -> None:
    named = set(re.findall(r"`(?:POST )?(/[a-z0-9/{}]+)`", PAGE))
    assert len(named) >= 3
    served = {*control_document()["paths"], *public_document()["paths"]}
    assert named <= served, named - served
