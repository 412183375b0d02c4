"""Pages over a broker, an engine, a history and a worker: what they show, what they refuse, what they do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.consumers.conftest import until
from tidemill.history.database import locate
from tidemill.history.from_journal import detail_from_journal
from tidemill.kernel.settings.keys import create_key, hash_key

if TYPE_CHECKING:
    from tests.conftest import BrokerProcess
    from tests.gateway.dashboard.conftest import Desk
    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration
HOSTILE = "<script>alert(1)</script>"
KEPT = "Shown from</dt><dd>the history"
GONE = "run_" + "0" * 26


async def test_pages_show_what_has_happened_and_escape_it(desk: Desk) -> None:
    done = await desk.mill.trigger("echo", {"name": HOSTILE}, tags=[HOSTILE])
    failed = await desk.mill.trigger("doomed", 1)
    asked = await desk.mill.trigger("asking", None)
    await desk.mill.post("box.opened", {"x": HOSTILE}, id="e/1")
    await desk.when("/runs", done, failed, asked, "box.opened")
    run = await desk.when(f"/runs/{done}", KEPT, "&lt;script&gt;alert(1)&lt;/script&gt;")
    assert "/runs?tag=%3Cscript%3E" in run
    assert "ValueError: &lt;script&gt;" in await desk.when(f"/runs/{failed}", "attempt 2", "failed")
    assert "/approvals/" in await desk.when(f"/runs/{asked}", "It asks: a/b &lt;i&gt;")
    overview = await desk.page("/")
    assert "approvals and tokens to answer" in overview
    assert "dead letters" in overview
    for path in ("/tasks", "/tasks/doomed", "/workers", "/approvals", "/errors", f"/dead/{failed}", "/dead"):
        await desk.page(path)
    for query in ("text=alert", "tag=%3Cscript%3Ealert(1)%3C/script%3E", "since=1h&task=echo"):
        assert done in await desk.when(f"/runs?{query}", done)
    assert done not in await desk.page("/runs?status=failed&task=doomed")


async def test_a_journal_tells_the_same_as_the_history(desk: Desk) -> None:
    runs = [await desk.mill.trigger(task, {"x": [1, None]}) for task in ("echo", "doomed", "asking")]
    await desk.when("/approvals", runs[2])
    await desk.follow(f"/approvals/{runs[2]}.a/b%20%3Ci%3E", answer="yes", by="Ada")
    history = desk.gateway._site._history
    for run in runs:
        await desk.mill.ended(run)
        await desk.when(f"/runs/{run}", KEPT)
        journal = detail_from_journal(run, await desk.mill.broker.journal.read(run))
        assert journal == await history.run(run)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/runs/{GONE}", 404),
        ("/runs/nonsense", 404),
        (f"/runs/{GONE}/replay", 404),
        (f"/runs/{GONE}/input/raw", 404),
        (f"/runs/{GONE}/other/raw", 404),
        ("/errors/nonsense", 404),
        ("/approvals/nonsense", 404),
        ("/tasks/nonsense", 404),
        ("/dead/nonsense", 404),
        ("/runs?cursor=nonsense", 422),
        ("/runs?status=nonsense", 422),
        ("/runs?since=nonsense", 422),
        ("/runs?text=%22", 422),
        (f"/runs?task={'x' * 501}", 422),
        ("/errors?state=nonsense", 422),
        ("/dead?before=nonsense", 422),
        ("/runs?task=%00&type=%F0%9F%98%80", 200),
    ],
)
async def test_what_isnt_there_is_a_page_that_says_so(path: str, status: int, desk: Desk) -> None:
    run = await desk.mill.trigger("echo", 1)
    await desk.when(f"/runs/{run}", KEPT)
    assert "/static/" in await desk.page(path, status)


async def test_a_cursor_of_another_list_is_refused(desk: Desk) -> None:
    runs = [await desk.mill.trigger("echo", number) for number in range(60)]
    text = await desk.when("/runs?task=echo", 'rel="next"', runs[-1])
    following = text.split('rel="next"')[0].rpartition('href="')[2].rpartition('"')[0].replace("&amp;", "&")
    assert runs[0] in await desk.page(following)
    assert "belongs to another query" in await desk.page(following.replace("task=echo", "task=doomed"), 422)


@pytest.mark.parametrize(
    "value", [HOSTILE * 60_000, ["\u0000\ud7ff", 10**15, 1e300], {"a" * 9000: [[]] * 900}]
)
async def test_pages_stay_small_whatever_came_in(value: Any, desk: Desk) -> None:
    run = (await desk.client.post("/api/v1/tasks/echo/trigger", json={"payload": value})).json()["run_id"]
    await desk.when(f"/runs/{run}", "completed")
    assert orjson.loads((await desk.client.get(f"/runs/{run}/input/raw")).content) == value
    assert orjson.loads((await desk.client.get(f"/runs/{run}/result/raw")).content) == value
    await desk.page(f"/runs/{run}")


@pytest.mark.parametrize("raw", [b"\xff\xfe\x00", b"{", b"\x00" * 200_000, "é".encode("latin-1")])
async def test_an_input_that_is_no_text_is_shown_as_bytes(raw: bytes, desk: Desk) -> None:
    await desk.mill.post("box.opened", raw, datacontenttype="application/octet-stream")
    text = await desk.when("/runs?task=opened", "box.opened")
    run = text.split('href="/runs/run_')[1][:26]
    await desk.page(f"/runs/run_{run}")
    await desk.page(f"/runs/run_{run}/replay")
    answer = await desk.client.get(f"/runs/run_{run}/input/raw")
    assert (answer.content, answer.headers["content-type"]) == (raw, "application/octet-stream")
    assert "attachment" in answer.headers["content-disposition"]


async def test_a_run_is_cancelled_retried_and_replayed(desk: Desk) -> None:
    asked, failed = await desk.mill.trigger("asking", None), await desk.mill.trigger("doomed", 1)
    await desk.when(f"/runs/{asked}", "It asks")
    assert await desk.follow(f"/runs/{asked}/cancel", reason=HOSTILE) == f"/runs/{asked}?said=cancel"
    await desk.when(f"/runs/{asked}", "cancelled", "Reason: &lt;script&gt;")
    conflict = await desk.send(f"/runs/{asked}/cancel", reason="")
    assert (conflict.status_code, "can&#39;t be cancelled" in conflict.text) == (409, True)
    await desk.when(f"/runs/{failed}", "Retry</button>")
    assert await desk.follow(f"/dead/{failed}/retry") == f"/runs/{failed}?said=retry"
    again = await desk.follow(f"/runs/{failed}/replay")
    assert f"/runs/{failed}" in await desk.when(again, "Replay of")


async def test_a_run_is_forked_from_a_wait_once_for_each_form(desk: Desk) -> None:
    run = await desk.mill.trigger("asking", None)
    await desk.when(f"/runs/{run}", "It asks")
    await desk.when(f"/runs/{run}", "Fork from here", "Fork from where it stands")
    point = "approval:a/b <i>"
    page = (await desk.client.get(f"/runs/{run}/fork", params={"at": point})).text
    assert ("a/b &lt;i&gt;" in page, "Nothing: it begins anew" in page) == (True, True)
    keys = [page.partition('name="key" value="')[2].partition('"')[0]] * 2
    first, second = [await desk.follow(f"/runs/{run}/fork", at=point, key=key) for key in keys]
    assert first == second
    assert f"/runs/{run}" in await desk.when(
        first, "Fork of", "This is the new run", "It asks", "a/b &lt;i&gt;"
    )
    await desk.when(f"/runs/{run}", "Forked as")
    unknown = await desk.client.get(f"/runs/{run}/fork", params={"at": HOSTILE}, headers=desk.headers)
    assert (unknown.status_code, HOSTILE in unknown.text) == (422, False)
    assert (await desk.send(f"/runs/{run}/fork", at="nothing")).status_code == 422
    assert (await desk.send(f"/runs/{GONE}/fork")).status_code == 404


async def test_a_fork_shows_what_it_has_taken_over(desk: Desk) -> None:
    run = await desk.mill.trigger("stepping", 3)
    await desk.mill.ended(run)
    page = (await desk.client.get(f"/runs/{run}/fork", params={"at": "two"})).text
    assert "step <code>one</code>" in page
    fork = (await desk.follow(f"/runs/{run}/fork", at="two")).partition("?")[0]
    await desk.mill.ended(fork.rpartition("/")[2])
    for _ in ("journal", "history"):
        text = await desk.when(fork, "taken over", "completed", "at <code>two</code>")
        assert text.count("Fork from here</a>") == 1  # what was taken over has no such button
        await desk.when(fork, KEPT)


async def _close(desk: Desk, run: str) -> None:
    """Close an ended run's journal, as the closer does in the end."""
    await desk.when(f"/runs/{run}", KEPT)
    journal = desk.mill.broker.journal
    entries = await journal.read_leader(run)
    await journal.close(run, expect=entries[-1].seq, keep=60)


