"""Signals and people's answers over the control API, with a mailman behind it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.gateway.http.crew import engine
from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT
from tidemill.kernel.services import mail, registry
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.subjects import new_run

if TYPE_CHECKING:
    from conftest import House

pytestmark = pytest.mark.integration


@pytest.fixture
async def run(house: House) -> str:
    """A run that nobody executes: what it waits for is entered by the test."""
    await registry.publish(house.broker.tasks, TaskDefinition(id="deploy"))
    return str((await house.ask("tasks/deploy/trigger", {})).json()["run_id"])


async def ask_people(house: House, run: str, name: str = "ship", **facts: Any) -> str:
    entry = {"kind": "approval", "task": "deploy", "name": name, "approvers": [], "quorum": 1}
    until = facts.pop("until", time.time() + 60)
    entry |= {"schema": None, "asked_at": time.time(), **facts}
    await house.broker.waiting.open(run, f"token:{name}", entry, until=until)
    return f"{run}.{name}"


async def state_of(house: House, run: str) -> Any:
    return (await Runs(house.broker).get(run)).state


async def test_a_signal_stands_in_the_runs_journal_once(house: House, run: str) -> None:
    key = {"Idempotency-Key": "k/1"}
    async with engine(house, "mailman"):
        first = await house.ask(f"runs/{run}/signals/go/on", {"data": {"n": 1}}, **key)
        again = await house.ask(f"runs/{run}/signals/go/on", {"data": {"n": 1}}, **key)
        other = await house.ask(f"runs/{run}/signals/go/on", {"data": {"n": 2}}, **key)
        plain = await house.ask(f"runs/{run}/signals/go/on", {})
    assert (first.status_code, first.json()["answer"], first.json()["id"]) == (
        202,
        "done",
        "signal-go/on-k/1",
    )
    assert (again.status_code, again.json()) == (202, first.json())
    assert (other.status_code, other.json()["type"]) == (409, "urn:tidemill:problem:conflict")
    assert plain.status_code == 202
    items = list((await state_of(house, run)).boxes["signal:go/on"].values())
    assert [item.data for item in items] == [{"n": 1}, None]


async def test_a_signal_is_stored_also_where_no_mailman_is(
    house: House, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail.ask_mailman, "__kwdefaults__", {"within": 0.05})
    sent = await house.ask(f"runs/{run}/signals/go", {"data": 1})
    assert (sent.status_code, sent.json()["answer"]) == (202, "queued")
    async with engine(house, "mailman"):
        sent = await house.ask(f"runs/{run}/signals/go", {"data": 2})  # behind it, in their order
    assert [item.data for item in (await state_of(house, run)).boxes["signal:go"].values()] == [1, 2]


async def test_a_large_signal_travels_as_a_blob_of_the_run(house: House, run: str) -> None:
    async with engine(house, "mailman"):
        await house.ask(f"runs/{run}/signals/go", {"data": "x" * INLINE_LIMIT})
    (item,) = (await state_of(house, run)).boxes["signal:go"].values()
    assert (item.data, item.blob.partition("/")[0]) == (None, run)
    assert len(await house.broker.blobs.get(item.blob)) == INLINE_LIMIT + 2


async def test_signals_that_cant_be_taken_are_refused(house: House, run: str) -> None:
    async with engine(house, "mailman"):
        answers = [
            await house.ask(f"runs/{new_run()}/signals/go", {}),
            await house.ask("runs/nonsense/signals/go", {}),
            await house.ask(f"runs/{run}/signals/{'x' * 256}", {}),
            await house.ask(f"runs/{run}/signals/go", {"date": 1}),
            await house.ask(f"runs/{run}/signals/go", {}, **{"Idempotency-Key": "k" * 256}),
        ]
        await house.ask(f"runs/{run}/cancel", {})
        ended = await house.ask(f"runs/{run}/signals/go", {})
    assert [answer.status_code for answer in answers] == [404, 404, 422, 422, 422]
    assert ended.status_code == 409
    assert "has ended and is cancelled" in ended.json()["detail"]


async def test_an_approval_is_decided_once_by_who_is_asked(house: House, run: str) -> None:
    token = await ask_people(house, run, approvers=["ann", "bob"])
    async with engine(house, "mailman"):
        stranger = await house.ask(f"tokens/{token}/complete", {"by": "eve"})
        said = await house.ask(f"tokens/{token}/complete", {"by": "ann", "approved": True, "comment": "go"})
        late = await house.ask(f"tokens/{token}/complete", {"by": "bob", "approved": False})
    assert (stranger.status_code, stranger.json()["type"]) == (403, "urn:tidemill:problem:not-allowed")
    assert (said.status_code, said.json()["status"], said.json()["missing"]) == (200, "approved", 0)
    assert late.status_code == 409
    assert f"{token} was approved by ann at 20" in late.json()["detail"]
    shown = (await house.ask(f"tokens/{token}")).json()
    [answer] = shown["answers"]
    assert (answer["by"], answer["approved"], answer["comment"]) == ("ann", True, "go")
    assert (shown["status"], shown["kind"]) == ("approved", "approval")
    assert (shown["approvers"], shown["quorum"]) == (["ann", "bob"], 1)
    assert (await house.ask("tokens")).json() == {"tokens": []}


async def test_a_quorum_counts_people_and_one_no_decides(house: House, run: str) -> None:
    token = await ask_people(house, run, quorum=2)
    other = await ask_people(house, run, "other", quorum=2)
    async with engine(house, "mailman"):
        first = await house.ask(f"tokens/{token}/complete", {"by": "ann"})
        twice = await house.ask(f"tokens/{token}/complete", {"by": " ann "})
        second = await house.ask(f"tokens/{token}/complete", {"by": "bob"})
        await house.ask(f"tokens/{other}/complete", {"by": "ann"})
        no = await house.ask(f"tokens/{other}/complete", {"by": "bob", "approved": False})
    assert (first.json()["status"], first.json()["missing"]) == ("open", 1)
    assert twice.status_code == 409
    assert "ann has answered" in twice.json()["detail"]
    assert (second.json()["status"], no.json()["status"]) == ("approved", "rejected")


async def test_two_who_answer_at_once_get_two_answers(house: House, run: str) -> None:
    token = await ask_people(house, run, kind="token", schema={"type": "integer"})
    async with engine(house, "mailman"):
        answers = await asyncio.gather(
            *(house.ask(f"tokens/{token}/complete", {"by": f"p{n}", "data": n}) for n in range(8))
        )
    good = [answer.json() for answer in answers if answer.status_code == 200]
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    [first, *_] = (await state_of(house, run)).boxes["token:ship"].values()
    assert good[0]["status"] == "completed"
    lost = next(answer for answer in answers if answer.status_code == 409)
    assert f"was completed by {first.who} at" in lost.json()["detail"]


async def test_an_answer_with_a_key_may_be_sent_again(house: House, run: str) -> None:
    token = await ask_people(house, run)
    key = {"Idempotency-Key": "k"}
    async with engine(house, "mailman"):
        said = [await house.ask(f"tokens/{token}/complete", {"by": "ann"}, **key) for _ in range(2)]
    assert [answer.status_code for answer in said] == [200, 200]


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"by": "ann", "data": {"size": "x"}}, "data.size"),
        ({"by": "ann", "data": {}}, "size"),
        ({"by": "ann"}, "data"),
        ({"by": "ann", "approved": False, "data": {"size": 1}}, "yes or no"),
        ({"by": " ", "data": {"size": 1}}, "by"),
        ({"data": {"size": 1}}, "by"),
        ({"by": 7}, "by"),
        ({"by": "ann", "approved": "yes"}, "approved"),
        ({"by": "ann", "coment": ""}, "coment"),
    ],
)
async def test_what_doesnt_fit_is_refused_with_its_place(
    house: House, run: str, document: Any, named: str
) -> None:
    schema = {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}}}
    token = await ask_people(house, run, kind="token", schema=schema)
    refused = await house.ask(f"tokens/{token}/complete", document)
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:tidemill:problem:payload")
    assert named in refused.json()["detail"]


async def test_a_no_needs_no_data(house: House, run: str) -> None:
    token = await ask_people(house, run, schema={"type": "integer"})
    async with engine(house, "mailman"):
        said = await house.ask(f"tokens/{token}/complete", {"by": "ann", "approved": False})
    assert said.json()["status"] == "rejected"


async def test_what_is_over_takes_no_answer(house: House, run: str) -> None:
    expired = await ask_people(house, run, "old", until=time.time() - 1)
    cancelled = await ask_people(house, run)
    document = {"by": "ann"}
    async with engine(house, "mailman"):
        await house.ask(f"runs/{run}/cancel", {})
        answers = [
            await house.ask(f"tokens/{token}/complete", document)
            for token in (cancelled, f"{run}.nothing", f"{new_run()}.ship", "nonsense", "run_x.ship")
        ]
    assert [answer.status_code for answer in answers] == [409, 404, 404, 404, 404]
    assert "its run has ended" in answers[0].json()["detail"]
    assert (await house.ask(f"tokens/{expired}")).json()["status"] == "ended"


async def test_an_expired_token_says_until_when_it_was_open(house: House, run: str) -> None:
    expired = await ask_people(house, run, "old", until=time.time() - 1)
    refused = await house.ask(f"tokens/{expired}/complete", {"by": "ann"})
    assert (refused.status_code, refused.json()["type"]) == (410, "urn:tidemill:problem:expired")
    assert "was to be decided until 20" in refused.json()["detail"]


async def test_the_open_ones_are_listed_the_newest_first(house: House, run: str) -> None:
    now = time.time()
    other = str((await house.ask("tasks/deploy/trigger", {})).json()["run_id"])
    old = await ask_people(house, run, "old", asked_at=now - 10)
    new = await ask_people(house, other, "new", asked_at=now, task="other")
    await ask_people(house, run, "late", until=now - 1)
    await house.broker.waiting.open(run, "event:x", {"kind": "event", "pattern": "a"}, until=None)

    async def listed(query: str) -> list[str]:
        return [token["id"] for token in (await house.ask(f"tokens{query}")).json()["tokens"]]

    assert await listed("") == [new, old]
    assert await listed("?limit=1") == [new]
    assert await listed("?task=deploy") == [old]
    assert await listed(f"?run={other}") == [new]
