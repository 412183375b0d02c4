"""Senders that wait for what a run answers, on a whole house: gateway, router, worker and a real broker."""

from __future__ import annotations

import asyncio
import hmac
import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gateway import waiting
from tests.gateway.http.crew import serving
from tests.patience import PATIENCE, until
from tidemill.context import Context
from tidemill.kernel.jetstream.records import scan
from tidemill.kernel.protocol.records import Step
from tidemill.kernel.reply import HEADER
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.subjects import Names
from tidemill.kernel.trigger import parse_request
from tidemill.retry import Retry
from tidemill.sync_context import SyncContext
from tidemill.task import task

if TYPE_CHECKING:
    from conftest import BrokerProcess, House, Reply, Wire

pytestmark = pytest.mark.integration

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
BODY = b"command=%2Fdeploy&text=main&channel_id=C1"
Houses = Callable[..., Any]


class Held:
    """A task `deploy` that has begun, and answers when it is let go on."""

    def __init__(self, answer: Any) -> None:
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.executions: list[str] = []

        @task(on="slack.>", reply=True)
        async def deploy(_: dict[str, str], ctx: Context) -> bool:
            self.executions.append(ctx.run_id)
            self.begun.set()
            await self.go.wait()
            return await ctx.reply(answer)

        self.task = deploy


def slash(body: bytes = BODY, moment: int | None = None) -> dict[str, str]:
    """The headers of a slash command, signed as Slack documents it."""
    stamp = str(moment or int(time.time()))
    digest = hmac.digest(SECRET.encode(), b"v0:" + stamp.encode() + b":" + body, "sha256").hex()
    return {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": stamp,
        "x-slack-signature": f"v0={digest}",
    }


@pytest.fixture
def open_slack(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> Houses:
    """Opens a gateway with a Slack source whose senders wait; `lines` go to it, `gateway` to the gateway."""

    def opened(lines: str = "reply_timeout = 15", gateway: str = "") -> Any:
        source = f'preset = "slack"\nsecrets = ["{SECRET}"]\nreply = "run"\n{lines}\n'
        return housed(settled(broker.url, names, gateway=gateway, **{"sources.slack": source}))

    return opened


async def command(house: House, connect: Any, http_request: Any, moment: int | None = None) -> Reply:
    wire: Wire = await connect(house.public)
    await wire.send(http_request("/webhooks/slack", BODY, slash(moment=moment)))
    return await wire.reply()


async def forget_journals(house: House) -> None:
    """Close the journals of all runs, as the closer does."""
    for view in await Runs(house.broker).list():
        await house.broker.journal.close(view.id, expect=view.state.tail, keep=60)


async def forget_replies(house: House) -> None:
    for key in await house.broker.replies.keys():
        await house.broker.replies.delete(key)


async def result_of(house: House) -> Any:
    """Wait for the end of all runs, which come to the same, and return their result."""
    runs = Runs(house.broker)
    async with asyncio.timeout(PATIENCE):
        while True:
            views = await runs.list()
            if views and all(view.ended for view in views):
                assert {view.status for view in views} == {"completed"}
                assert all(view.result == views[0].result for view in views)
                return views[0].result
            await asyncio.sleep(0.02)


async def test_the_sender_gets_what_the_run_answers(
    open_slack: Houses, connect: Any, http_request: Any
) -> None:
    stored: list[dict[str, str]] = []

    @task(on="slack./deploy", reply=True)
    async def deploy(data: dict[str, str], ctx: Context) -> bool:
        found = scan(ctx_bus, ctx_bus.names.stream("EVENTS"), ctx_bus.names.subject("events", ">"))
        stored.extend([record.headers or {} async for record in found])
        return await ctx.reply({"text": f"deploying {data['text']}"}, status=201)

    async with open_slack() as house, serving(house, deploy):
        ctx_bus = house.broker.bus
        reply = await command(house, connect, http_request)
        assert await result_of(house) is True
    assert (reply.status, reply.json()) == (201, {"text": "deploying main"})
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["tidemill-status"] == "accepted"
    assert reply.headers["tidemill-reply"] == "answered"
    assert reply.headers["tidemill-event-id"]
    assert [HEADER in headers for headers in stored] == [True], "the event was durable first"


async def test_a_sync_handler_answers_with_text(open_slack: Houses, connect: Any, http_request: Any) -> None:
    @task(on="slack.>", reply=True)
    def deploy(_: dict[str, str], ctx: SyncContext) -> bool:
        return ctx.reply("<Response/>", media_type="text/xml")

    async with open_slack() as house, serving(house, deploy):
        reply = await command(house, connect, http_request)
        assert await result_of(house) is True
    assert (reply.status, reply.body) == (200, b"<Response/>")
    assert reply.headers["content-type"] == "text/xml; charset=utf-8"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("", (202, b"accepted")), ('answer = { status = 200, body = "on it" }', (200, b"on it"))],
)
async def test_who_waited_long_enough_gets_the_usual_answer(
    open_slack: Houses, connect: Any, http_request: Any, answer: str, expected: tuple[int, bytes]
) -> None:
    held = Held("late")
    async with open_slack(f"reply_timeout = 0.2\n{answer}") as house, serving(house, held.task):
        reply = await command(house, connect, http_request)
        held.go.set()
        assert await result_of(house) is False
        assert house.gateway.metrics.replies == {("slack", "late"): 1}
    assert reply.status == expected[0]
    assert expected[1] in reply.body
    assert reply.headers["tidemill-reply"] == "late"