async def test_a_run_whose_journal_is_closed_is_replayed_from_the_history(desk: Desk) -> None:
    run = await desk.mill.trigger("typed", 1, tags=["t"])
    await desk.mill.ended(run)
    await _close(desk, run)
    page = await desk.when(f"/runs/{run}", "Its journal has been closed", "Replay</button>")
    assert ("Retry</button>" in page, "Cancel</button>" in page) == (False, False)
    assert (await desk.client.get(f"/runs/{run}/input/raw")).content == b"1"
    again = (await desk.follow(f"/runs/{run}/replay")).partition("?")[0]
    view = await desk.mill.ended(again.rpartition("/")[2])
    assert (view.result, view.facts()["replayof"], view.facts()["tags"]) == (2, run, ["t"])
    assert ">\n1</textarea>" in await desk.page(f"/runs/{run}/replay")
    new = (await desk.follow(f"/runs/{run}/replay", edited="1", payload="41")).partition("?")[0]
    assert (await desk.mill.ended(new.rpartition("/")[2])).result == 42
    assert (await desk.send(f"/runs/{run}/replay", edited="1", payload='"x"')).status_code == 422
    assert "Fork from" not in page
    assert (await desk.client.get(f"/runs/{run}/fork")).status_code == 409
    for verb in ("cancel", "retry", "fork"):
        refused = await desk.client.post(f"/api/v1/runs/{run}/{verb}", json={})
        assert (refused.status_code, "is closed" in refused.json()["detail"]) == (409, True)
    assert (await desk.send(f"/runs/{GONE}/replay")).status_code == 404


