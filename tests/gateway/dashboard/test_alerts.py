"""The page and the API of alerts, over an engine that evaluates and a receiver that takes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.consumers.forwarding.conftest import Receiver, http, receiver
from tests.gateway.dashboard.conftest import HOSTILE, Desk, open_desk
from tests.patience import until
from tidemill.kernel.letters import undecodable

if TYPE_CHECKING:
    from tests.conftest import BrokerProcess
    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration
__all__ = ["receiver"]


@pytest.fixture
async def alarmed(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], receiver: Receiver
) -> AsyncIterator[Desk]:
    """A desk beside an engine whose alerts go to the receiver, with one that fires."""
    more = (
        "[alerts]\ninterval = 0.1\ngroup_wait = 0.1\n"
        f'[alerts.webhook.ops]\nurl = "{receiver.url}"\nallow_private = true\n'
        f'[alerts.slack.chat]\nurl = "{receiver.url}"\nallow_private = true\n'
    )
    async with open_desk(settled(broker.url, names, more=more)) as desk, desk.mill.engine("alerts"):
        await desk.when("/alerts", "Nothing.", "Send a test")
        body = undecodable("x", b"", HOSTILE)
        await desk.mill.broker.bus.publish(desk.mill.names.dead(HOSTILE, "message-1"), body)
        await receiver.wait_for(2)
        yield desk


async def shown(desk: Desk) -> Any:
    return (await desk.client.get("/api/v1/alerts")).raise_for_status().json()


async def test_the_page_shows_what_fires_and_what_was_sent(alarmed: Desk) -> None:
    page = await alarmed.when("/alerts", "&lt;script&gt;", 'data-status="sent"')
    assert 'href="/dead?task=%3Cscript%3Ealert%281%29%3C%2Fscript%3E"' in page
    assert "a run of &lt;script&gt;" in page

    async def both_sent() -> Any:
        found = await shown(alarmed)
        return found if len(found["sent"]) == 2 else None

    document = await until(both_sent)
    [alert] = document["alerts"]
    assert (alert["status"], alert["rule"]) == ("firing", "run_failed")
    assert (alert["key"], alert["total"]) == (HOSTILE, 1)
    assert {one["name"]: one["sent"] for one in document["channels"]} == {"ops": 1, "chat": 1}
    assert {one["channel"] for one in document["sent"]} == {"ops", "chat"}
    assert document["evaluated"] is True
    assert "127.0.0.1" not in orjson.dumps(document).decode(), "addresses of channels are secrets"


async def test_a_silence_is_made_shown_and_ended_by_forms(alarmed: Desk) -> None:
    fields = {"rule": "run_*", "key": HOSTILE, "length": "90m", "comment": HOSTILE}
    assert await alarmed.follow("/alerts/silences", **fields) == "/alerts?said=silenced"
    page = await alarmed.page("/alerts?said=silenced")
    assert "It is silenced." in page
    [silence] = (await shown(alarmed))["silences"]
    assert (silence["key"], silence["comment"]) == (HOSTILE, HOSTILE)
    assert (await shown(alarmed))["alerts"][0]["silenced"] == silence["id"]
    assert await alarmed.follow(f"/alerts/silences/{silence['id']}/end") == "/alerts?said=ended"
    assert (await shown(alarmed))["silences"] == []
    assert (await alarmed.send(f"/alerts/silences/{silence['id']}/end")).status_code == 404


async def test_a_form_that_says_nonsense_comes_back_with_what_was_written(alarmed: Desk) -> None:
    for fields in ({"length": "soon"}, {"length": "200d"}, {"rule": ""}, {"key": "k" * 300}):
        answer = await alarmed.send("/alerts/silences", **{"rule": "r", "key": "k", "length": "1h", **fields})
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text


async def test_a_channel_is_tried_by_a_form(alarmed: Desk, receiver: Receiver) -> None:
    assert await alarmed.follow("/alerts/channels/ops/test") == "/alerts?said=taken"
    receiver.answers = [http(404)]
    there = await alarmed.follow("/alerts/channels/chat/test")
    assert "it answered 404 Not Found" in await alarmed.page(there)
    assert (await alarmed.send("/alerts/channels/nobody/test")).status_code == 404


async def test_the_api_silences_and_tries(alarmed: Desk, receiver: Receiver) -> None:
    made = await alarmed.client.post("/api/v1/alerts/silences", json={"rule": "drift", "seconds": 60})
    assert (made.status_code, made.json()["rule"], made.json()["key"]) == (201, "drift", "*")
    wrong = await alarmed.client.post("/api/v1/alerts/silences", json={"rules": "drift"})
    assert wrong.status_code == 422
    gone = await alarmed.client.delete(f"/api/v1/alerts/silences/{made.json()['id']}")
    assert gone.json() == {"ended": made.json()["id"]}
    for name in (made.json()["id"], "*", "%3E", "a.b"):
        assert (await alarmed.client.delete(f"/api/v1/alerts/silences/{name}")).status_code == 404
    tried = (await alarmed.client.post("/api/v1/alerts/channels/ops/test")).json()
    assert (tried["taken"], tried["channel"]) == (True, "ops")
    audit = (await alarmed.client.get("/api/v1/audit")).json()["audit"]
    assert {one["action"] for one in audit} >= {
        "alerts.silences",
        "alerts.silences.delete",
        "alerts.channels.test",
    }
    assert orjson.loads(receiver.received[-1].body)["type"] == "tidemill.alert.test"


async def test_metrics_say_how_alerts_stand(alarmed: Desk) -> None:
    async def look() -> str | None:
        text = (await alarmed.client.get("/metrics")).text
        return text if 'tidemill_alert_messages_total{channel="ops",outcome="sent"} 1.0' in text else None

    text = await until(look)
    for line in (
        "tidemill_alerts_evaluated 1.0",
        'tidemill_alerts_firing{rule="run_failed"} 1.0',
        'tidemill_alerts_firing{rule="drift"} 0.0',
        'tidemill_alert_messages_waiting{channel="chat"} 0.0',
    ):
        assert line in text


async def test_without_an_engine_the_page_says_so(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings]
) -> None:
    async with open_desk(settled(broker.url, names)) as desk:
        assert "Nobody evaluates alerts" in await desk.page("/alerts")
        tried = await desk.client.post("/api/v1/alerts/channels/ops/test")
        assert (tried.status_code, "no engine evaluates" in tried.json()["detail"]) == (409, True)
