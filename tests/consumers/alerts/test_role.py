"""Alerts as users have them: something on the broker, a message at the receiver."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from standardwebhooks.webhooks import Webhook

from consumers.alerts import budget
from consumers.alerts.role import Alerting
from consumers.alerts.state import AlertState
from tests.consumers.conftest import until
from tidemill import Context, task
from tidemill.kernel.decision import Decision
from tidemill.kernel.errors import ConflictError, NotFoundError, PayloadError
from tidemill.kernel.services.alerts import STATE
from tidemill.kernel.services.tokens import Tokens

if TYPE_CHECKING:
    from tests.consumers.alerts.conftest import Receiver, Watch

pytestmark = pytest.mark.integration


async def test_failed_runs_make_one_signed_message_with_links(
    watch: Watch, receiver: Receiver, secret: str
) -> None:
    hook = {"url": receiver.url, "allow_private": True, "secrets": [secret]}
    settings = watch.settings(
        alerts={"webhook": {"ops": hook}}, control={"public_url": "https://mill.example.com"}
    )
    await watch.bury("before it began")
    async with watch.running(settings):
        await watch.bury("deploy", error="password=hunter2 is wrong")
        await watch.bury("deploy")
        await watch.bury("ship/it")
        await receiver.wait_for(1)
        state = await watch.until(lambda state: state.channels["ops"].sent == 1)
    [request] = receiver.received
    document = Webhook(secret).verify(request.body, request.headers)
    data = document["data"]
    assert document["type"] == "tidemill.alert.firing"
    assert request.headers["webhook-id"] == data["id"] == state.sent[0].id
    assert (data["rule"], data["severity"], data["more"]) == ("run_failed", "warning", 0)
    deploy, ship = data["alerts"]
    assert (deploy["key"], deploy["count"], ship["key"]) == ("deploy", 2, "ship/it")
    assert deploy["summary"] == "2 runs of deploy failed"
    assert ship["url"] == "https://mill.example.com/dead?task=ship%2Fit"
    texts = {one["text"] for one in deploy["examples"]}
    assert texts == {"ValueError: password=*** is wrong", "ValueError: it leaks"}
    assert deploy["examples"][0]["url"].startswith("https://mill.example.com/dead/run_")
    assert b"secret frames" not in request.body
    assert orjson.loads(request.body) == document


async def test_a_burst_makes_a_handful_of_messages(watch: Watch, receiver: Receiver) -> None:
    async with watch.running() as _:
        await asyncio.gather(*(watch.bury(f"task{number % 40}") for number in range(10_000)))
        state = await watch.until(lambda state: sum(one.total for one in state.alerts) >= 10_000)
        await watch.until(lambda state: not state.outbox)
    assert 1 <= len(receiver.received) <= 8
    assert sum(alert.rule == "run_failed" for alert in state.alerts) == 40
    data = orjson.loads(receiver.received[0].body)["data"]
    assert (len(data["alerts"]), data["more"]) == (10, 30)


async def test_quarantine_and_drift_are_told_without_data(watch: Watch, receiver: Receiver) -> None:
    names, bus = watch.mill.names, watch.mill.broker.bus
    reason = {"code": "schema", "detail": "'hunter2' is too short", "path": "$.password"}
    entry = orjson.dumps({"id": "1", "source": "shop", "quarantine": reason}) + b"\nhunter2"
    pair = (
        orjson.dumps({"pair": {"task": "ship", "clause": "data.x", "value": "hunter2"}, "event": {}}) + b"\n"
    )
    findings = [{"kind": "new_value", "path": "$.kind", "events": 1, "example": "hunter2"}]
    async with watch.running():
        await bus.publish(names.quarantine("shop", "k1"), entry)
        await bus.publish(names.quarantine("till", "k2"), pair)
        await bus.publish(names.quarantine("till", "k3"), b"\xff\n")
        drift = {"source": "shop", "type": "order.paid", "findings": findings}
        await bus.publish(names.record("drift", "shop", "d1"), orjson.dumps(drift))
        await bus.publish(names.record("drift", "shop", "d2"), b"nonsense")
        await watch.until(lambda state: {one.kind for one in state.alerts} == {"quarantine", "drift"})
        await receiver.wait_for(2)
        await watch.until(lambda state: not state.outbox)
    sent = b"".join(request.body for request in receiver.received)
    for words in (
        b"schema at $.password",
        b"the condition of task ship can't judge it",
        b"its entry can't be read",
        b"new value at $.kind",
        b"events shop order.paid differ",
    ):
        assert words in sent
    assert b"hunter2" not in sent


async def test_the_share_counts_what_ends_while_somebody_looks(watch: Watch, receiver: Receiver) -> None:
    rules = {"failure_rate": {"kind": "failure_rate", "min_runs": 10, "threshold": 0.5}}
    settings = watch.settings(alerts={"defaults": False, "rules": rules})
    for _ in range(20):
        await watch.bury("deploy")  # nobody heard of their ends
    async with watch.running(settings):
        await watch.until(lambda state: state.places and state.places["DEAD"].seq == 20)
        mark = {"run": "run_1", "task": "deploy", "seq": 1, "at": 0.0}
        await watch.mill.broker.bus.send(watch.mill.names.subject("ended"), orjson.dumps([mark] * 12))
        for _ in range(5):
            await watch.bury("deploy")
        await watch.until(lambda state: state.places["DEAD"].seq == 25)
        assert (await watch.state()).alerts == []
        await watch.mill.broker.bus.send(watch.mill.names.subject("ended"), b"nonsense")
        for _ in range(2):
            await watch.bury("deploy")
        await receiver.wait_for(1)
    summary = orjson.loads(receiver.received[0].body)["data"]["alerts"][0]["summary"]
    assert summary == "58% of the runs of deploy failed within 15 min"


async def test_a_queue_that_nobody_serves_is_told_and_its_end(watch: Watch, receiver: Receiver) -> None:
    @task(id="slow")
    async def slow() -> None:
        return

    rules = {"old": {"kind": "queue_age", "threshold": 0.3, "lasting": 0.2, "severity": "critical"}}
    settings = watch.settings(alerts={"defaults": False, "rules": rules})
    async with watch.mill.worker(slow):
        pass  # now the task is known, and nobody serves it
    async with watch.running(settings):
        await watch.mill.trigger("slow")
        await receiver.wait_for(1)
        async with watch.mill.worker(slow):
            await receiver.wait_for(2)
    first, second = (orjson.loads(request.body) for request in receiver.received[:2])
    assert (first["type"], second["type"]) == ("tidemill.alert.firing", "tidemill.alert.resolved")
    assert first["data"]["alerts"][0]["summary"].startswith("a run of slow has waited for")
    assert first["data"]["severity"] == "critical"


async def test_a_source_that_is_silent_is_told_until_it_speaks(watch: Watch, receiver: Receiver) -> None:
    rules = {"silent": {"kind": "source_silent", "threshold": 0.5, "sources": ["shop*"]}}
    sources = {name: {"preset": "github", "secrets": ["x"]} for name in ("shop", "till")}
    settings = watch.settings(alerts={"defaults": False, "rules": rules}, sources=sources)
    async with watch.running(settings):
        await receiver.wait_for(1)
        line = orjson.dumps({"at": 1.0, "source": "shop", "verdict": "accepted"})
        await watch.mill.broker.bus.publish(watch.mill.names.subject("deliveries", "x"), b"broken\n" + line)
        await receiver.wait_for(2)
    first, second = (orjson.loads(request.body)["data"] for request in receiver.received[:2])
    assert [alert["key"] for alert in first["alerts"]] == ["shop"]
    assert second["status"] == "resolved"


async def test_an_approval_that_nobody_answers_is_told(watch: Watch, receiver: Receiver) -> None:
    @task(id="ship")
    async def ship(ctx: Context) -> None:
        await ctx.wait_for_approval("answered", timeout="1h")
        await ctx.wait_for_approval("leave <!here>", timeout="3s")

    settings = watch.settings(control={"public_url": "https://mill.example.com"})
    async with watch.mill.worker(ship), watch.mill.engine("router", "mailman"), watch.running(settings):
        run = await watch.mill.trigger("ship")
        tokens = Tokens(watch.mill.broker)
        await until(tokens.list)
        await tokens.complete(f"{run}.answered", Decision("ada"))
        await receiver.wait_for(1)
    data = orjson.loads(receiver.received[0].body)["data"]
    assert (data["kind"], data["alerts"][0]["key"]) == ("approval_expiring", f"{run}.leave <!here>")
    assert data["alerts"][0]["summary"].startswith("ship asks for leave <!here> until ")
    assert data["alerts"][0]["url"] == f"https://mill.example.com/approvals/{run}.leave%20%3C%21here%3E"


async def test_a_receiver_that_fails_is_tried_again_under_the_same_id(
    watch: Watch, receiver: Receiver, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "_FIRST_PAUSE", 0.05)
    receiver.answers = [answer(500), answer(503), answer(200)]
    async with watch.running():
        await watch.bury("deploy")
        state = await watch.until(lambda state: "ops" in state.channels and state.channels["ops"].sent)
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1
    assert len({request.body for request in receiver.received}) == 1
    assert (state.sent[-1].tries, state.sent[-1].outcome) == (3, "sent")


async def test_a_channel_that_hangs_keeps_no_other_waiting(watch: Watch, receiver: Receiver) -> None:
    over = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    night = {"host": "127.0.0.1", "port": port, "tls": "none", "sender": "a@b.example", "to": ["c@d.example"]}
    slack = {"url": f"http://127.0.0.1:{port}/x", "allow_private": True}
    given = {"email": {"night": night}, "slack": {"chat": slack}, "timeout": 0.5, "retry_for": 1}
    async with watch.running(watch.settings(alerts=given)):
        await watch.bury("deploy")
        await receiver.wait_for(1)
        state = await watch.until(
            lambda state: {name for name, one in state.channels.items() if one.problem} == {"night", "chat"}
        )
    over.set()
    await asyncio.sleep(0)
    server.close()
    assert state.channels["ops"].sent == 1
    assert state.channels["night"].problem == "127.0.0.1 didn't take it within 0.5 s"
    assert state.channels["chat"].problem == "no answer within 0.5 s"


async def test_two_processes_tell_once_and_one_goes_on(watch: Watch, receiver: Receiver) -> None:
    second = Alerting(watch.mill.broker, watch.settings(), stale=20)
    async with watch.running():
        standing_by = asyncio.create_task(second.run(), name="the second")
        await watch.bury("deploy")
        await receiver.wait_for(1)
        await watch.until(lambda state: not state.outbox and state.alerts)
        holder = (await watch.state()).holder
    await watch.until(lambda state: state.holder != holder and not state.released)
    await watch.bury("deploy")
    await watch.bury("ship")
    await receiver.wait_for(2)
    await second.stop()
    await asyncio.wait_for(standing_by, 20)
    first, after = (orjson.loads(request.body)["data"] for request in receiver.received)
    assert [alert["key"] for alert in first["alerts"]] == ["deploy"]
    assert [(alert["key"], alert["count"]) for alert in after["alerts"]] == [("ship", 1), ("deploy", 2)]


async def test_what_came_while_nobody_looked_is_told(watch: Watch, receiver: Receiver) -> None:
    async with watch.running():
        pass
    await watch.bury("deploy")
    async with watch.running():
        await receiver.wait_for(1)
    assert orjson.loads(receiver.received[0].body)["data"]["alerts"][0]["count"] == 1


async def test_a_state_that_another_took_over_is_left_alone(watch: Watch) -> None:
    async with watch.running(stale=0.4):
        before = await watch.state()
        other = AlertState.unpack(before.pack())
        other.holder = "somebody else"
        await watch.mill.broker.alerts.put(STATE, other.pack())
        state = await watch.until(lambda state: state.holder == before.holder)
    assert state.holder == before.holder, "the other one is gone: its state is taken over in turn"


async def test_silences_hold_messages_back_until_they_end(watch: Watch, receiver: Receiver) -> None:
    silence = await watch.alerts.silence(
        {"rule": "run_*", "key": "dep*", "seconds": 60, "comment": "x"}, "ada"
    )
    async with watch.running():
        await watch.bury("deploy")
        await watch.bury("ship")
        await receiver.wait_for(1)
        shown = await watch.alerts.show()
        assert {one["key"]: one["silenced"] for one in shown["alerts"]} == {
            "deploy": silence.id,
            "ship": None,
        }
        await watch.alerts.end_silence(silence.id)
        await receiver.wait_for(2)
    keys = [
        [one["key"] for one in orjson.loads(request.body)["data"]["alerts"]] for request in receiver.received
    ]
    assert keys == [["ship"], ["deploy", "ship"]]
    with pytest.raises(NotFoundError):
        await watch.alerts.end_silence(silence.id)


@pytest.mark.parametrize(
    "given",
    [
        {"rule": ""}, {"rule": 5}, {"rule": "x" * 256}, {"seconds": 0}, {"seconds": "1h"}, {"seconds": True},
        {"seconds": float("nan")}, {"seconds": 1e9}, {"comment": "\ud800"}, {"who": "me"},
    ],
)  # fmt: skip
async def test_a_silence_that_makes_no_sense_is_refused(watch: Watch, given: dict[str, Any]) -> None:
    with pytest.raises(PayloadError):
        await watch.alerts.silence(given, "ada")


async def test_a_channel_is_tried_where_alerts_go(watch: Watch, receiver: Receiver, answer: Any) -> None:
    with pytest.raises(ConflictError, match="no engine evaluates"):
        await watch.alerts.test("ops")
    receiver.answers = [answer(200), answer(500)]
    async with watch.running():
        taken = await watch.alerts.test("ops")
        refused = await watch.alerts.test("ops")
        with pytest.raises(NotFoundError, match="there is no channel 'night'"):
            await watch.alerts.test("night")
    assert (taken["taken"], taken["problem"]) == (True, None)
    assert (refused["taken"], refused["problem"]) == (False, "it answered 500 Internal Server Error")
    assert orjson.loads(receiver.received[0].body)["type"] == "tidemill.alert.test"


async def test_switched_off_it_watches_nothing(watch: Watch) -> None:
    role = Alerting(watch.mill.broker, watch.settings(alerts={"enabled": False}))
    running = asyncio.create_task(role.run(), name="off")
    await role.stop()
    await asyncio.wait_for(running, 5)
    assert (await watch.state()).holder == ""
