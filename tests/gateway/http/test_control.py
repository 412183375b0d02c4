"""The control API on a real broker, without engine and worker: what is asked for is stored durably."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gateway.api.openapi import control_document, public_document
from gateway.api.parameters import MAX_BODY
from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.jetstream.delivery import Delivery
from tidemill.kernel.protocol import routing
from tidemill.kernel.protocol.routing import Arrival
from tidemill.kernel.services import registry
from tidemill.kernel.services.events import Events
from tidemill.kernel.services.quarantine import Quarantine
from tidemill.kernel.subjects import run_of_event

if TYPE_CHECKING:
    from conftest import Connect, House

pytestmark = pytest.mark.integration

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}},
}


class Acknowledged(Delivery):
    """Stands for the event's message, which a router acknowledges."""

    def __init__(self) -> None:
        pass

    async def ack(self) -> None:
        pass


@pytest.fixture
async def greet(house: House) -> str:
    definition = TaskDefinition(
        id="greet", on=("github.zen",), where="data.name == 'x'", payload_schema=SCHEMA
    )
    await registry.publish(house.broker.tasks, definition)
    return "tasks/greet/trigger"


async def test_a_trigger_creates_a_run_that_can_be_looked_at(house: House, greet: str) -> None:
    started = await house.ask(greet, {"payload": {"name": "Ada"}, "options": {"tags": ["t"]}})
    assert started.status_code == 202
    assert set(started.json()) == {"run_id", "status"}
    assert started.headers["location"] == f"/api/v1/runs/{started.json()['run_id']}"
    run = (await house.ask(f"runs/{started.json()['run_id']}")).json()
    assert (run["task"], run["status"], run["tags"]) == ("greet", "queued", ["t"])
    listed = (await house.ask("runs?task=greet&status=queued")).json()["runs"]
    assert [one["run_id"] for one in listed] == [run["run_id"]]


async def test_the_same_idempotency_key_is_the_same_run(house: House, greet: str) -> None:
    payload = {"payload": {"name": "Ada"}}
    first = await house.ask(greet, payload, **{"Idempotency-Key": "k"})
    again = await house.ask(greet, payload, **{"Idempotency-Key": "k"})
    other = await house.ask(greet, {"payload": {"name": "Bob"}}, **{"Idempotency-Key": "k"})
    assert first.json()["run_id"] == again.json()["run_id"]
    assert (other.status_code, other.json()["type"]) == (409, "urn:tidemill:problem:conflict")


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"payload": {"name": 7}}, "payload.name"),
        ({"payload": {}}, "name"),
        ({"payload": {"name": "x"}, "options": {"dealy": 5}}, "options.dealy"),
        ({"payload": {"name": "x"}, "options": {"delay": "soon"}}, "options.delay"),
        ({"payload": {"name": "x"}, "options": 7}, "options"),
        ({"paylod": {"name": "x"}}, "paylod"),
        ([1], "object"),
    ],
)
async def test_what_is_wrong_with_a_trigger_is_named(
    house: House, greet: str, document: Any, named: str
) -> None:
    reply = await house.ask(greet, document)
    assert (reply.status_code, reply.headers["content-type"]) == (422, "application/problem+json")
    assert named in reply.json()["detail"]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"payload": {"name": "a"}, "payload": {"name": "b"}}', "$.payload"),
        (b'{"payload": {"name": "a", "name": "b"}}', "$.payload.name"),
        (b'{"payload": {"name": "a"}, "options": {"delay": 1, "\\u0064elay": 2}}', "$.options.delay"),
    ],
)
async def test_a_name_that_stands_twice_is_refused(house: House, greet: str, body: bytes, place: str) -> None:
    reply = await house.client.post(f"{house.control}/{greet}", content=body)
    assert (reply.status_code, reply.json()["type"]) == (400, "urn:tidemill:problem:bad-request")
    assert place in reply.json()["detail"]