async def test_a_task_is_paused_resumed_and_limited(desk: Desk) -> None:
    assert await desk.follow("/tasks/echo/pause", reason=HOSTILE) == "/tasks/echo"
    run = await desk.mill.trigger("echo", 1)
    text = await desk.when("/tasks/echo", "It is paused since", "&lt;script&gt;", "Resume</button>")
    assert "Pause</button>" not in text
    await desk.when("/tasks", 'data-status="paused"')
    await desk.when(f"/runs/{run}", "echo is paused since")
    assert (await desk.client.get("/api/v1/overrides")).json()["overrides"][0]["reason"] == HOSTILE
    assert "echo is paused" in (await desk.client.get(f"/api/v1/runs/{run}")).json()["why"]
    assert "tidemill_queue_paused" in (await desk.client.get("/metrics")).text
    assert await desk.follow("/tasks/echo/resume") == "/tasks/echo"
    assert (await desk.mill.ended(run)).result == 1
    await desk.follow("/tasks/echo/limit", limit="2")
    await desk.when("/tasks/echo", "At most 2 of its runs", "its code says any number")
    assert "by local" in await desk.page("/tasks")
    await desk.follow("/tasks/echo/limit", limit="")
    assert "At most" not in await desk.page("/tasks/echo")
    for wrong in ("0", "-1", "x", "1.5", "9" * 9, "9" * 8, "²"):
        assert (await desk.send("/tasks/echo/limit", limit=wrong)).status_code == 422
    for body in ({}, {"limit": "2"}, {"limit": True}, {"limit": 0}, {"limit": 1.5}, {"limti": 1}):
        assert (await desk.client.post("/api/v1/tasks/echo/limit", json=body)).status_code == 422
    for verb in ("pause", "resume", "limit"):
        assert (await desk.send(f"/tasks/nobody/{verb}")).status_code == 404


