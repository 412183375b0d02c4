"""A report every night, a level every minute, and an inventory that misses no month.

The harbour's services are reached over HTTP: HARBOUR_URL names them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import httpx

from tidemill import Context, Cron, Retry, Step, Tick, task

HARBOUR = os.environ.get("HARBOUR_URL", "http://127.0.0.1:9000")
ALARM_METRES = 3.2


@dataclass
class Day:
    """What happened in the harbour on one day."""

    date: str
    arrivals: int
    departures: int


async def fetch_day(date: str) -> Day:
    """Ask the harbour's log for one day."""
    async with httpx.AsyncClient(base_url=HARBOUR, timeout=10) as client:
        answer = (await client.get("/days", params={"date": date})).raise_for_status()
    return Day(date, **answer.json())


async def send_report(text: str, key: str) -> None:
    """Send a report; the key keeps a repetition from arriving twice."""
    async with httpx.AsyncClient(base_url=HARBOUR, timeout=10) as client:
        answer = await client.post("/reports", json={"text": text}, headers={"Idempotency-Key": key})
        answer.raise_for_status()


@task(
    schedule=Cron("30 2 * * *", tz="Europe/Berlin"),
    retry=Retry(max_attempts=5, min_delay="1m", max_delay="1h"),
)
async def report(tick: Tick, ctx: Context) -> str:
    """Report on the day before, as the harbour counts days: in its own time zone."""
    yesterday = tick.scheduled_at.date() - timedelta(days=1)
    day = await ctx.step(Step("fetch", returns=Day), fetch_day, yesterday.isoformat())
    text = f"{day.date}: {day.arrivals} ships came, {day.departures} left"
    await ctx.step("send", send_report, text, ctx.idempotency_key("send"))
    return text


@task(schedule=Cron("* * * * *", missed="skip", overlap="skip", spread="20s"))
async def level() -> str:
    """Look at the water now: a minute that was missed tells nothing any more."""
    async with httpx.AsyncClient(base_url=HARBOUR, timeout=10) as client:
        metres = float((await client.get("/level")).raise_for_status().text)
    return "alarm" if metres >= ALARM_METRES else "calm"


@task(schedule=Cron("0 6 1 * *", tz="Europe/Berlin", missed="all", overlap="allow"), concurrency=1)
async def inventory(tick: Tick, ctx: Context) -> str:
    """Count the quays once for every month, also for those that passed while nothing ran."""
    month = f"{tick.scheduled_at:%Y-%m}"
    day = await ctx.step(Step("count", returns=Day), fetch_day, f"{month}-01")
    return f"{month}: {day.arrivals - day.departures} ships at the quays"
