from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from sqlalchemy import func, select

from tests.history.streams import Stream, writer_of
from tidemill.history import tables
from tidemill.history.database import Database
from tidemill.history.delivery_queries import list_dead, list_quarantine
from tidemill.history.event_queries import event_detail
from tidemill.history.overview import ErrorQuery, error_group, list_errors, mark_error, totals
from tidemill.history.run_details import find_run, run_detail
from tidemill.history.run_lists import RunQuery, list_runs
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import ConflictError
from tidemill.kernel.frames import pack
from tidemill.kernel.protocol import records
from tidemill.kernel.protocol.records import (
    Claim,
    Created,
    End,
    Fault,
    Item,
    News,
    Parent,
    Reopened,
    Suspend,
    Wait,
)


def _count(database: Database, table: Any = tables.runs) -> int:
    with database.reading(5) as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


@pytest.mark.parametrize("portion", [1, 2, 5, 100])
def test_portions_do_not_matter(database: Database, portion: int) -> None:
    stream = Stream()
    for number in range(12):
        stream.run(f"run_{number}", outcome="failed" if number % 3 == 0 else "completed")
    for begin in range(0, len(stream.messages), portion):
        writer_of(database).write({"JOURNAL": stream.messages[begin : begin + portion]})
    with database.reading(5) as connection:
        assert totals(connection) == {"deploy": {"completed": 8, "failed": 4}}
        (group,) = list_errors(connection, ErrorQuery()).rows
        assert (group.count, group.last_run) == (4, "run_9")
        found = list_runs(connection, RunQuery(text="place run_3")).rows
        assert [row.id for row in found] == ["run_3"]
        assert run_detail(connection, "run_4").result.data == b"1"


def test_words_of_an_error_that_comes_later_are_found_beside_those_of_the_payload(database: Database) -> None:
    stream = Stream()
    stream.run("run_1", payload=b'{"word": "tide"}', outcome="failed")
    writer = writer_of(database)
    for message in stream.messages:
        writer.write({"JOURNAL": [message]})
    with database.reading(5) as connection:
        for search in ("tide", "place", "tide place", "ti* plac*"):
            assert [row.id for row in list_runs(connection, RunQuery(text=search)).rows] == ["run_1"], search
        assert list_runs(connection, RunQuery(text="tide nowhere")).rows == ()


def test_of_two_writers_the_slower_one_fails_and_writes_nothing(database: Database) -> None:
    stream = Stream()
    stream.run("run_1")
    stream.run("run_2")
    for known in (stream.messages[:3], []):
        first, second = writer_of(database), writer_of(database)
        if known:
            first.write({"JOURNAL": known})
            with pytest.raises(ConflictError):
                second.write({"JOURNAL": known})
        else:
            first.write({"JOURNAL": stream.messages[3:]})
            with pytest.raises(ConflictError):
                second.write({"JOURNAL": stream.messages[3:]})
    assert _count(database) == 2


def test_a_stream_that_was_created_anew_goes_on_behind_the_old_one(database: Database) -> None:
    for incarnation in ("1", "2"):
        stream = Stream()
        stream.run(f"run_{incarnation}")
        writer_of(database, incarnation).write({"JOURNAL": stream.messages})
    with database.reading(5) as connection:
        assert [row.number for row in list_runs(connection, RunQuery()).rows] == [4, 1]


def test_an_id_that_comes_again_is_a_run_of_its_own(database: Database) -> None:
    stream = Stream()
    stream.run("run_1")
    stream.add("journal.run_1", b"")
    stream.run("run_1", outcome="failed")
    writer_of(database).write({"JOURNAL": stream.messages[:4]})
    writer_of(database).write({"JOURNAL": stream.messages[4:]})
    with database.reading(5) as connection:
        assert find_run(connection, "run_1").status == "failed"
        assert find_run(connection, "run_1~1").status == "completed"


