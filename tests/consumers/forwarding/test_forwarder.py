"""Forwarding as users have it: an event on the broker, a request at the destination, a run between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from standardwebhooks.webhooks import Webhook

from tests.patience import until
from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT
from tidemill.kernel.services import registry
from tidemill.kernel.services.destinations import PREFIX, Disabled
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.services.run_view import RunView
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.subjects import run_of_event

if TYPE_CHECKING:
    from conftest import Mill, Receiver

pytestmark = pytest.mark.integration
ROLES = ("router", "mailman", "forwarder")
Open = Callable[..., Any]


@pytest.fixture
def forwarding(mill: Mill, receiver: Receiver) -> Open:
    """Runs an engine with a destination that leads to the receiver; keywords are its settings."""

    @asynccontextmanager
    async def opened(**given: Any) -> AsyncIterator[None]:
        retry = {"max_attempts": 3, "min_delay": 0.05, "factor": 1, "max_delay": 0.05}
        table = {"url": receiver.url, "on": ["test.>"], "allow_private": True, "retry": retry, **given}
        overrides = {"destinations": {"crm": table}, "worker": {"lease": 2}}
        settings = Settings.load(environ={}, overrides=overrides)
        async with mill.engine(*ROLES, settings=settings):
            definitions = Definitions(mill.broker.tasks)

            async def served() -> bool:
                await definitions.refresh()
                found = [one for one in definitions.active() if one.id == PREFIX + "crm"]
                return bool(found) and found[0].on == tuple(table["on"])

            await until(served)
            yield

    return opened


def run_of(key: str) -> str:
    return run_of_event(key, PREFIX + "crm")


async def view_of(mill: Mill, key: str) -> RunView | None:
    """Return the run that forwards an event; None as long as the router hasn't got to it."""
    try:
        return await mill.runs.get(run_of(key))
    except NotFoundError:
        return None


async def ended(mill: Mill, key: str) -> RunView:
    async def look() -> RunView | None:
        view = await view_of(mill, key)
        return view if view is not None and view.ended else None

    found: RunView = await until(look)
    return found


async def test_an_event_goes_to_the_destination(
    mill: Mill, receiver: Receiver, forwarding: Open, secret: str
) -> None:
    async with forwarding(secrets=[secret], where="data.a == 1"):
        await mill.post("test.done", {"a": 2})
        await mill.post("other.done", {"a": 1})
        key = await mill.post("test.done", {"a": 1})
        view = await ended(mill, key)
    assert (view.status, view.result["status"]) == ("completed", 200)
    [request] = receiver.received
    assert Webhook(secret).verify(request.body, request.headers) == {"a": 1}
    assert request.headers["webhook-id"] == f"msg_{key}"


async def test_a_large_body_arrives_whole(mill: Mill, receiver: Receiver, forwarding: Open) -> None:
    raw = b'"' + b"a" * (3 * INLINE_LIMIT) + b'"'
    async with forwarding():
        key = await mill.post_large("test.done", raw)
        await ended(mill, key)
    assert receiver.received[0].body == raw


async def test_it_is_tried_again_under_the_same_id_until_it_works(
    mill: Mill, receiver: Receiver, forwarding: Open, answer: Any
) -> None:
    receiver.answers = [answer(503), answer(429, "retry-after: 0"), answer(200)]
    async with forwarding():
        key = await mill.post("test.done", {})
        view = await ended(mill, key)
    assert (view.status, view.state.attempt) == ("completed", 3)
    assert [request.headers["webhook-id"] for request in receiver.received] == [f"msg_{key}"] * 3


@pytest.mark.parametrize(("status", "requests"), [(500, 3), (422, 1)])
async def test_what_is_never_taken_is_a_dead_letter_that_can_be_sent_again(  # noqa: PLR0913, PLR0917 - fixtures and what varies
    mill: Mill, receiver: Receiver, forwarding: Open, answer: Any, status: int, requests: int
) -> None:
    receiver.answers = [answer(status)]
    async with forwarding():
        key = await mill.post("test.done", {})
        view = await ended(mill, key)
        assert view.status == "failed"
        assert view.state.end is not None
        assert view.state.end.fault is not None
        assert f"crm answered {status}" in view.state.end.fault.message
        assert len(receiver.received) == requests
        receiver.answers = [answer(200)]
        await mill.dead.retry(run_of(key))
        await mill.when(run_of(key), lambda view: view.status == "completed")


