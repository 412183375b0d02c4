"""Dead letters from the outside: listed, looked at, brought back."""

from __future__ import annotations

import pytest

from tidemill.kernel.errors import ConflictError, NotFoundError
from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.jetstream.topology import apply, wanted
from tidemill.kernel.letters import letter, undecodable
from tidemill.kernel.protocol.records import Claim, Created, End, Fault
from tidemill.kernel.protocol.state import State
from tidemill.kernel.services.broker import Access, Broker
from tidemill.kernel.services.dead import DeadLetters
from tidemill.kernel.services.runs import Runs

pytestmark = pytest.mark.integration


@pytest.fixture
async def broker_of_test(bus: Bus) -> Broker:
    topology = wanted(bus.names)
    await apply(bus, topology)
    return Broker(Access((), bus.names), bus, topology, patient=False)


@pytest.fixture
async def letters(broker_of_test: Broker) -> DeadLetters:
    bus, names = broker_of_test.bus, broker_of_test.names
    for number in (1, 2):
        state = State()
        state.apply(1, Created(rid="c", task="team.deploy", raw=b'{"n": %d}' % number))
        state.apply(2, Claim(rid="k", q=1, n=1, worker="w"))
        state.apply(3, End(rid="e", outcome="failed", fault=Fault("ValueError", f"number {number}", "", 1)))
        await bus.publish(names.dead("team.deploy", f"run_{number}"), letter(f"run_{number}", state))
    await bus.publish(names.dead("router", "message-9"), undecodable("events.x.y", b"\xff", "no event"))
    await bus.publish(names.dead("alien", "run_3"), b"written by somebody else")
    return DeadLetters(broker_of_test, Runs(broker_of_test))


async def test_letters_are_listed_newest_first_whatever_they_hold(letters: DeadLetters) -> None:
    found = (await letters.list()).rows
    assert [each.key for each in found] == ["run_3", "message-9", "run_2", "run_1"]
    assert [each.summary()["outcome"] for each in found] == ["unreadable", "undecodable", "failed", "failed"]
    assert found[2].summary() | {"at": ""} == {
        "id": "run_2",
        "seq": 2,
        "task": "team.deploy",
        "outcome": "failed",
        "attempts": 1,
        "error": "ValueError: number 2",
        "at": "",
    }
    assert found[1].summary()["error"] == "no event"
    assert [each.key for each in (await letters.list(limit=1)).rows] == ["run_3"]


async def test_a_letter_is_found_by_its_run(letters: DeadLetters) -> None:
    found = await letters.find("run_1")
    assert (found.raw, found.details()["errors"][0]["message"]) == (b'{"n": 1}', "number 1")
    assert found.details()["input_bytes"] == 8
    for key in ("run_9", "", "*", "run_1.x", "a b", ">"):
        with pytest.raises(NotFoundError, match="no dead letter"):
            await letters.find(key)


async def test_what_never_became_a_run_can_not_be_retried(letters: DeadLetters) -> None:
    with pytest.raises(ConflictError, match="never became a run: no event"):
        await letters.retry("message-9")
    with pytest.raises(NotFoundError):
        await letters.retry("run_9")