async def test_a_body_over_the_cap_is_refused_before_it_is_sent(
    house: House, greet: str, connect: Connect, http_request: Callable[..., bytes]
) -> None:
    connection = await connect(house.gateway.control_address)
    headers = {"content-length": str(MAX_BODY + 1)}
    await connection.send(http_request(f"/api/v1/{greet}", headers=headers))
    reply = await connection.reply()
    assert (reply.status, reply.json()["type"]) == (413, "urn:tidemill:problem:body-size")


async def test_unknown_things_are_404_with_a_hint(house: House, greet: str) -> None:
    assert greet
    for path in ("tasks/gret", "runs/run_00000000000000000000000000", "runs/x", "events/x", "quarantine/x"):
        reply = await house.ask(path)
        assert (reply.status_code, reply.json()["type"]) == (404, "urn:tidemill:problem:not-found")
    assert "greet" in (await house.ask("tasks/gret")).json()["hint"]
    assert (await house.ask("tasks/gret/trigger", {})).status_code == 404
    assert (await house.ask("runs/run_*.>")).status_code == 404


async def test_a_task_is_forgotten_on_demand(house: House, greet: str) -> None:
    assert (await house.ask(greet, {"payload": {"name": "Ada"}})).status_code == 202
    gone = await house.client.delete(f"{house.control}/tasks/greet")
    assert (gone.status_code, gone.json()) == (200, {"removed": "greet"})
    assert (await house.ask("tasks")).json() == {"tasks": []}
    assert (await house.ask(greet, {"payload": {"name": "Ada"}})).status_code == 404
    again = await house.client.delete(f"{house.control}/tasks/greet")
    assert (again.status_code, again.json()["type"]) == (404, "urn:tidemill:problem:not-found")
    put = await house.client.put(f"{house.control}/tasks/greet")
    assert put.status_code == 405
    assert {"GET", "DELETE"} <= set(put.headers["allow"].split(", "))


async def test_listings_refuse_a_place_that_is_no_sequence(house: House) -> None:
    for path in ("dead", "events", "quarantine"):
        for before in ("0", "-1", "x", str(2**60)):
            assert (await house.ask(f"{path}?before={before}")).status_code == 422
        found = (await house.ask(f"{path}?before=5")).json()
        assert found == {path: []} | ({"next": None} if path != "events" else {})


async def test_a_signal_to_a_run_is_stored_while_no_mailman_answers(house: House, greet: str) -> None:
    run = (await house.ask(greet, {"payload": {"name": "Ada"}})).json()["run_id"]
    reply = await house.ask(f"runs/{run}/cancel", {"reason": "no longer needed"})
    assert (reply.status_code, reply.json()) == (202, {"run_id": run, "answer": "queued"})
    for wrong in ({"raeson": ""}, {"reason": None}, {"reason": {"a": 1}}, {"reason": "x" * 5000}):
        assert (await house.ask(f"runs/{run}/cancel", wrong)).status_code == 422


async def test_a_replayed_run_has_the_input_of_the_old_one(house: House, greet: str) -> None:
    run = (await house.ask(greet, {"payload": {"name": "Ada"}})).json()["run_id"]
    again = (await house.ask(f"runs/{run}/replay", {})).json()
    assert (again["replayof"], again["run_id"] != run) == (run, True)
    assert (await house.ask(f"runs/{again['run_id']}")).json()["replayof"] == run


