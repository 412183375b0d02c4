"""The evaluating process is killed over and over, in the middle of what it does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

if TYPE_CHECKING:
    from tests.consumers.alerts.conftest import Receiver, Watch

pytestmark = [pytest.mark.integration, pytest.mark.crash]
ROOT = Path(__file__).parents[3]
KILLS = 12


@contextlib.asynccontextmanager
async def evaluating(file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}  # noqa: TID251 - a child's environment
    script = Path(__file__).with_name("crashing.py")
    process = await asyncio.create_subprocess_exec(sys.executable, str(script), str(file), env=environ)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_kills_lose_nothing_and_what_comes_again_is_the_same(
    watch: Watch, receiver: Receiver, tmp_path: Path
) -> None:
    """Every failure is counted once; a message may come again, as the one that it was."""
    file, nats = tmp_path / "tidemill.toml", watch.mill.settings.nats
    file.write_text(
        f'[nats]\nurl = "{nats.url}"\nnamespace = "{nats.namespace}"\n'
        "[alerts]\ninterval = 0.1\ngroup_wait = 0.05\ngroup_interval = 0.05\n"
        "defaults = false\nper_hour = 1000\n"
        '[alerts.rules.failed]\nkind = "run_failed"\nwindow = "1h"\n'
        f'[alerts.webhook.ops]\nurl = "{receiver.url}"\nallow_private = true\n'
    )
    choose, total, holder = random.Random(7), 0, ""
    for kill in range(KILLS):
        async with evaluating(file):
            before = holder
            state = await watch.until(lambda state, before=before: state.holder != before and state.places)
            holder = state.holder
            for number in range(5):
                await watch.bury(f"task{kill}-{number}")
                total += 1
            await asyncio.sleep(choose.uniform(0.0, 0.5))
    async with evaluating(file):
        state = await watch.until(
            lambda state: (
                sum(alert.total for alert in state.alerts) >= total
                and all(alert.told_at is not None for alert in state.alerts)
                and not state.outbox
            )
        )
    assert [alert.total for alert in state.alerts] == [1] * total, "a failure was counted twice"
    bodies: dict[str, set[bytes]] = {}
    for request in receiver.received:
        bodies.setdefault(request.headers["webhook-id"], set()).add(request.body)
    assert all(len(found) == 1 for found in bodies.values()), "one id, and two messages"
    assert len(receiver.received) - len(bodies) <= KILLS, "more than one message a kill came again"
    first = [orjson.loads(body)["data"] for (body,) in bodies.values()]
    named = {alert["key"] for data in first for alert in data["alerts"]}
    assert sum(data["more"] for data in first) or len(named) == total
    assert state.channels["ops"].sent == len(bodies)
