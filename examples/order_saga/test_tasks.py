"""Tests of the saga: a shop in memory behind mocked HTTP, so that what is left in it can be looked at.

Run them with `python -m pytest`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import respx
from tasks import SHOP, Order, fulfil

from tidemill import RunCancelledError, RunFailedError, testing

ORDER = Order(number="1042", sku="oar", amount=80)
ALL = ["reservations", "payments", "parcels"]


class Shop:
    """Three services, of which one may refuse; a parcel is fetched when it is looked for the third time.

    Attributes:
        fails: what the order's error says; empty where it has none.
        holds: what was done and not undone, in the order in which it was.
        undone: services in the order in which they were asked to undo something that they had done.
    """

    def __init__(self, refuses: str = "", *, state: str = "fetched", fails: str = "") -> None:
        self.fails = fails
        self.holds: list[str] = []
        self.undone: list[str] = []
        self.looks = 0
        self._refuses = refuses
        self._state = state

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        service = request.url.path.split("/")[1]
        if request.method == "PUT" and service == self._refuses:
            return httpx.Response(402, text="no")
        if request.method == "PUT":
            self.holds += [service] if service not in self.holds else []
            return httpx.Response(200, json={"id": f"{service} 1"})
        if request.method == "DELETE":
            self.undone += [service] if service in self.holds else []
            self.holds = [other for other in self.holds if other != service]
            return httpx.Response(204)
        self.looks += 1
        state = self._state if self.looks >= 3 else "waiting"
        return httpx.Response(200, json={"state": state, "number": "P7"})

    @contextmanager
    def mocked(self) -> Iterator[None]:
        """Have it answer what is sent to the shop."""
        with respx.mock(base_url=SHOP) as router:
            router.route().mock(side_effect=self)
            yield


def play(shop: Shop) -> dict[str, int]:
    """Play one order, its hooks too, and return how often its steps were executed."""

    async def scenario() -> dict[str, int]:
        async with testing.play(fulfil) as stage:
            begun = stage.now()
            run = await stage.start(fulfil, ORDER)
            if shop.fails:
                with pytest.raises(RunFailedError, match=rf"order 1042 was undone: {shop.fails}"):
                    await run.result()
                assert shop.holds == []
            else:
                assert (await run.result()).parcel == "P7"
                assert (stage.now() - begun).total_seconds() >= 20 * 60
            await stage.still()
            return stage.executed(run.id)

    with shop.mocked():
        return asyncio.run(scenario())


def test_an_order_is_fulfilled_once_the_courier_has_come() -> None:
    shop = Shop()
    play(shop)
    assert (shop.holds, shop.undone, shop.looks) == (ALL, [], 3)


@pytest.mark.parametrize("number", range(3))
def test_what_was_done_before_a_refusal_is_undone_in_the_opposite_order(number: int) -> None:
    shop = Shop(refuses=ALL[number], fails="PUT .* 402 no")
    steps = play(shop)
    assert shop.undone == ALL[:number][::-1]
    assert steps == dict.fromkeys([*ALL[: number + 1], *(f"undo {name}" for name in ALL[: number + 1])], 1)


def test_a_lost_parcel_gives_the_money_back() -> None:
    shop = Shop(state="lost", fails="the courier has lost the parcel")
    steps = play(shop)
    assert shop.undone == ALL[::-1]
    assert {f"undo {name}" for name in ALL} <= steps.keys()


def test_a_cancelled_order_is_undone_although_its_code_is_asleep() -> None:
    shop = Shop(state="waiting")

    async def scenario() -> None:
        async with testing.play(fulfil) as stage:
            run = await stage.start(fulfil, ORDER)
            await stage.advance("1h")
            assert shop.holds == ALL
            await run.cancel("changed my mind")
            with pytest.raises(RunCancelledError):
                await run.result()
            await stage.still()

    with shop.mocked():
        asyncio.run(scenario())
    assert (shop.holds, shop.undone) == ([], ALL[::-1])


def test_a_shop_that_is_down_is_asked_again() -> None:
    shop, failures = Shop(), [503, 500]

    def flaky(request: httpx.Request) -> httpx.Response:
        return httpx.Response(failures.pop()) if failures else shop(request)

    async def scenario() -> None:
        async with testing.play(fulfil) as stage:
            run = await stage.start(fulfil, ORDER)
            await run.result()
            assert stage.executed(run.id)["reservations"] == 3

    with respx.mock(base_url=SHOP) as router:
        router.route().mock(side_effect=flaky)
        asyncio.run(scenario())
    assert shop.holds == ALL


@pytest.mark.parametrize("refuses", ["", "parcels"])
def test_wherever_a_process_dies_all_is_done_or_nothing(refuses: str) -> None:
    states = []

    def fresh(_: testing.Stage) -> None:
        states.append(shop.holds)
        shop.__init__(refuses)  # type: ignore[misc]  # every play begins with an empty shop

    shop = Shop(refuses)
    with shop.mocked():
        found = asyncio.run(testing.crash_everywhere(fulfil, ORDER, prepare=fresh))
    states = [*states[1:], shop.holds]
    assert len(states) == found.points + 1
    assert all(state == ([] if refuses else ALL) for state in states), states
    assert found.outcome.state == ("failed" if refuses else "completed")