async def test_a_fork_is_a_run_of_its_own_and_one_for_each_key(house: House, greet: str) -> None:
    run = (await house.ask(greet, {"payload": {"name": "Ada"}})).json()["run_id"]
    path = f"{house.control}/runs/{run}/fork"
    fork = await house.client.post(path, json={}, headers={"Idempotency-Key": "k"})
    told = fork.json()
    assert (fork.status_code, told["status"], told["forkof"]["run"]) == (202, "queued", run)
    assert fork.headers["location"] == f"/api/v1/runs/{told['run_id']}"
    again = await house.client.post(path, json={"at": None}, headers={"Idempotency-Key": "k"})
    assert again.json() == told
    shown = (await house.ask(f"runs/{told['run_id']}")).json()
    assert (shown["forkof"], shown["replayof"]) == (told["forkof"], run)
    other = await house.client.post(path, json={"at": 17}, headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["type"]) == (409, "urn:tidemill:problem:conflict")
    for wrong in ("charge", "", 0, -1, 10**9, 2**60, True, 1.5, ["a"], {"key": "a"}, "x" * 5000):
        reply = await house.ask(f"runs/{run}/fork", {"at": wrong})
        assert (reply.status_code, bool(reply.json()["hint"])) == (422, True), wrong
    assert (await house.ask(f"runs/{run}/fork", {"payload": 1})).status_code == 422
    assert (await house.ask("runs/run_00000000000000000000000000/fork", {"at": "a"})).status_code == 404
    assert (await house.ask("runs/run_x/fork", {"at": "a"})).status_code == 404


async def test_a_pair_is_released_by_starting_its_run_once(house: House, greet: str) -> None:
    assert greet
    await house.deliver(b'{"no": "name"}', guid="pair")
    broker = house.broker
    events = Events(broker.bus, broker.blobs)
    event = await events.find("pair", ["github"])
    arrival = Arrival(event.facts, event.key, event.seq, event.raw)
    broken = routing.Broken("greet", "data.name == 'x'", None, "no such key: name")
    await broker.performer.run(routing.route(arrival, [broken]), Acknowledged())
    (entry,) = (await house.ask("quarantine")).json()["quarantine"]
    assert (entry["kind"], entry["id"], entry["reason"]["reason"]) == ("pair", "pair", "no such key: name")
    released = (await house.ask(f"quarantine/{entry['key']}/release", {})).json()
    assert released["run"] == run_of_event(event.key, "greet")
    assert (await house.ask("quarantine")).json()["quarantine"] == []
    shown = (await house.ask("events/pair")).json()
    assert shown["runs"] == [{"run_id": released["run"], "task": "greet", "status": "queued"}]
    assert [one["kind"] for one in shown["verdicts"]] == ["verdict"]


async def test_a_pair_whose_event_has_gone_stays(house: House) -> None:
    broker = house.broker
    facts = {"id": "gone", "source": "github", "type": "github.zen"}
    arrival = Arrival(facts, "0" * 40, 999)
    broken = routing.Broken("greet", "true", None, "why")
    await broker.performer.run(routing.route(arrival, [broken]), Acknowledged())
    quarantine = Quarantine(broker.bus, Events(broker.bus, broker.blobs), broker.performer)
    (entry,) = (await quarantine.list()).rows
    with pytest.raises(NotFoundError, match="999"):
        await quarantine.release(entry)
    assert len((await quarantine.list()).rows) == 1


async def test_releasing_twice_makes_one_event(house: House) -> None:
    await house.deliver(b"not json", guid="odd")
    broker = house.broker
    events = Events(broker.bus, broker.blobs)
    quarantine = Quarantine(broker.bus, events, broker.performer)
    (entry,) = (await quarantine.list()).rows
    assert [(await quarantine.release(entry))["duplicate"] for _ in range(2)] == [False, True]
    assert len(await events.list()) == 1


async def test_everything_that_is_served_is_documented_and_the_other_way_round(house: House) -> None:
    control = house.gateway._listeners["control"].config.app
    while not hasattr(control, "routes"):
        control = getattr(control, "app", None) or control._app  # through the guard to the application
    served = {(m, r.path.replace(":path", "")) for r in control.routes for m in r.methods if m != "HEAD"}
    document = control_document()
    written = {(m.upper(), path) for path, entry in document["paths"].items() for m in entry}
    pages = {
        (method, path)
        for method, path in served
        if not path.startswith(("/api/", "/metrics", "/healthz", "/readyz"))
    }
    assert served - pages == written
    assert set(public_document()["paths"]) == {
        "/webhooks/{source}",
        "/webhooks/{source}/{tenant}",
        "/events",
        "/t/{signed}",
        "/healthz",
        "/readyz",
    }
