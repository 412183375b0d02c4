"""Edits before release over the control API, on a real broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gateway.events.attributes import UnsoundEventError, check
from tests.patience import until
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import ConflictError
from tidemill.kernel.services.events import Events
from tidemill.kernel.services.quarantine import Edit, Quarantine
from tidemill.kernel.settings.keys import create_key, hash_key

if TYPE_CHECKING:
    from conftest import House

    from tests.conftest import BrokerProcess
    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration
SOUND = {
    "zen": "calm",
    "hook_id": 1,
    "hook": {"type": "Repository", "id": 1, "active": True, "events": ["a"]},
}
RAW = b'{"zen": "calm",  "hook_id": "one"}'


async def held(house: House, raw: bytes = RAW, guid: str = "held") -> str:
    reply = await house.deliver(raw, guid=guid, event="ping")
    assert reply.json()["status"] == "quarantined"
    return guid


async def stored(house: House) -> list[Envelope]:
    events = Events(house.broker.bus, house.broker.blobs)
    found = await events.list()
    return [Envelope.from_facts(one.facts, await events.body(one)) for one in found]


async def test_edited_data_go_on_beside_the_raw_body(house: House) -> None:
    await held(house)
    answer = await house.ask("quarantine/held/release", {"data": SOUND})
    assert (answer.status_code, answer.json()["duplicate"]) == (202, False)
    assert answer.json()["edited"] == ["$.hook_id", "$.hook"]
    (event,) = await stored(house)
    assert (event.raw, event.data) == (RAW, SOUND)
    assert event.extensions["editedby"] == "local"
    assert str(event.extensions["editedat"]).startswith("20")
    assert "schemaproblem" not in event.extensions
    assert event.dataschema == "tidemill:schemas/github/ping/1"
    assert (await house.ask("quarantine")).json()["quarantine"] == []
    shown = (await house.ask("events/held")).json()
    assert shown["data"] == SOUND
    assert (await house.ask("quarantine/held/release", {"data": SOUND})).status_code == 404
    assert len(await stored(house)) == 1


async def test_the_record_of_changes_names_places_and_no_values(house: House) -> None:
    await held(house)
    assert (await house.ask("quarantine/held/release", {"data": {"zen": "a-value"}})).status_code == 422
    await house.ask("quarantine/held/release", {"data": SOUND | {"zen": "a-value"}})

    async def noted() -> Any:  # what became of a change is noted behind its answer
        told = (await house.ask("audit")).json()["audit"]
        return told if told and told[0]["detail"] else None

    changes = await until(noted)
    assert [one["action"] for one in changes] == ["quarantine.release"] * 2
    assert changes[0]["detail"] == {"edited": "$.zen, $.hook_id, $.hook"}
    assert "a-value" not in json.dumps(changes)


async def test_a_misfit_is_refused_unless_by_force(house: House) -> None:
    await held(house)
    misfit = SOUND | {"hook_id": "two"}
    answer = await house.ask("quarantine/held/release", {"data": misfit})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:tidemill:problem:payload")
    assert "$.hook_id" in answer.json()["detail"]
    assert await stored(house) == []
    assert len((await house.ask("quarantine")).json()["quarantine"]) == 1
    assert (await house.ask("quarantine/held/release", {"data": misfit, "force": True})).status_code == 202
    (event,) = await stored(house)
    assert (event.data, event.extensions["schemaproblem"]) == (misfit, "$.hook_id: released by force")
    (change,) = [one for one in (await house.ask("audit")).json()["audit"] if one["outcome"] == "done"]
    assert change["detail"]["forced"] == "yes"


async def test_what_isnt_edited_goes_as_it_is(house: House) -> None:
    await held(house)
    data = json.loads(RAW)
    assert (await house.ask("quarantine/held/release", {"data": data})).status_code == 422
    answer = await house.ask("quarantine/held/release", {"data": data, "force": True})
    assert answer.json()["edited"] == []
    (event,) = await stored(house)
    assert (event.raw, event.value, event.extensions) == (RAW, None, {})


async def test_a_body_that_is_no_json_gets_data(house: House) -> None:
    await held(house, b"not json")
    answer = await house.ask("quarantine/held/release", {"data": SOUND})
    assert (answer.status_code, answer.json()["edited"]) == (202, ["$"])
    (event,) = await stored(house)
    assert (event.raw, event.data) == (b"not json", SOUND)


async def test_a_large_body_stays_in_its_blob(house: House) -> None:
    raw = json.dumps({"zen": "x" * 300_000}).encode()
    await held(house, raw)
    assert (await house.ask("quarantine/held/release", {"data": SOUND})).status_code == 202
    (event,) = await stored(house)
    assert (event.raw, event.data, event.blob is None) == (raw, SOUND, False)


@pytest.mark.parametrize(
    "document",
    [
        {"data": None},
        {"data": SOUND, "force": "yes"},
        {"data": SOUND, "other": 1},
        {"data": SOUND | {"zen": "x" * 2_000_000}, "force": True},
        {"data": [json.loads("[" * 70 + "]" * 70)], "force": True},
    ],
)
async def test_what_cant_be_an_edit_is_refused(house: House, document: dict[str, Any]) -> None:
    await held(house)
    assert (await house.ask("quarantine/held/release", document)).status_code == 422
    assert await stored(house) == []
    assert len((await house.ask("quarantine")).json()["quarantine"]) == 1


async def test_edits_at_once_make_one_event(house: House) -> None:
    await held(house)
    edits = [SOUND | {"zen": f"number {number}"} for number in range(6)]
    answers = await asyncio.gather(*(house.ask("quarantine/held/release", {"data": one}) for one in edits))
    statuses = sorted(one.status_code for one in answers)
    assert (statuses[0], set(statuses[1:]) <= {404, 409}) == (202, True)
    (event,) = await stored(house)
    (taken,) = [edit for edit, one in zip(edits, answers, strict=True) if one.status_code == 202]
    assert event.data == taken


async def test_an_edit_that_comes_second_is_a_conflict_and_the_same_one_isnt(house: House) -> None:
    await held(house)
    broker = house.broker
    quarantine = Quarantine(broker.bus, Events(broker.bus, broker.blobs), broker.performer)
    entry = await quarantine.find("held")
    edit = Edit(SOUND, "ada")
    assert [(await quarantine.release(entry, edit))["duplicate"] for _ in range(2)] == [False, True]
    with pytest.raises(ConflictError, match="without this edit"):
        await quarantine.release(entry, Edit(SOUND, "eva"))
    assert len(await stored(house)) == 1


async def test_who_edits_is_who_logs_in_and_no_viewer(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    keys = {role: create_key() for role in ("viewer", "approver", "operator")}
    listed = [f'{{ name = "{n}", hash = "{hash_key(k)}", role = "{n}" }}' for n, k in keys.items()]
    settings = settled(broker.url, names, control=f"keys = [{', '.join(listed)}]\n")
    async with housed(settings) as house:
        await held(house)
        for role, status in (("viewer", 403), ("approver", 403), ("operator", 202)):
            bearer = {"authorization": f"Bearer {keys[role]}"}
            answer = await house.ask("quarantine/held/release", {"data": SOUND}, **bearer)
            assert answer.status_code == status, role
        (event,) = await stored(house)
        assert event.extensions["editedby"] == "operator"


@pytest.mark.parametrize("policy", ["quarantine", "flag", "reject"])
async def test_the_sources_policy_counts(
    broker: BrokerProcess,
    names: Names,
    settled: Callable[..., Settings],
    housed: Callable[..., Any],
    policy: str,
) -> None:
    settings = settled(broker.url, names)
    async with housed(settings) as house:
        await held(house)
    path = settings.inputs.file
    assert path is not None
    path.write_text(path.read_text().replace('preset = "github"', f'preset = "github"\npolicy = "{policy}"'))
    async with housed(type(settings).load(path, {})) as house:
        answer = await house.ask("quarantine/held/release", {"data": {"zen": "other"}})
        assert answer.status_code == (202 if policy == "flag" else 422)


async def test_a_pair_has_no_data_of_its_own(house: House) -> None:
    facts = {
        "pair": {"task": "t"},
        "event": {"id": "pair", "source": "github", "type": "github.ping", "seq": 1},
    }
    broker = house.broker
    subject = broker.bus.names.quarantine("github", "a-pair")
    await broker.bus.publish(subject, json.dumps(facts).encode())
    answer = await house.ask("quarantine/pair/release", {"data": SOUND, "force": True})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:tidemill:problem:conflict")
    assert len((await house.ask("quarantine")).json()["quarantine"]) == 1


def test_who_edited_cant_be_claimed_by_a_sender() -> None:
    event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "shop.paid", "editedby": "ada"}
    with pytest.raises(UnsoundEventError, match="editedby"):
        check(event)