async def test_all_runs_that_fit_a_filter_are_cancelled(desk: Desk) -> None:
    runs = [await desk.mill.trigger("asking", HOSTILE, tags=["many"]) for _ in range(25)]
    await desk.when("/runs?tag=many&status=waiting", *runs)
    given = {"tag": "many", "status": "", "action": "cancel", "why": HOSTILE}
    page = await desk.follow("/bulk", **given)
    late = await desk.mill.trigger("asking", 1, tags=["many"])
    text = await desk.page(page)
    assert ("25 runs" in text, "Cancel 25</button>" in text, late in text) == (True, True, False)
    assert await desk.follow(f"{page}/execute") == page
    assert await desk.follow(f"{page}/execute") == page
    assert "25 cancelled" in await desk.when(page, "25 of 25", "Done.")
    assert {(await desk.mill.runs.get(run)).status for run in runs} == {"cancelled"}
    assert (await desk.mill.runs.get(late)).ended is False
    assert "<button" not in (await desk.page(page)).partition("<main")[2]
    listed = (await desk.client.get("/api/v1/audit?action=bulk.execute")).json()["audit"]
    assert [one["detail"]["runs"] for one in listed] == ["25", "25"]
    assert {one["detail"]["of"] for one in listed} == {"cancel tag=many"}
    assert {one["detail"]["reason"] for one in listed} == {HOSTILE}


@pytest.mark.parametrize(
    ("order", "named"),
    [
        ({"action": "cancel", "where": {}}, "no filter"),
        ({"action": "cancel", "where": {"sttaus": "failed"}}, "sttaus"),
        ({"action": "cancel", "where": {"status": ["failed"]}}, "status"),
        ({"action": "cancel", "where": {"status": "completed"}}, "completed"),
        ({"action": "cancel", "where": {"status": "nonsense"}}, "nonsense"),
        ({"action": "delete", "where": {"task": "x"}}, "delete"),
        ({"action": ["cancel"], "where": {"task": "x"}}, "action"),
        ({"action": "retry", "where": "task=x"}, "where"),
        ({"action": "retry", "where": {"text": '"'}}, "word"),
        ({"action": "retry", "where": {"task": "x"}, "reason": 7}, "reason"),
        ({"action": "retry", "where": {"task": "x" * 501}}, "task"),
    ],
)
async def test_a_selection_that_cant_be_made_is_told(order: Any, named: str, desk: Desk) -> None:
    run = await desk.mill.trigger("echo", 1)
    await desk.when(f"/runs/{run}", KEPT)
    answer = await desk.client.post("/api/v1/bulk", json=order)
    assert (answer.status_code, named in answer.json()["detail"]) == (422, True)


async def test_a_selection_by_the_api_is_shown_before_anything_is_done(desk: Desk) -> None:
    runs = [await desk.mill.trigger("doomed", number) for number in range(3)]
    await desk.when("/runs?task=doomed&status=failed", *runs)
    order = {"action": "retry", "where": {"task": "doomed", "since": "1h"}}
    selection = (await desk.client.post("/api/v1/bulk", json=order)).json()
    assert (selection["total"], selection["complete"], selection["state"]) == (3, True, "selected")
    assert sorted(row["id"] for row in selection["first"]) == sorted(runs)
    assert (await desk.client.get("/api/v1/audit?action=bulk")).json()["audit"] == []
    path = f"/api/v1/bulk/{selection['token']}"
    assert (await desk.client.post(f"{path}/execute")).status_code == 202

    async def done() -> Any:
        found = (await desk.client.get(path)).json()
        return found if found["state"] == "done" else None

    assert (await until(done))["done"] == 3
    assert (await desk.client.post(f"{path}/execute")).json()["state"] == "done"
    for missing in ("/api/v1/bulk/x", f"/api/v1/bulk/{'0' * 20}"):
        assert (await desk.client.get(missing)).status_code == 404
        assert (await desk.client.post(f"{missing}/execute")).status_code == 404
    nothing = await desk.client.post("/api/v1/bulk", json={"action": "retry", "where": {"tag": "none"}})
    assert nothing.json()["total"] == 0
    assert "None." in await desk.page(f"/bulk/{nothing.json()['token']}")