async def test_nobody_waits_where_no_task_answers(
    open_slack: Houses, connect: Any, http_request: Any
) -> None:
    @task(on="slack./other", reply=True)
    async def other(_: dict[str, str], ctx: Context) -> bool:
        return await ctx.reply("hello")

    @task(on="slack./deploy")
    async def silent(_: dict[str, str], ctx: Context) -> bool:
        return await ctx.reply("hello")

    async with open_slack() as house, serving(house, other, silent):
        async with asyncio.timeout(10):  # and not the 15 s for which a sender waits here
            reply = await command(house, connect, http_request)
        assert await result_of(house) is False
    assert (reply.status, reply.headers["tidemill-reply"]) == (202, "unwanted")


async def test_a_duplicate_joins_those_who_wait_and_gets_what_was_answered(
    open_slack: Houses, connect: Any, http_request: Any
) -> None:
    held = Held({"text": "done"})
    moment = int(time.time())
    async with open_slack() as house, open_slack() as other, serving(house, held.task):
        first = asyncio.create_task(command(house, connect, http_request, moment))
        await asyncio.wait_for(held.begun.wait(), PATIENCE)
        senders = other.gateway._senders
        second = asyncio.create_task(command(other, connect, http_request, moment))
        await until(lambda: len(senders) == 1)
        held.go.set()
        replies = await asyncio.gather(first, second)
        assert await result_of(house) is True
        replies.append(await command(other, connect, http_request, moment))
        await forget_journals(house)
        replies.append(await command(other, connect, http_request, moment))
        await forget_replies(house)
        last = await command(other, connect, http_request, moment)
    assert [reply.json() for reply in replies] == [{"text": "done"}] * 4
    assert [reply.headers["tidemill-reply"] for reply in replies] == ["answered"] * 4
    assert [reply.headers["tidemill-status"] for reply in replies] == ["accepted"] + ["duplicate"] * 3
    assert (last.status, last.headers["tidemill-reply"]) == (202, "ended")
    assert len(held.executions) == 1


async def test_a_duplicate_of_what_ended_without_an_answer_doesnt_wait(
    open_slack: Houses, connect: Any, http_request: Any
) -> None:
    @task(on="slack.>", reply=True)
    async def deploy(_: dict[str, str], ctx: Context) -> str:
        return ctx.run_id

    moment = int(time.time())
    async with open_slack("reply_timeout = 0.3") as house, serving(house, deploy):
        await command(house, connect, http_request, moment)
        await result_of(house)
        reply = await command(house, connect, http_request, moment)
    assert (reply.headers["tidemill-status"], reply.headers["tidemill-reply"]) == ("duplicate", "ended")


