"""Tests of purchases: people answer on a clock that jumps, so that three days take no time.

Run them with `python -m pytest`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest
import respx
from tasks import OFFICE, Purchase, Verdict, purchase

from tidemill import testing

WISH = Purchase(item="a dinghy", price=1900, asked_by="dora")
TERMS = {"cost_centre": "boats"}


@pytest.fixture
def office() -> Iterator[respx.Router]:
    with respx.mock(base_url=OFFICE, assert_all_called=False) as router:
        router.post("/reservations", name="reservations").respond(201, json={"id": "r1"})
        router.post("/orders", name="orders").respond(201, json={"id": "o1"})
        router.post("/releases", name="releases").respond(201, json={"id": "l1"})
        router.post("/messages", name="messages").respond(201, json={"id": "m1"})
        yield router


def play(prepare: Callable[[testing.Stage], None]) -> Verdict:
    """Play one purchase with what the approvers say."""

    async def scenario() -> Verdict:
        async with testing.play(purchase) as stage:
            run = await stage.start(purchase, WISH)
            prepare(stage)
            verdict: Verdict = await run.result()
            return verdict

    return asyncio.run(scenario())


def two_agree(stage: testing.Stage) -> None:
    stage.approve("purchase", by="cleo", data=TERMS, after="1h")
    stage.approve("purchase", by="ann", data=TERMS, comment="we need one", after="30h")


def test_two_of_three_order_it(office: respx.Router) -> None:
    assert play(two_agree) == Verdict(state="ordered", by="ann", comment="we need one")
    order = json.loads(office["orders"].calls.last.request.content)
    assert order == {"reservation": "r1", "cost_centre": "boats"}
    assert office["messages"].call_count == 2  # at once, and after a day
    assert not office["releases"].called


def test_one_no_releases_the_budget(office: respx.Router) -> None:
    def one_refuses(stage: testing.Stage) -> None:
        stage.approve("purchase", by="cleo", data=TERMS, after="1h")
        stage.refuse("purchase", by="ben", comment="we have one", after="2h")

    assert play(one_refuses) == Verdict(state="refused", by="ben", comment="we have one")
    assert office["releases"].call_count == 1
    assert not office["orders"].called


def test_one_yes_is_not_enough_and_after_three_reminders_it_is_over(office: respx.Router) -> None:
    def one_agrees(stage: testing.Stage) -> None:
        stage.approve("purchase", by="cleo", data=TERMS, after="1h")

    assert play(one_agrees) == Verdict(state="unanswered")
    keys = [call.request.headers["Idempotency-Key"] for call in office["messages"].calls]
    assert len(set(keys)) == len(keys) == 3
    assert office["releases"].call_count == 1


def test_wherever_a_process_dies_one_order_is_placed(office: respx.Router) -> None:
    found = asyncio.run(testing.crash_everywhere(purchase, WISH, prepare=two_agree))
    assert json.loads(found.outcome.result)["state"] == "ordered"
    keys = {call.request.headers["Idempotency-Key"] for call in office["orders"].calls}
    assert len(keys) == 1
    assert not office["releases"].called
