"""Alerts as users have them: something on the broker, a message at the receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
from standardwebhooks.webhooks import Webhook

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
