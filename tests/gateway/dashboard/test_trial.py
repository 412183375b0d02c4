"""The test page: samples that are sent as their sender would, runs that are started, what is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tidemill.kernel.settings.keys import create_key, hash_key

if TYPE_CHECKING:
    from tests.conftest import BrokerProcess
    from tests.gateway.dashboard.conftest import Desk
    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration
HOSTILE = "<script>alert(1)</script>"
SOURCES = """
[sources.box]
preset = "github"
secrets = ["one of them"]
[sources.slack]
preset = "slack"
secrets = ["another"]
[sources.shop]
preset = "github"
tenants = "required"
[sources.keyless]
preset = "discord"
secrets = ["3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"]
"""


@pytest.fixture
async def trial(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], desk_of: Callable[..., Any]
) -> AsyncIterator[Desk]:
    settings = settled(broker.url, names, more=SOURCES)
    async with desk_of(settings, "router", "mailman", "history") as desk:
        yield desk


def send(**fields: str) -> dict[str, str]:
    return {"source": "box", "type": "push"} | fields


async def test_a_sample_goes_the_whole_way_and_its_runs_appear(trial: Desk) -> None:
    page = await trial.page("/test?source=box&type=push")
    assert "refs/heads/" in page
    path = await trial.follow("/test/send", **send(type="push"))
    assert "status=accepted" in path
    assert "/runs/run_" in await trial.when(path.partition("#")[0], 'data-status="completed"')
    event = path.split("event=")[1].partition("&")[0]
    delivery = (await trial.client.get(f"/api/v1/events/{event}")).json()
    assert delivery["event"]["type"] == "box.push"
    again = await trial.follow("/test/send", **send(id=event))
    assert "status=duplicate" in again
    assert "It had come before" in await trial.page(again.partition("#")[0])


async def test_what_is_written_is_sent_as_its_provider_writes_it(trial: Desk) -> None:
    document = {"zen": HOSTILE, "n": 1}
    path = await trial.follow("/test/send", **send(type="custom", document=json.dumps(document)))
    await trial.page(path.partition("#")[0])
    event = path.split("event=")[1].partition("&")[0]
    assert (await trial.client.get(f"/api/v1/events/{event}")).json()["data"] == document
    slack = await trial.follow("/test/send", source="slack", type="message")
    assert "status=accepted" in slack


async def test_what_cant_be_processed_goes_into_quarantine(trial: Desk) -> None:
    for fields, told in (
        ({"document": "{no json"}, "status=quarantined"),
        ({"document": "\x00\ud7ff" * 500_000}, "status=quarantined"),
        ({"document": json.dumps(HOSTILE * 40_000)}, "status=quarantined"),
        (
            {"type": "pull_request", "document": '{"action":"opened","number":"<i>x</i>"}'},
            "status=quarantined",
        ),
    ):
        path = await trial.follow("/test/send", **send(**fields))
        assert told in path
        assert "stands in quarantine" in await trial.page(path.partition("#")[0])


async def test_what_isnt_taken_is_told_on_the_page(trial: Desk) -> None:
    for fields, status, told in (
        ({"tamper": "on"}, 200, "401</strong>: it wasn't taken."),
        ({"type": ""}, 422, "type: it is missing"),
        ({"type": HOSTILE}, 404, "there is no sample of"),
        ({"type": "a\nb: c"}, 422, "type: it can&#39;t be used"),
        ({"type": "é", "document": "{}"}, 422, "type: it can&#39;t be used"),
        ({"id": "x" * 201}, 422, "id: it can&#39;t be used"),
        ({"tenant": "../x"}, 422, "tenant: it is no name"),
        ({"source": "shop", "tenant": "nobody"}, 409, "has no secret"),
        ({"source": "shop"}, 409, "has no secret"),
        ({"source": "keyless", "type": "0", "document": "{}"}, 409, "be signed"),
    ):
        answer = await trial.send("/test/send", **send(**fields))
        assert (answer.status_code, HOSTILE in answer.text) == (status, False)
        assert told in answer.text


async def test_addresses_that_lead_nowhere(trial: Desk) -> None:
    hostile = quote(HOSTILE)
    for path, status, told in (
        ("/test?source=nonsense", 404, "there is no source &#39;nonsense&#39;"),
        ("/test?task=nonsense", 404, "there is no task &#39;nonsense&#39;"),
        ("/test?source=box&type=%3Cscript%3E", 200, "&lt;script&gt;"),
        (f"/test?event={hostile}&status={hostile}", 200, "The history hasn't heard of it yet."),
        (f"/test?event={'x' * 501}", 422, "event: it is too long"),
        ("/test?source=shop&type=push", 200, "refs/heads/main"),
    ):
        page = trial.when(path, told) if status == 200 else trial.page(path, status)  # a history is read late
        assert told in await page


async def test_a_run_is_started_with_a_payload_that_fits(trial: Desk) -> None:
    await trial.when("/test", ">typed</option>")
    assert "Payload, as JSON" in await trial.page("/test?task=typed")
    started = await trial.follow("/test/trigger", task="typed", json="1", data="41", key="one")
    assert started.endswith("?said=trigger")
    run = started.partition("?")[0]
    assert (await trial.mill.ended(run.rpartition("/")[2])).result == 42
    assert run in await trial.follow("/test/trigger", task="typed", json="1", data="41", key="one")
    for wrong in ('"x"', "{", "", HOSTILE, "1" * 400, "\x00"):
        answer = await trial.send("/test/trigger", task="typed", json="1", data=wrong)
        assert (answer.status_code, HOSTILE in answer.text) == (422, False)
        assert 'role="alert"' in answer.text
    assert (await trial.send("/test/trigger", task="nonsense", data="1")).status_code == 404
    assert (await trial.send("/test/trigger", task="typed", data="41", key="x" * 300)).status_code == 422


async def test_a_simple_payload_is_asked_for_field_by_field(trial: Desk) -> None:
    page = await trial.when("/test?task=packed", 'name="data.crates"')
    assert 'type="checkbox" name="data.fragile"' in page
    fields = {"data.name": HOSTILE, "data.crates": "three"}
    answer = await trial.send("/test/trigger", task="packed", **fields)
    assert (answer.status_code, 'value="three"' in answer.text) == (422, True)
    assert HOSTILE not in answer.text
    started = await trial.follow("/test/trigger", task="packed", **fields | {"data.crates": "3"})
    run = started.partition("?")[0].rpartition("/")[2]
    assert (await trial.mill.ended(run)).result == 3


async def test_the_api_sends_too(trial: Desk) -> None:
    path = "/api/v1/sources/box/send"
    taken = (await trial.client.post(path, json={"type": "push", "id": "abc"})).json()
    assert (taken["status_code"], taken["status"], taken["event"]) == (202, "accepted", "abc")
    refused = await trial.client.post(path, json={"type": "push", "tamper": True})
    assert (refused.status_code, refused.json()["status_code"]) == (200, 401)
    raw = (await trial.client.post(path, json={"type": "push", "body": "no json"})).json()
    assert raw["status"] == "quarantined"
    for wrong in ({}, {"type": 1}, {"type": "push", "tamper": 1}, {"type": "push", "body": 1}, {"x": 1}):
        assert (await trial.client.post(path, json=wrong)).status_code == 422
    assert (await trial.client.post("/api/v1/sources/x/send", json={"type": "push"})).status_code == 404
    changes = (await trial.client.get("/api/v1/audit?action=sources.send")).json()["audit"]
    assert {change["target"] for change in changes} == {"box", "x"}


async def test_only_operators_send_and_start(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], desk_of: Callable[..., Any]
) -> None:
    keys = {role: create_key() for role in ("viewer", "operator")}
    listed = ", ".join(f'{{ name = "{n}", hash = "{hash_key(k)}", role = "{n}" }}' for n, k in keys.items())
    settings = settled(broker.url, names, control=f"keys = [{listed}]\n", more=SOURCES)
    async with desk_of(settings) as desk:
        desk.headers["authorization"] = f"Bearer {keys['viewer']}"
        page = await desk.page("/test?source=box&type=push")
        assert ("takes the role operator" in page, 'action="/test/send"' in page) == (True, False)
        for path in ("/test/send", "/test/trigger"):
            assert (await desk.send(path, **send(task="x"))).status_code == 403
        desk.headers["authorization"] = f"Bearer {keys['operator']}"
        without = await desk.client.post("/test/send", data=send(), headers=desk.headers)
        assert (without.status_code, "token of your login" in without.text) == (403, True)
        assert "status=accepted" in await desk.follow("/test/send", **send())


async def test_a_login_that_ends_meanwhile_sends_nothing_and_leads_back(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], desk_of: Callable[..., Any]
) -> None:
    key = create_key()
    listed = f'{{ name = "o", hash = "{hash_key(key)}", role = "operator" }}'
    settings = settled(broker.url, names, control=f"keys = [{listed}]\n", more=SOURCES)
    async with desk_of(settings) as desk:

        async def token(path: str) -> str:
            page = (await desk.client.get(path, headers=desk.headers)).text
            return page.partition('name="csrf" value="')[2].partition('"')[0]

        form = {"csrf": await token("/login"), "next": "/test", "key": key}
        entered = await desk.client.post("/login", data=form, headers=desk.headers)
        assert entered.headers["location"] == "/test"
        cookies, form = dict(desk.client.cookies), send() | {"csrf": await token("/test?source=box")}
        left = await desk.client.post("/logout", data={"csrf": form["csrf"]}, headers=desk.headers)
        assert left.status_code == 303
        desk.client.cookies.update(cookies)
        back = {"referer": f"{desk.client.base_url}/test?source=box"}
        for path in ("/test/send", "/test/trigger", "/dry-run", "/sources/box/reverify"):
            answer = await desk.client.post(path, data=form, headers=desk.headers | back)
            assert answer.status_code == 401, path
            assert "/login?next=%2Ftest%3Fsource%3Dbox" in answer.text
        bearer = {"authorization": f"Bearer {key}"}
        assert (await desk.client.get("/api/v1/events", headers=bearer)).json()["events"] == []