@pytest.mark.parametrize(
    ("raw", "content_type", "value"),
    [
        (b'{"a": 1}', "application/json", None),
        (b'{"a": "' + b"x" * 60_000 + b'"}', "application/json", None),
        (b"a=1&b=2", "application/x-www-form-urlencoded", {"a": "1", "b": "2"}),
        (b"", "application/json", {"only": "value"}),
    ],
)
async def test_an_events_run_is_replayed_with_the_event(
    desk: Desk, raw: bytes, content_type: str, value: Any
) -> None:
    await desk.mill.post("box.whole", raw, datacontenttype=content_type, value=value)
    text = await desk.when("/runs?task=whole", "box.whole", "completed")
    run = "run_" + text.split('href="/runs/run_')[1][:26]
    first = (await desk.mill.ended(run)).result
    await _close(desk, run)
    again = (await desk.follow(f"/runs/{run}/replay")).partition("?")[0].rpartition("/")[2]
    assert (await desk.mill.ended(again)).result == first
    stream = desk.mill.names.stream("EVENTS")
    await desk.mill.broker.bus.api(f"STREAM.PURGE.{stream}", {})
    answer = await desk.send(f"/runs/{run}/replay")
    if len(raw) > 32_768:
        assert (answer.status_code, "kept as a whole" in answer.text) == (404, True)
        return
    again = answer.headers["location"].partition("?")[0].rpartition("/")[2]
    assert (await desk.mill.ended(again)).result == first


async def test_a_replay_takes_another_input_that_fits_the_task(desk: Desk) -> None:
    run = await desk.mill.trigger("typed", 1)
    assert ">\n1</textarea>" in await desk.when(f"/runs/{run}/replay", "textarea")
    for wrong in ('"x"', "{", "", HOSTILE):
        answer = await desk.send(f"/runs/{run}/replay", edited="1", payload=wrong)
        assert (answer.status_code, HOSTILE in answer.text) == (422, False)
    new = (await desk.follow(f"/runs/{run}/replay", edited="1", payload="41")).partition("?")[0]
    assert (await desk.mill.ended(new.rpartition("/")[2])).result == 42
    by_api = await desk.client.post(f"/api/v1/runs/{run}/replay", json={"payload": 6})
    assert (await desk.mill.ended(by_api.json()["run_id"])).result == 7
    refused = await desk.client.post(f"/api/v1/runs/{run}/replay", json={"payload": "x"})
    assert refused.status_code == 422


async def test_an_approval_is_answered(desk: Desk) -> None:
    run = await desk.mill.trigger("asking", None)
    await desk.when("/approvals", run)
    token = f"/approvals/{run}.a/b%20%3Ci%3E"
    for wrong in ({"answer": "maybe", "by": "Ada"}, {"answer": "yes", "by": ""}):
        assert (await desk.send(token, **wrong)).status_code == 422
    said = {"answer": "no", "by": "Ada", "comment": HOSTILE}
    assert await desk.follow(token, **said) == f"/runs/{run}?said=answer"
    assert (await desk.mill.ended(run)).result == {"approved": False, "by": "Ada", "comment": HOSTILE}
    assert "Ada: no" in await desk.page(token)
    assert (await desk.send(token, **said)).status_code == 409


async def test_errors_are_marked_and_reopened(desk: Desk) -> None:
    await desk.mill.trigger("doomed", 1)
    text = await desk.when("/errors?task=doomed", "/errors/")
    path = "/errors/" + text.split('href="/errors/')[1].partition('"')[0]
    assert (await desk.send(f"{path}/mark", state="reopened")).status_code == 422
    assert await desk.follow(f"{path}/mark", state="resolved", note=HOSTILE) == path
    assert "by local: &lt;script&gt;" in await desk.page(path)
    await desk.mill.trigger("doomed", 2)
    await desk.when("/errors?state=reopened", path)
    await desk.follow(f"{path}/mark", state="ignored")
    assert path not in await desk.page("/errors?state=reopened")


