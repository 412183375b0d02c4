"""Orders: stock, payment and courier are three services; where one fails, what the others did is undone.

Serve it with `tidemill dev tasks.py`.
"""

from __future__ import annotations

import os
from typing import Any, Literal

import httpx
from pydantic import BaseModel

from tidemill import Abort, Context, Failed, Retry, Step, task

SHOP = os.environ.get("SHOP_URL", "http://127.0.0.1:9995")
SERVICES = ("reservations", "payments", "parcels")
DO = Retry(max_attempts=5, max_delay="1m")
UNDO = Retry(max_attempts=100, max_delay="1h")


class Order(BaseModel):
    """What a customer has ordered."""

    number: str
    sku: str
    amount: int


class Parcel(BaseModel):
    """Where a parcel is."""

    state: Literal["waiting", "fetched", "lost"]
    number: str = ""


class Receipt(BaseModel):
    """What the services gave the order."""

    reservation: str
    payment: str
    parcel: str


@task(retry=Retry(max_attempts=1), max_duration="3d")
async def fulfil(order: Order, ctx: Context) -> Receipt:
    """Reserve, charge and send; undo in the opposite order what was done before something failed for good."""
    begun: list[str] = []

    async def have(service: str, **body: Any) -> str:
        begun.append(service)  # before it is asked: what has failed here may have been done there
        return await ctx.step(Step(service, retry=DO), make, service, ctx.run_id, body)

    try:
        reservation = await have("reservations", sku=order.sku)
        payment = await have("payments", amount=order.amount)
        await have("parcels", reservation=reservation)
        parcel = await fetched(ctx)
    except Exception as error:  # `finally` would be wrong: the run leaves it whenever it waits
        for service in reversed(begun):
            await ctx.step(Step(f"undo {service}", retry=UNDO), undo, service, ctx.run_id)
        raise Abort(f"order {order.number} was undone: {error}") from error
    return Receipt(reservation=reservation, payment=payment, parcel=parcel)


async def fetched(ctx: Context) -> str:
    """Ask every ten minutes, for a day, whether the courier has fetched the parcel; return its number."""
    for _ in range(24 * 6):
        parcel = await ctx.step(Step("look", retry=DO), look, ctx.run_id)
        if parcel.state == "lost":
            raise Abort("the courier has lost the parcel")
        if parcel.state == "fetched":
            return parcel.number
        await ctx.sleep("10m")
    raise Abort("the courier didn't come")


@fulfil.on_cancel
@fulfil.on_failure
async def undo_rest(_: Failed, ctx: Context) -> None:
    """Undo what is left of an order whose code can't do so: cancelled, out of time. Twice changes nothing."""
    for service in reversed(SERVICES):
        await undo(service, ctx.run_id)


async def make(service: str, run: str, body: dict[str, Any]) -> str:
    """Have a service do its part, and return the id that it gives it; once for a run, however often asked."""
    made: str = (await call("PUT", f"/{service}/{run}", json=body)).json()["id"]
    return made


async def undo(service: str, run: str) -> None:
    """Have a service undo its part, if it has done it."""
    await call("DELETE", f"/{service}/{run}")


async def look(run: str) -> Parcel:
    """Return where the parcel is."""
    return Parcel.model_validate((await call("GET", f"/parcels/{run}")).json())


async def call(method: str, path: str, **more: Any) -> httpx.Response:
    """Call the shop's services. What they refuse is given up on, what fails otherwise is tried again."""
    async with httpx.AsyncClient(base_url=SHOP) as client:
        answer = await client.request(method, path, **more)
    if answer.is_client_error:
        raise Abort(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
    return answer.raise_for_status()