async def test_more_than_may_wait_get_the_usual_answer_at_once(
    open_slack: Houses, connect: Any, http_request: Any
) -> None:
    held = Held("ok")
    moment = int(time.time())
    async with open_slack(gateway="max_waiting = 1") as house, serving(house, held.task):
        first = asyncio.create_task(command(house, connect, http_request, moment))
        await asyncio.wait_for(held.begun.wait(), PATIENCE)
        second = await command(house, connect, http_request, moment - 1)
        held.go.set()
        assert (await first).json() == "ok"
        assert len(house.gateway._senders) == 0
    assert (second.status, second.headers["tidemill-reply"]) == (202, "busy")


async def test_a_gateway_that_stops_gives_the_usual_answer(
    open_slack: Houses, connect: Any, http_request: Any
) -> None:
    begun = asyncio.Event()

    @task(on="slack.>", reply=True)
    async def deploy(_: dict[str, str], ctx: Context) -> bool:
        begun.set()
        return await ctx.step("never", asyncio.Event().wait)

    async with open_slack() as engine_house, serving(engine_house, deploy, roles=("router",), shutdown=0.1):
        async with open_slack() as house:
            waits = asyncio.create_task(command(house, connect, http_request))
            await asyncio.wait_for(begun.wait(), PATIENCE)
        reply = await asyncio.wait_for(waits, PATIENCE)
    assert (reply.status, reply.headers["tidemill-reply"]) == (202, "stopped")


async def test_a_sender_that_hangs_up_waits_no_more(
    open_slack: Houses, connect: Any, http_request: Any
) -> None:
    held = Held("too late")
    async with open_slack() as house, serving(house, held.task):
        wire = await connect(house.public)
        await wire.send(http_request("/webhooks/slack", BODY, slash()))
        await asyncio.wait_for(held.begun.wait(), PATIENCE)
        reset_at_close = struct.pack("ii", 1, 0)
        wire.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_at_close)
        wire.writer.transport.abort()
        await until(lambda: len(house.gateway._senders) == 0)
        held.go.set()
        assert await result_of(house) is False
        assert house.gateway.metrics.replies == {("slack", waiting.GONE): 1}