async def test_without_a_history_pages_say_what_they_cant_show(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], desk_of: Callable[..., Any]
) -> None:
    async with desk_of(settled(broker.url, names), "router", "mailman") as desk:
        run = await desk.mill.trigger("asking", HOSTILE)
        assert "by their journals" in await desk.when("/runs", run)
        assert run in await desk.page("/runs?task=asking&status=waiting")
        assert "there are no such filters" in await desk.page("/runs?text=alert")
        assert "Children and replays" in await desk.when(
            f"/runs/{run}", "Shown from</dt><dd>its journal", "It asks"
        )
        for path in ("/", "/errors", "/tasks", "/tasks/asking"):
            assert "history can&#39;t be asked" in await desk.page(path)
        for path in ("/workers", "/approvals", "/dead"):
            assert "history" not in await desk.page(path)
        await desk.page("/errors/x", 503)
        await desk.page(f"/runs/{GONE}", 503)
        for path in ("runs", "errors", "totals", "rates", f"runs/{run}"):
            answer = await desk.client.get(f"/api/v1/history/{path}")
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:tidemill:problem:history-away")


async def test_a_history_that_is_lost_meanwhile_stops_nothing(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], desk_of: Callable[..., Any]
) -> None:
    settings = settled(broker.url, names)
    async with desk_of(settings, "router", "mailman", "history") as desk:
        run = await desk.mill.trigger("echo", 1)
        await desk.when(f"/runs/{run}", KEPT)
        database = locate(settings).database
        assert database is not None
        with open(database, "r+b") as file:  # noqa: ASYNC230, PTH123 - a moment
            file.write(b"\x00" * 4096)
        later = await desk.mill.trigger("echo", 2)
        assert (await desk.mill.ended(later)).status == "completed"
        for path in ("/", "/runs", f"/runs/{later}", "/errors", "/tasks"):
            await desk.page(path)


@pytest.mark.crash
async def test_without_the_broker_pages_are_told_and_come_back(
    own_broker: BrokerProcess, names: Names, settled: Callable[..., Settings], desk_of: Callable[..., Any]
) -> None:
    async with desk_of(settled(own_broker.url, names), "router", "mailman", "history") as desk:
        run = await desk.mill.trigger("echo", 1)
        await desk.when(f"/runs/{run}", KEPT)
        own_broker.kill()
        async with asyncio.timeout(30):
            assert "The broker can&#39;t be asked" in await desk.page(f"/runs/{run}")
            assert run in await desk.page("/runs")
            assert "can&#39;t be shown" in await desk.page("/")
        own_broker.start()
        await desk.when("/workers", "echo")


async def test_roles_see_the_buttons_that_they_may_press(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], desk_of: Callable[..., Any]
) -> None:
    keys = {role: create_key() for role in ("viewer", "operator", "approver")}
    listed = [
        f'{{ name = "{name}", hash = "{hash_key(key)}", role = "{name}" }}' for name, key in keys.items()
    ]
    settings = settled(broker.url, names, control=f"keys = [{', '.join(listed)}]\n")
    async with desk_of(settings, "router", "mailman", "history") as desk:
        desk.headers["authorization"] = f"Bearer {keys['viewer']}"
        run = await desk.mill.trigger("asking", None)
        page = await desk.when(f"/runs/{run}", "waiting")
        assert "<button" not in page.partition("<main")[2]
        await desk.page(f"/runs/{run}/replay", 403)
        assert (await desk.send(f"/runs/{run}/cancel")).status_code == 403
        desk.headers["authorization"] = f"Bearer {keys['operator']}"
        page = await desk.page(f"/runs/{run}")
        assert ("Cancel</button>" in page, "Approve</button>" in page) == (True, False)
        desk.headers["authorization"] = f"Bearer {keys['approver']}"
        page = await desk.page(f"/runs/{run}")
        assert ("Cancel</button>" in page, "Approve</button>" in page) == (False, True)
        assert 'name="by"' not in page
        token = f"/approvals/{run}.a/b%20%3Ci%3E"
        assert (await desk.send(token, answer="yes", by="Somebody else")).status_code == 403
        await desk.follow(token, answer="yes")
        assert (await desk.mill.ended(run)).result["by"] == "approver"
