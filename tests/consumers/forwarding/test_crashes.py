"""A process that forwards is killed while a destination has the request and hasn't answered."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tidemill.kernel.services.destinations import PREFIX
from tidemill.kernel.subjects import escape, run_of_event

if TYPE_CHECKING:
    from conftest import Mill, Receiver, StartWorker

pytestmark = [pytest.mark.integration, pytest.mark.crash]
NOTHING = "from tidemill import task\n\n@task\nasync def nothing() -> None: ...\n"


async def defined(mill: Mill) -> None:
    """Wait until events find the destination: its task is published behind the worker's own."""
    async with asyncio.timeout(20):
        while await mill.broker.tasks.get(escape(PREFIX + "crm")) is None:  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.02)


async def test_the_event_is_sent_again_under_the_same_id(
    mill: Mill, receiver: Receiver, start_worker: StartWorker, answer: Any
) -> None:
    async def never(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    receiver.answers = [never, answer(200)]
    environ = {
        "TIDEMILL_DESTINATIONS__CRM__URL": receiver.url,
        "TIDEMILL_DESTINATIONS__CRM__ON": "test.>",
        "TIDEMILL_DESTINATIONS__CRM__ALLOW_PRIVATE": "true",
        "TIDEMILL_DESTINATIONS__CRM__TIMEOUT": "60s",
    }
    first = await start_worker(NOTHING, **environ)
    await defined(mill)
    key = await mill.post("test.done", {"a": 1})
    await receiver.wait_for(1)
    first.signal(signal.SIGKILL)
    await start_worker(None, **environ)
    await receiver.wait_for(2)
    view = await mill.ended(run_of_event(key, PREFIX + "crm"))
    assert (view.status, view.state.attempt) == ("completed", 1)
    assert {request.headers["webhook-id"] for request in receiver.received} == {f"msg_{key}"}