async def test_what_cant_be_sent_is_no_reason_to_fail_and_the_first_that_can_counts(
    open_slack: Houses, connect: Any, http_request: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @task(on="slack.>", reply=True)
    async def deploy(_: dict[str, str], ctx: Context) -> list[bool]:
        return [
            await ctx.reply({"a set": {1, object()}}),
            await ctx.reply("x" * 65_537, media_type="text/plain"),
            await ctx.reply("", status=302),
            await ctx.reply("", media_type="text/plain\r\nSet-Cookie: a=b"),
            await ctx.reply("first", media_type="text/plain"),
            await ctx.reply("second", media_type="text/plain"),
        ]

    async with open_slack() as house, serving(house, deploy):
        reply = await command(house, connect, http_request)
        assert await result_of(house) == [False, False, False, False, True, False]
    assert reply.body == b"first"
    assert "set-cookie" not in reply.headers
    said = [record.message for record in caplog.records if record.name == "tidemill.durable.replies"]
    assert len(said) == 5
    assert "65537 bytes is longer" in said[1]


async def test_an_attempt_that_fails_and_a_run_that_sleeps_answer_once(
    open_slack: Houses, connect: Any, http_request: Any
) -> None:
    heard: list[tuple[int, bool]] = []

    @task(on="slack.>", reply=True, retry=Retry(max_attempts=2, min_delay=0, max_delay=0))
    async def deploy(_: dict[str, str], ctx: Context) -> bool:
        answered = await ctx.reply(f"attempt {ctx.attempt}")
        heard.append((ctx.attempt, answered))
        if ctx.attempt == 1:
            raise ValueError("once more")
        await ctx.sleep(0.05)
        return answered

    async with open_slack() as house, serving(house, deploy):
        reply = await command(house, connect, http_request)
        assert await result_of(house) is True
        view = (await Runs(house.broker).list())[0]
        view = await Runs(house.broker).get(view.id)
    assert reply.json() == "attempt 1"
    assert {answered for _, answered in heard} == {True}
    assert [number for number, _ in heard] == [1, 2, 2], "the last is the run that was resumed"
    kept = [entry.record for entry in view.entries if isinstance(entry.record, Step)]
    assert sum(step.key == "reply:sender" for step in kept) == 1


async def test_a_run_that_was_triggered_has_no_sender(open_slack: Houses) -> None:
    @task(on="slack.>", reply=True)
    async def deploy(_: dict[str, str], ctx: Context) -> bool:
        return await ctx.reply("hello")

    async with open_slack() as house, serving(house, deploy):
        await Runs(house.broker).trigger(parse_request("deploy", b'{"text": "main"}', {}))
        assert await result_of(house) is False


async def test_what_else_comes_there_is_no_answer(
    open_slack: Houses, connect: Any, http_request: Any
) -> None:
    addresses: list[str] = []
    held = Held("the run's")
    async with open_slack() as house, serving(house, held.task):
        bus = house.broker.bus
        await bus.subscribe(bus.names.subject("replies", ">"), lambda m: addresses.append(m.subject))
        waits = asyncio.create_task(command(house, connect, http_request))
        await asyncio.wait_for(held.begun.wait(), PATIENCE)
        view = (await Runs(house.broker).list())[0]
        assert view.state.created is not None
        assert view.state.created.event is not None
        address = bus.names.reply(view.state.created.event["deliverykey"])
        for body in (b"", b"nonsense", b'{"status": 200, "media_type": "a\\r\\nb: c"}\nx', b"[]\n"):
            await bus.send(address, body)
        held.go.set()
        reply = await waits
        assert await result_of(house) is True
    assert reply.json() == "the run's"
    assert set(addresses) == {address}


async def test_a_broker_that_dies_leaves_nobody_waiting(  # noqa: PLR0913, PLR0917 - fixtures
    own_broker: BrokerProcess,
    names: Names,
    settled: Callable[..., Settings],
    housed: Houses,
    connect: Any,
    http_request: Any,
) -> None:
    held = Held("back again")
    source = f'preset = "slack"\nsecrets = ["{SECRET}"]\nreply = "run"\nreply_timeout = 0.5\n'
    settings = settled(own_broker.url, names, **{"sources.slack": source})
    moment = int(time.time())
    async with housed(settings) as house, serving(house, held.task):
        waits = asyncio.create_task(command(house, connect, http_request, moment))
        await asyncio.wait_for(held.begun.wait(), PATIENCE)
        own_broker.kill()
        reply = await asyncio.wait_for(waits, PATIENCE)
        assert (reply.status, reply.headers["tidemill-reply"]) == (202, "late")
        own_broker.start()
        held.go.set()
        for _ in range(200):  # senders come again as long as they are told to
            reply = await command(house, connect, http_request, moment - 1)
            if reply.headers.get("tidemill-reply") == "answered":
                break
            await asyncio.sleep(0.05)
        assert reply.json() == "back again"
        assert len(house.gateway._senders) == 0


async def test_of_two_tasks_the_first_answers(open_slack: Houses, connect: Any, http_request: Any) -> None:
    answered = asyncio.Event()

    @task(on="slack.>", reply=True)
    async def quick(_: dict[str, str], ctx: Context) -> bool:
        said = await ctx.reply("quick")
        answered.set()
        return said

    @task(on="slack.>", reply=True)
    async def slow(_: dict[str, str], ctx: Context) -> bool:
        await answered.wait()
        return not await ctx.reply("slow")

    moment = int(time.time())
    async with open_slack() as house, serving(house, quick, slow):
        first = await command(house, connect, http_request, moment)
        assert await result_of(house) is True
        assert len(await Runs(house.broker).list()) == 2
        again = await command(house, connect, http_request, moment)
    assert [first.json(), again.json()] == ["quick", "quick"]