def test_a_run_that_failed_and_goes_on_is_told_as_it_was(database: Database) -> None:
    stream, run = Stream(), "run_1"
    stream.record(run, Created(rid="c", task="deploy", raw=b'{"a":1}', tags=("x", "y")))
    stream.record(run, Claim(rid="k1", q=1, n=1, worker="w-1"))
    stream.record(run, Suspend(rid="s1", q=1, wait="retry", until=5.0, fault=Fault("KeyError", "'a'")))
    stream.record(run, Claim(rid="k2", q=2, n=1, worker="w-2"))
    stream.record(run, End(rid="e1", outcome="failed", fault=Fault("KeyError", "'b'", "trace")))
    stream.record(run, Reopened(rid="r", reason="mended"))
    stream.record(run, Claim(rid="k3", q=3, n=1, worker="w-3"))
    wait = Wait(key="go", kind="signal", box="signal:go")
    stream.record(run, Suspend(rid="s2", q=3, wait="news", waits=(wait,)))
    stream.record(run, News(rid="n", items=(Item(id="i", box="signal:go", who="me", data={"b": 2}),)))
    stream.record(run, Claim(rid="k4", q=4, n=1, worker="w-4"))
    stream.record(run, End(rid="e2", outcome="completed", result={"done": True}))
    writer_of(database).write({"JOURNAL": stream.messages})
    with database.reading(5) as connection:
        detail = run_detail(connection, run)
        by_kind: dict[str, list[Any]] = {}
        for span in detail.spans:
            by_kind.setdefault(span.kind, []).append(span)
        assert [(span.name, span.status) for span in by_kind["attempt"]] == [
            ("attempt 1", "failed"),
            ("attempt 2", "failed"),
            ("attempt 1", "completed"),
        ]
        assert [(span.name, span.status) for span in by_kind["execution"]] == [
            ("w-1", "failed"),
            ("w-2", "failed"),
            ("w-3", "suspended"),
            ("w-4", "completed"),
        ]
        assert [(span.name, span.status) for span in by_kind["wait"]] == [
            ("retry", "elapsed"),
            ("go", "decided"),
        ]
        assert (detail.run.reopened, detail.run.error, detail.run.status) == (1, None, "completed")
        assert list_runs(connection, RunQuery(tag="y")).rows == (detail.run,)
        assert all(span.ended_at is not None for span in detail.spans)


def test_what_a_database_can_not_hold_is_made_fit(database: Database) -> None:
    stream, events, letters, held = Stream(), Stream(), Stream(), Stream()
    bad = "a\x00b\ufffd" + "x" * 100_000
    stream.record(
        "run_1", Created(rid="c", task="deploy", raw=orjson.dumps(bad), key="k\x00", tags=("t\x00",))
    )
    stream.record("run_1", Claim(rid="k", q=1, n=1, worker="w"))
    step = records.Step(rid="s", key="s\x00", result=bad, fault=Fault("E\x00", bad, bad))
    stream.record("run_1", step)
    stream.record("run_1", End(rid="e", outcome="failed", fault=Fault("E\x00", bad, bad), reason=bad))
    events.add("events.s.t", Envelope(id="e\x00", source="s\x00", type="t\x00", raw=b"\x00\xff").to_frame())
    letters.add("dead.deploy.run_1", pack({"outcome": "failed", "attempts": [{"message": bad}]}))
    facts = {"id": "q\x00", "source": "s", "type": "t", "quarantine": {"code": bad}}
    held.add("quarantine.s.key", pack(facts, b"\xff\x00"))
    writer = writer_of(database)
    found = {"JOURNAL": stream, "EVENTS": events, "DEAD": letters, "QUARANTINE": held}
    writer.write({name: one.messages for name, one in found.items()})
    assert writer.left_out == 0
    with database.reading(5) as connection:
        detail = run_detail(connection, "run_1")
        assert detail.payload.size == len(orjson.dumps(bad))
        assert detail.payload.data == orjson.dumps(bad)[:1024]
        assert event_detail(connection, "e\ufffd").body.data == b"\x00\xff"
        assert list_dead(connection).rows[0].status == "failed"
        assert list_quarantine(connection).rows[0].event_id == "q\ufffd"


LONG = "".join(random.Random(4).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=20_000))


def long_journal() -> Stream:
    """Runs with long values everywhere, and one without."""
    stream = Stream()
    event = {"id": LONG, "source": LONG, "type": LONG}
    fault = records.Fault(LONG * 50, LONG * 50, LONG * 50)
    stream.record("run_a", records.Created(rid="c", task=LONG, key=LONG, tags=(LONG,), replayof=LONG))
    stream.record("run_b", records.Created(rid="c", task="deploy", event=event, event_seq=1))
    parent = records.Parent(run=LONG, box=LONG)
    stream.record("run_c", records.Created(rid="c", task="deploy", parent=parent))
    stream.record("run_c", records.Claim(rid="k", q=1, n=1, worker=LONG))
    stream.record("run_c", records.Step(rid="s", key=LONG, result=LONG, fault=fault))
    stream.record("run_c", records.End(rid="e", outcome="failed", fault=fault, reason=LONG))
    stream.run("run_d")
    return stream


