"""Purchases: a budget is reserved, people approve, an order is placed; who doesn't answer is reminded.

Serve it with `tidemill dev tasks.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

import httpx
from pydantic import BaseModel

from tidemill import Approval, Context, Retry, Step, task

OFFICE = os.environ.get("OFFICE_URL", "http://127.0.0.1:9997")
APPROVERS = ("ann", "ben", "cleo")
PATIENT = Retry(max_attempts=10, max_delay="10m")


class Purchase(BaseModel):
    """What somebody wants to buy."""

    item: str
    price: int
    asked_by: str


class Terms(BaseModel):
    """What an approver fills in with a yes."""

    cost_centre: str


class Verdict(BaseModel):
    """What has become of a purchase."""

    state: Literal["ordered", "refused", "unanswered"]
    by: str = ""
    comment: str = ""


@task(max_duration="30d")
async def purchase(wish: Purchase, ctx: Context) -> Verdict:
    """Two of three approvers must say yes within three days; meanwhile nothing of this is in memory."""
    budget = {"item": wish.item, "price": wish.price}
    reserved = await ctx.step(
        Step("reserve", retry=PATIENT), post, "reservations", budget, ctx.idempotency_key("reserve")
    )
    approval = await decided(wish, ctx)
    if approval is None or not approval.approved:
        release = {"reservation": reserved}
        await ctx.step(
            Step("release", retry=PATIENT), post, "releases", release, ctx.idempotency_key("release")
        )
        if approval is None:
            return Verdict(state="unanswered")
        return Verdict(state="refused", by=approval.by, comment=approval.comment)
    order = {"reservation": reserved, "cost_centre": approval.data.cost_centre}
    await ctx.step(Step("order", retry=PATIENT), post, "orders", order, ctx.idempotency_key("order"))
    return Verdict(state="ordered", by=approval.by, comment=approval.comment)


async def decided(wish: Purchase, ctx: Context) -> Approval[Terms] | None:
    """Return what the approvers decide; None where they don't in time."""
    won = await ctx.first(
        ctx.wait_for_approval("purchase", Terms, approvers=APPROVERS, quorum=2, timeout="30d"),
        reminding(wish, ctx),
    )
    return won[1] if won[0] == 0 else None


async def reminding(wish: Purchase, ctx: Context) -> None:
    """Tell the approvers that they are asked, now and on each of three days; return when these are over."""
    for _ in range(3):
        text = f"{wish.asked_by} wants to buy {wish.item} for {wish.price}: {ctx.run_id}.purchase"
        key = ctx.idempotency_key(f"tell {ctx.now():%F}")
        await ctx.step(
            Step("tell", retry=PATIENT), post, "messages", {"to": list(APPROVERS), "text": text}, key
        )
        await ctx.sleep("1d")


async def post(path: str, body: Mapping[str, object], key: str) -> str:
    """Ask the office for something, and return the id that it gives it; the same key gives the same id."""
    async with httpx.AsyncClient(base_url=OFFICE) as client:
        answer = await client.post(f"/{path}", json=body, headers={"Idempotency-Key": key})
    made: str = answer.raise_for_status().json()["id"]
    return made