async def test_a_destination_that_is_gone_gets_nothing_until_it_is_enabled(
    mill: Mill, receiver: Receiver, forwarding: Open, answer: Any
) -> None:
    receiver.answers = [answer(410)]
    disabled = Disabled(mill.broker.destinations)
    async with forwarding():
        first = await ended(mill, await mill.post("test.done", {"n": 1}))
        second = await ended(mill, await mill.post("test.done", {"n": 2}))
        assert [first.status, second.status] == ["failed", "failed"]
        assert list(await disabled.all()) == ["crm"]
        assert len(receiver.received) == 1
        receiver.answers = [answer(200)]
        await disabled.enable("crm")
        await asyncio.sleep(2.1)  # for as long others may not have heard of it
        third = await ended(mill, await mill.post("test.done", {"n": 3}))
    assert third.status == "completed"


async def test_no_more_than_its_concurrency_at_a_time(
    mill: Mill, receiver: Receiver, forwarding: Open, answer: Any
) -> None:
    async def slowly(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.write(answer(200))

    receiver.answers = [slowly]
    async with forwarding(concurrency=2):
        keys = [await mill.post("test.done", {"n": n}) for n in range(8)]
        for key in keys:
            assert (await ended(mill, key)).status == "completed"
    assert receiver.most_open == 2


async def test_an_open_breaker_costs_no_attempts_and_lets_all_go_when_it_closes(
    mill: Mill, receiver: Receiver, forwarding: Open, answer: Any
) -> None:
    receiver.answers = [answer(500)] * 2 + [answer(200)]
    retry = {"max_attempts": 2, "min_delay": 0.05, "factor": 1, "max_delay": 0.05}
    async with forwarding(breaker_failures=2, breaker_pause=0.5, concurrency=1, retry=retry):
        keys = [await mill.post("test.done", {"n": n}) for n in range(6)]
        views = [await ended(mill, key) for key in keys]
    assert [view.status for view in views] == ["completed"] * 6
    assert len(receiver.received) == 8


async def test_a_stop_gives_back_what_waits_for_the_breaker(
    mill: Mill, receiver: Receiver, forwarding: Open, answer: Any
) -> None:
    receiver.answers = [answer(500)]
    async with forwarding(breaker_failures=1, breaker_pause=600, concurrency=2):
        keys = [await mill.post("test.done", {"n": n}) for n in range(3)]
        await receiver.wait_for(1)

        async def all_but_one_wait() -> bool:
            views = [await view_of(mill, key) for key in keys]
            return sum(view is not None and view.status == "running" for view in views) == 2

        await until(all_but_one_wait)
        stopped = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - stopped < 5, "and not the pause of the breaker"
    receiver.answers = [answer(200)]
    async with forwarding():
        for key in keys:
            view = await ended(mill, key)
            assert view.status == "completed"
            assert view.state.claims <= 2


async def test_changed_settings_are_in_force_also_when_they_are_changed_back(
    mill: Mill, receiver: Receiver, forwarding: Open
) -> None:
    for pattern, other in (("test.a", "test.b"), ("test.b", "test.a"), ("test.a", "test.b")):
        async with forwarding(on=[pattern]):
            unwanted = await mill.post(other, {"is": other})
            view = await ended(mill, await mill.post(pattern, {"is": pattern}))
            assert view.status == "completed"
            assert await view_of(mill, unwanted) is None
    assert [orjson.loads(one.body)["is"] for one in receiver.received] == ["test.a", "test.b", "test.a"]


async def test_a_forgotten_destination_is_named(
    mill: Mill, receiver: Receiver, forwarding: Open, caplog: pytest.LogCaptureFixture
) -> None:
    await registry.publish(mill.broker.tasks, TaskDefinition(id=PREFIX + "old", on=("a.b",)))
    async with mill.engine("forwarder"):  # also where there are no others

        async def named() -> bool:
            return any(
                "`tidemill tasks remove forward.old`" in record.getMessage() for record in caplog.records
            )

        await until(named)
    async with forwarding():
        pass
    said = [record.getMessage() for record in caplog.records]
    assert [text for text in said if "`tidemill tasks remove forward.old` ends that" in text]
    assert receiver.received == []