def long_inbound() -> dict[str, Stream]:
    """Messages of the other streams with long values everywhere."""
    found = {name: Stream() for name in ("EVENTS", "DELIVERIES", "QUARANTINE", "DEAD", "RECORDS", "LOGS")}
    event = Envelope(id=LONG, source=LONG, type=LONG, subject=LONG, raw=b"x")
    found["EVENTS"].add("events.s.t", event.to_frame())
    line = {"at": 1.0, "source": LONG, "verdict": LONG, "status": LONG, "reason": LONG, "client": LONG}
    found["DELIVERIES"].add("deliveries.log", orjson.dumps(line))
    held = {"id": LONG, "source": LONG, "type": LONG, "quarantine": {"reason": LONG}}
    found["QUARANTINE"].add(f"quarantine.s.{LONG}", pack(held, b"x"))
    letter = {"outcome": "failed", "attempts": [{"type": LONG, "message": LONG, "traceback": LONG}]}
    found["DEAD"].add(f"dead.{LONG}.{LONG}", pack(letter))
    judged = {"event": {"seq": 1, "source": LONG}, "verdicts": [{"verdict": LONG, "task": LONG}]}
    found["RECORDS"].add("records.verdict.x", orjson.dumps(judged))
    said = {"attempt": 1, "lines": [[0.0, "info", "", LONG, LONG]], "missed": 0}
    found["LOGS"].add(f"logs.{LONG}", orjson.dumps(said))
    return found


def test_values_of_any_length_are_taken_in(database: Database) -> None:
    streams = {"JOURNAL": long_journal()} | long_inbound()
    writer = writer_of(database)
    writer.write({name: stream.messages for name, stream in streams.items()})
    assert (writer.left_out, writer.unknown) == (0, 0)
    with database.reading(5) as connection:
        assert len(list_runs(connection, RunQuery()).rows) == 4
        assert event_detail(connection, LONG).event.id == LONG[:500]


def test_what_the_database_refuses_keeps_nothing_else_out(database: Database) -> None:
    stream = Stream()
    for number in range(20):
        stream.run(f"run_{number}")
    stream.record(
        "run_far",
        records.Created(
            rid="c",
            task="deploy",
            expires_at=1.0,
            event_seq=2**63 - 1,
            event={"id": "e", "source": "s", "type": "t"},
        ),
    )
    stream.run("run_last")
    writer = writer_of(database)
    writer.places["EVENTS"].base = 10
    writer.write({"JOURNAL": stream.messages})
    assert writer.left_out == 1
    with database.reading(5) as connection:
        found = {row.id for row in list_runs(connection, RunQuery()).rows}
    assert found == {f"run_{number}" for number in range(20)} | {"run_last"}
    assert writer.stands()


def test_messages_that_can_not_be_read_are_left_out_and_counted(database: Database) -> None:
    stream, others = Stream(), Stream()
    stream.add("journal.run_0", b"no frame")
    stream.add("journal.run_0", pack({"kind": "created"}))
    stream.add("journal.run_0", pack({"kind": "end", "outcome": "completed"}))
    stream.run("run_1")
    stream.add("journal.run_1", pack({"kind": "of tomorrow"}))
    stream.add("journal.run_1", pack({"kind": "step"}))
    for body in (b"", b"{}", b"[]", b"\xff\n", b"{}\n", b'{"id": 1}\n', b"null\n", b'{"event": 1}\n', b"7"):
        others.add("any.thing.at.all", body)
    writer = writer_of(database)
    found = dict.fromkeys(("EVENTS", "RECORDS", "QUARANTINE", "DEAD", "DELIVERIES"), others.messages)
    writer.write({"JOURNAL": stream.messages, **found})
    assert (writer.unknown, _count(database)) == (1, 1)
    assert writer.left_out > 20
    assert _count(database, tables.positions) == 6


def test_children_know_their_root_wherever_they_stand(database: Database) -> None:
    stream = Stream()
    stream.record("run_a", Created(rid="c", task="deploy"))
    stream.record("run_b", Created(rid="c", task="deploy", parent=Parent(run="run_a", box="b")))
    cut = len(stream.messages)
    stream.record("run_c", Created(rid="c", task="deploy", parent=Parent(run="run_b", box="b", depth=2)))
    stream.record("run_d", Created(rid="c", task="deploy", parent=Parent(run="run_c", box="b", depth=3)))
    stream.record("run_e", Created(rid="c", task="deploy", parent=Parent(run="run_gone", box="b")))
    writer_of(database).write({"JOURNAL": stream.messages[:cut]})
    writer_of(database).write({"JOURNAL": stream.messages[cut:]})
    with database.reading(5) as connection:
        roots = {row.id: row.root_id for row in list_runs(connection, RunQuery()).rows}
    assert roots == {"run_a": None, "run_b": "run_a", "run_c": "run_a", "run_d": "run_a", "run_e": "run_gone"}


def test_an_error_that_comes_again_is_reopened(database: Database) -> None:
    stream = Stream(start=9e9)  # later than any mark
    stream.run("run_1", outcome="failed")
    writer_of(database).write({"JOURNAL": stream.messages})
    with database.writing() as connection:
        (group,) = list_errors(connection, ErrorQuery(state="open")).rows
        assert mark_error(connection, group.fingerprint, "ignored", by="me").state == "ignored"
        assert mark_error(connection, group.fingerprint, "resolved", by="me", note="n").state == "reopened"
        assert mark_error(connection, group.fingerprint, "open", by="me").state == "open"
        assert error_group(connection, group.fingerprint).count == 1
