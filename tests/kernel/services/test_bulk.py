"""Selections on a real broker: they don't grow, are done once, and outlive who works on them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from tests.consumers.conftest import Mill, mill, settings
from tests.patience import until
from tidemill import Retry, task
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import BrokerUnavailableError, NotFoundError, PayloadError
from tidemill.kernel.frames import pack
from tidemill.kernel.protocol.records import decode
from tidemill.kernel.services import bulk
from tidemill.kernel.services.bulk import told
from tidemill.kernel.services.bulk_deeds import bulk_actions
from tidemill.kernel.services.bulk_verbs import checked_kind, checked_statuses, checked_verb
from tidemill.kernel.services.dead_query import DeadQuery
from tidemill.kernel.services.events import Events
from tidemill.kernel.services.quarantine import Quarantine
from tidemill.kernel.services.quarantine_query import QuarantineQuery
from tidemill.kernel.subjects import run_of_bulk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidemill.kernel.services.bulk import BulkActions, Progress
    from tidemill.kernel.services.bulk_verbs import Kind, Verb

pytestmark = pytest.mark.integration
__all__ = ["mill", "settings"]


@task(retry=Retry(max_attempts=1))
async def doomed(value: int) -> None:
    raise ValueError(str(value))


@task
async def echo(value: int) -> int:
    return value


async def _all(actions: BulkActions, token: str) -> list[Progress]:
    return [progress async for progress in actions.execute(token, by="Ada")]


async def _select(actions: BulkActions, verb: Verb, items: Sequence[str], kind: Kind = "runs") -> str:
    where = {"task": "echo"}
    made = await actions.select(verb, items, kind=kind, where=where, complete=True, reason="why", by="Ada")
    return made.token


def _quarantine(mill: Mill) -> Quarantine:
    broker = mill.broker
    return Quarantine(broker.bus, Events(broker.bus, broker.blobs), broker.performer)


def _actions(mill: Mill) -> BulkActions:
    return bulk_actions(mill.broker.bulk, mill.runs, _quarantine(mill))


async def _hold(mill: Mill, number: int, code: str = "schema") -> None:
    """Put a delivery into quarantine as the gateway does."""
    key = f"key{number}"
    envelope = Envelope(id=f"q-{number}", source="shop", type="shop.sold", deliverykey=key, raw=b"{}")
    why = {"code": code, "detail": f"number {number}", "path": None}
    body = pack(envelope.facts() | {"quarantine": why}, b"{}")
    await mill.broker.bus.publish(mill.names.quarantine("shop", key), body, headers={"Nats-Msg-Id": key})


async def _reopenings(mill: Mill, run: str) -> int:
    entries = await mill.broker.journal.read_leader(run)
    records = [decode(entry.body) for entry in entries]
    return sum(record is not None and record.KIND == "reopened" for record in records)


async def test_many_runs_are_cancelled_once(mill: Mill) -> None:
    actions = _actions(mill)
    async with mill.engine("mailman"):
        await _publish(mill)
        runs = [await mill.trigger("echo", number, delay="1h") for number in range(120)]
        later = await mill.trigger("echo", 0, delay="1h")
        token = await _select(actions, "cancel", runs)
        assert (await actions.find(token))[1].state(0) == "selected"
        steps = await _all(actions, token)
        assert [step.next for step in steps] == sorted(step.next for step in steps)
        last = steps[-1]
        assert (last.over, last.done, last.refused, last.by) == (True, 120, 0, "Ada")
        again = await _all(actions, token)
        assert again == [last]
    assert {(await mill.runs.get(run)).status for run in runs} == {"cancelled"}
    assert (await mill.runs.get(runs[7])).facts()["reason"] == "why"
    assert (await mill.runs.get(later)).status == "delayed"


async def test_a_retry_that_was_cut_short_is_finished_by_another_and_done_once(
    mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "_STALE_SECONDS", -1.0)
    monkeypatch.setattr(bulk, "_AT_ONCE", 4)
    async with mill.engine("mailman"), mill.worker(doomed, echo):
        runs = [await mill.trigger("doomed", number) for number in range(10)]
        for run in runs:
            await mill.ended(run)
        done = await mill.trigger("echo", 1)
        await mill.ended(done)
        token = await _select(_actions(mill), "retry", [*runs, done])
        dying = _actions(mill)
        async with aclosing(dying.execute(token)) as steps:
            async for step in steps:
                if step.next == 4:  # done, and not noted any more
                    break
        last = (await _all(_actions(mill), token))[-1]
        assert (last.over, last.done, last.refused) == (True, 10, 1)
        assert done in last.problems[0]
        assert [await _reopenings(mill, run) for run in runs] == [1] * 10


async def test_two_who_execute_the_same_do_it_once(mill: Mill) -> None:
    actions = _actions(mill)
    async with mill.engine("mailman"), mill.worker(echo):
        runs = [await mill.trigger("echo", number) for number in range(60)]
        for run in runs:
            await mill.ended(run)
        token = await _select(actions, "replay", [*runs, "run_" + "0" * 26])
        both = await asyncio.gather(*(_all(actions, token) for _ in range(2)))
        assert {(steps[-1].done, steps[-1].refused) for steps in both} == {(60, 1)}
        copies = [run_of_bulk(token, run) for run in runs]
        assert [(await mill.ended(copy)).facts()["replayof"] for copy in copies] == runs
        found = await mill.runs.list(limit=200)
        assert len(found) == 120


async def test_dead_letters_are_retried_as_their_runs_are_and_once(
    mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "_STALE_SECONDS", -1.0)
    async with mill.engine("mailman"), mill.worker(doomed):
        runs = [await mill.trigger("doomed", number) for number in range(5)]
        for run in runs:
            await mill.ended(run)

        async def buried() -> Sequence[str] | None:
            found = await mill.dead.select(DeadQuery(task="doomed"), limit=99, seconds=9)
            return found.rows if len(found.rows) == len(runs) else None

        selected = await until(buried)
        assert sorted(selected) == sorted(runs)
        token = await _select(_actions(mill), "retry", selected, "dead")
        for _ in range(2):
            last = (await _all(_actions(mill), token))[-1]
            assert (last.done, last.refused) == (5, 0)
        assert [await _reopenings(mill, run) for run in runs] == [1] * 5


@pytest.mark.parametrize("verb", ["release", "discard"])
async def test_entries_are_dealt_with_once_also_when_it_was_cut_short(
    mill: Mill, monkeypatch: pytest.MonkeyPatch, verb: Verb
) -> None:
    monkeypatch.setattr(bulk, "_STALE_SECONDS", -1.0)
    monkeypatch.setattr(bulk, "_AT_ONCE", 4)
    for number in range(10):
        await _hold(mill, number)
    quarantine = _quarantine(mill)
    selected = (await quarantine.select(QuarantineQuery(source="shop"), limit=99, seconds=9)).rows
    assert len(selected) == 10
    await quarantine.discard(await quarantine.at(int(selected[9])))  # somebody was faster
    await _hold(mill, 99)
    token = await _select(_actions(mill), verb, selected, "quarantine")
    async with aclosing(_actions(mill).execute(token)) as steps:
        async for step in steps:
            if step.next == 4:  # done, and not noted any more
                break
    last = (await _all(_actions(mill), token))[-1]
    assert (last.over, last.done, last.refused) == (True, 9, 1)
    assert "isn't in quarantine any more" in last.problems[0]
    assert [entry.key for entry in (await quarantine.list()).rows] == ["key99"]
    events = await Events(mill.broker.bus, mill.broker.blobs).list()
    assert len({event.id for event in events}) == len(events) == (9 if verb == "release" else 0)


async def test_an_entry_that_cant_be_read_is_shown_refused_and_discarded(mill: Mill) -> None:
    for number, body in enumerate((b"\xff\n", b"5\n", b'{"id": "x"}\n')):
        await mill.broker.bus.publish(mill.names.quarantine("shop", f"odd{number}"), body)
    quarantine, actions = _quarantine(mill), _actions(mill)
    found = (await quarantine.list(QuarantineQuery(reason="unreadable"))).rows
    assert [(one.key, one.summary()["source"]) for one in found] == [(f"odd{n}", None) for n in (2, 1, 0)]
    selected = [str(one.seq) for one in found]
    released = (await _all(actions, await _select(actions, "release", selected, "quarantine")))[-1]
    assert (released.done, released.refused) == (0, 3)
    assert released.problems[0].startswith("odd2")
    discarded = (await _all(actions, await _select(actions, "discard", selected, "quarantine")))[-1]
    assert (discarded.done, discarded.refused) == (3, 0)
    assert (await quarantine.list()).rows == ()


async def test_a_broker_that_is_away_interrupts_it(mill: Mill, monkeypatch: pytest.MonkeyPatch) -> None:
    actions = _actions(mill)
    await _publish(mill)
    run = await mill.trigger("echo", 1, delay="1h")
    token = await _select(actions, "cancel", [run])

    async def away(*_: object, **__: object) -> str:
        raise BrokerUnavailableError("it is away")

    with monkeypatch.context() as patch:
        patch.setattr(mill.runs, "tell", away)
        with pytest.raises(BrokerUnavailableError):
            await _all(actions, token)
    selection, progress = await actions.find(token)
    assert (progress.over, progress.next, progress.refused) == (False, 0, 0)
    assert progress.state(progress.at + 60) == "interrupted"
    assert told(selection, progress)["total"] == 1


async def test_ten_thousand_fit_and_more_are_left_out(mill: Mill) -> None:
    actions = _actions(mill)
    runs = [run_of_bulk("x", str(number)) for number in range(bulk.MOST + 5)]
    selection = await actions.select("cancel", runs, where={}, complete=True)
    assert (len(selection.items), selection.complete) == (bulk.MOST, False)
    assert (await actions.find(selection.token))[0] == selection


@pytest.mark.parametrize("token", ["", "x", "*", ">", "a.b", "A" * 20, "0" * 20, "0" * 2000])
async def test_a_token_that_isnt_known_is_told(mill: Mill, token: str) -> None:
    with pytest.raises(NotFoundError):
        await _actions(mill).find(token)


def test_what_cant_be_done_is_refused_before() -> None:
    with pytest.raises(PayloadError, match="no action"):
        checked_verb("delete")
    for kind, verb in (("dead", "cancel"), ("quarantine", "retry"), ("runs", "release")):
        with pytest.raises(PayloadError, match="no action"):
            checked_verb(verb, checked_kind(kind))
    for nothing in ("", "tokens", ["dead"], 1):
        with pytest.raises(PayloadError, match="to do it to"):
            checked_kind(nothing)
    assert checked_kind(None) == "runs"
    for verb, status in (("cancel", "completed"), ("retry", "queued"), ("replay", "nonsense")):
        with pytest.raises(PayloadError, match=status):
            checked_statuses(checked_verb(verb), [status])
    assert "running" in checked_statuses("cancel", ())
    assert "completed" not in checked_statuses("retry", ())
    assert checked_statuses("replay", ()) == ()


async def _publish(mill: Mill) -> None:
    """Let the task be known without anybody who serves it."""
    async with mill.worker(echo):
        pass
