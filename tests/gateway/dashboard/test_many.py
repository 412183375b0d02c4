"""Dead letters and entries of the quarantine: filters, and the same done to all that fit them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.gateway.dashboard.conftest import HOSTILE
from tests.patience import until
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.frames import pack

if TYPE_CHECKING:
    from tests.gateway.dashboard.conftest import Desk

pytestmark = pytest.mark.integration


async def hold(desk: Desk, name: str, source: str = "box", code: str = "schema") -> None:
    """Put a delivery into quarantine as ingress does."""
    body = orjson.dumps({"n": name})
    envelope = Envelope(id=name, source=source, type="box.opened", deliverykey=f"k-{name}", raw=body)
    why = {"code": code, "detail": f"{HOSTILE} {name}", "path": "$.n"}
    subject = desk.mill.names.quarantine(source, envelope.deliverykey)
    await desk.mill.broker.bus.publish(subject, pack(envelope.facts() | {"quarantine": why}, body))


async def bury(desk: Desk, task: str, payload: Any) -> str:
    run = await desk.mill.trigger(task, payload)
    await desk.mill.ended(run)

    async def buried() -> bool:
        return bool((await desk.client.get(f"/api/v1/dead/{run}")).is_success)

    await until(buried)
    return run


async def test_entries_that_fit_are_released_and_others_discarded(desk: Desk) -> None:
    for number in range(22):
        await hold(desk, f"a{number}")
    await hold(desk, "other", source="crate/eu")
    await hold(desk, "json", code="not_json")
    listed = await desk.page("/quarantine?source=box&reason=schema&text=%24.N")
    assert (listed.count("<tr>"), "k-other" in listed, "k-json" in listed) == (23, False, False)
    assert "/bulk" not in await desk.page("/quarantine")
    form = {"action": "release", "source": "box", "reason": "schema", "why": "mended"}
    page = await desk.follow("/bulk", what="quarantine", **form)
    text = await desk.page(page)
    assert ("22 entries of the quarantine" in text, "Release 22</button>" in text) == (True, True)
    assert "And 2 more." in text
    await hold(desk, "late")
    assert await desk.follow(f"{page}/execute") == page
    assert "22 released" in await desk.when(page, "22 of 22", "Done.", "They aren&#39;t there any more.")
    left = (await desk.client.get("/api/v1/quarantine")).json()
    assert ([one["id"] for one in left["quarantine"]], left["next"]) == (["late", "json", "other"], None)
    events = (await desk.client.get("/api/v1/events?limit=200")).json()["events"]
    assert {one["id"] for one in events} == {f"a{number}" for number in range(22)}

    order = {"what": "quarantine", "action": "discard", "where": {"source": "crate"}, "reason": "not ours"}
    selection = (await desk.client.post("/api/v1/bulk", json=order)).json()
    assert (selection["total"], [one["id"] for one in selection["first"]]) == (1, ["other"])
    path = f"/api/v1/bulk/{selection['token']}"
    await desk.client.post(f"{path}/execute")

    async def done() -> Any:
        found = (await desk.client.get(path)).json()
        return found if found["state"] == "done" else None

    assert ((await until(done))["done"], (await until(done))["what"]) == (1, "quarantine")
    assert len((await desk.client.get("/api/v1/events?limit=200")).json()["events"]) == 22
    changes = (await desk.client.get("/api/v1/audit?action=bulk.execute")).json()["audit"]
    assert [one["detail"] for one in changes] == [
        {"quarantine": "1", "of": "discard source=crate", "before": "0", "reason": "not ours"},
        {"quarantine": "22", "of": "release source=box reason=schema", "before": "0", "reason": "mended"},
    ]


async def test_one_entry_is_discarded_and_that_is_recorded(desk: Desk) -> None:
    await hold(desk, "one")
    await hold(desk, "two")
    assert "Discard it</button>" in await desk.page("/quarantine/k-one")
    assert await desk.follow("/quarantine/k-one/discard") == "/quarantine"
    answer = await desk.client.post("/api/v1/quarantine/two/discard")
    assert answer.json() == {
        "event": "two", "discarded": "k-two", "source": "box", "type": "box.opened"
    }  # fmt: skip
    assert (await desk.client.post("/api/v1/quarantine/two/discard")).status_code == 404
    assert "It is empty." in await desk.page("/quarantine")
    changes = (await desk.client.get("/api/v1/audit?action=quarantine.discard")).json()["audit"]
    assert [one["target"] for one in changes] == ["two", "two", "k-one"]
    assert changes[2]["detail"] == {
        "event": "one", "discarded": "k-one", "source": "box", "type": "box.opened"
    }  # fmt: skip


async def test_dead_letters_that_fit_are_retried(desk: Desk) -> None:
    water = [await bury(desk, "doomed", f"water {number}") for number in range(3)]
    fire = await bury(desk, "doomed", "fire")
    broken = desk.mill.names.dead("doomed", "message-1")
    await desk.mill.broker.bus.publish(broken, b"water, and no letter")
    listed = await desk.page("/dead?error=WATER&task=doomed&outcome=failed&since=1h")
    assert all(run in listed for run in water)
    assert fire not in listed
    assert "No dead letter fits these filters." in await desk.page("/dead?source=box")
    page = await desk.follow("/bulk", what="dead", action="retry", error="water", why=HOSTILE)
    text = await desk.page(page)
    assert ("3 dead letters" in text, "Retry 3</button>" in text) == (True, True)
    assert "message-1" not in text
    assert await desk.follow(f"{page}/execute") == page
    assert "3 retried" in await desk.when(page, "3 of 3", "Done.")
    again = [(await desk.client.get(f"/api/v1/runs/{run}")).json() for run in (*water, fire)]
    assert ["reopened" in str(one["timeline"]) for one in again] == [True, True, True, False]


@pytest.mark.parametrize(
    ("order", "named"),
    [
        ({"what": "dead", "action": "retry", "where": {}}, "no filter"),
        ({"what": "dead", "action": "retry", "where": {"task": ""}}, "no filter"),
        ({"what": "dead", "action": "retry", "where": {"task": " ", "error": "\u00a0"}}, "no filter"),
        ({"what": "quarantine", "action": "discard", "where": {"source": "\t"}}, "no filter"),
        ({"what": "dead", "action": "replay", "where": {"task": "x"}}, "replay"),
        ({"what": "dead", "action": "retry", "where": {"status": "failed"}}, "status"),
        ({"what": "quarantine", "action": "release", "where": {"reason": 7}}, "reason"),
        ({"what": "quarantine", "action": "cancel", "where": {"source": "x"}}, "cancel"),
        ({"what": "tokens", "action": "cancel", "where": {"source": "x"}}, "tokens"),
        ({"what": None, "action": "release", "where": {"source": "x"}}, "release"),
    ],
)
async def test_a_selection_that_cant_be_made_is_told(order: Any, named: str, desk: Desk) -> None:
    answer = await desk.client.post("/api/v1/bulk", json=order)
    assert (answer.status_code, named in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize("path", ["/dead", "/quarantine", "/api/v1/dead", "/api/v1/quarantine"])
async def test_a_filter_that_cant_be_used_is_told(path: str, desk: Desk) -> None:
    for query in ("since=soon", "until=2026-11-22T10:00", "type=a..b", f"source={'x' * 501}"):
        answer = await desk.client.get(f"{path}?{query}", headers=desk.headers)
        assert (answer.status_code, query.partition("=")[0] in answer.text) == (422, True)


async def test_lists_go_on_with_their_filters(desk: Desk) -> None:
    for number in range(52):
        await hold(desk, f"n{number}", code="schema" if number % 52 else "not_json")
    first = await desk.page("/quarantine?reason=schema")
    address = first.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
    assert address == "/quarantine?reason=schema&amp;before=3"
    assert (await desk.page(address.replace("&amp;", "&"))).count("<tr>") == 2
